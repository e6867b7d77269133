#include "proxy/why/why.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proxy/settings/settings.h"
#include "proxy/why/why_print.h"
#include "proxy/why/why_record.h"
#include "proxy/why/why_tally.h"

enum { READ_SIZE = 1 << 18 };

_Static_assert(READ_SIZE > (int)WHY_LINE_MOST, "a line that may be read fits");

struct why {
	struct why_tally tally;
	struct why_filter filter;
	struct why_lines lines;
	struct why_record record;
	FILE *errors;
	uint64_t line_count;
	bool failed;      /* a file could not be read */
	bool interrupted; /* no more is to be read */
	size_t held;      /* bytes of a line whose end is not read */
	bool skipping;    /* it is too long already */
	char bytes[READ_SIZE];
};

static void why_take_line(struct why *why, const char *bytes, size_t length, bool whole)
{
	struct why_line line;

	if (!length)
		return;
	why->line_count++;
	if (!whole) {
		why->tally.others++;
		return;
	}
	why_line_find(&why->lines, bytes, length, &line);
	if (line.part)
		return;
	if (line.over || !line.record.bytes || line.record.length > WHY_LINE_MOST) {
		why->tally.others++;
		return;
	}
	why_record_read(&line, &why->record);
	why_tally_add(&why->tally, &why->filter, &why->record);
}

/* The lines that are whole; what is left of the last one moves to the front. */
static void why_take_lines(struct why *why)
{
	char *at = why->bytes, *end = why->bytes + why->held, *newline;

	while ((newline = memchr(at, '\n', (size_t)(end - at)))) {
		why_take_line(why, at, (size_t)(newline - at), !why->skipping && newline - at <= WHY_LINE_MOST);
		why->skipping = false;
		at = newline + 1;
	}
	why->held = (size_t)(end - at);
	if (why->skipping || why->held > WHY_LINE_MOST) {
		why->skipping = true;
		why->held = 1; /* a byte says that there is a line */
		return;
	}
	memmove(why->bytes, at, why->held);
}

static void why_complain(struct why *why, const char *name, const char *problem)
{
	fprintf(why->errors, "lapse-proxy: %s: %s\n", name, problem);
	why->failed = true;
}

static void why_read(struct why *why, int fd, const char *name)
{
	bool first = true;
	ssize_t got;

	memset(why->lines.parts, 0, sizeof why->lines.parts);
	while ((got = read(fd, why->bytes + why->held, sizeof why->bytes - why->held)) > 0) {
		if (first && got > 2 && memcmp(why->bytes, "\x1f\x8b", 2) == 0) {
			why_complain(why, name, "it is compressed; unpack it first, as zcat FILE | lapse-proxy why");
			return;
		}
		first = false;
		why->held += (size_t)got;
		why_take_lines(why);
	}
	if (got < 0 && errno == EINTR)
		why->interrupted = true;
	else if (got < 0)
		why_complain(why, name, strerror(errno));
	if (why->held)
		why_take_line(why, why->bytes, why->held, !why->skipping);
	why->held = 0;
	why->skipping = false;
}

static void why_read_file(struct why *why, const char *path)
{
	struct stat stat;
	int fd;

	if (strcmp(path, "-") == 0) {
		why_read(why, STDIN_FILENO, "standard input");
		return;
	}
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0 || fstat(fd, &stat)) {
		why_complain(why, path, strerror(errno));
	} else if (S_ISDIR(stat.st_mode)) {
		why_complain(why, path, "it is a directory; name the files in it");
	} else {
		posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
		why_read(why, fd, path);
	}
	if (fd >= 0)
		close(fd);
}

/* Once: reading ends and the page comes; a second one ends the program. */
static void why_on_interrupt(int signal)
{
}

static void why_read_all(struct why *why, const struct settings *settings)
{
	struct sigaction action = {.sa_handler = why_on_interrupt, .sa_flags = (int)SA_RESETHAND}, before;

	sigaction(SIGINT, &action, &before);
	if (!settings->logs.count)
		why_read_file(why, "-");
	for (size_t i = 0; i < settings->logs.count && !why->interrupted; i++)
		why_read_file(why, settings->logs.items[i]);
	sigaction(SIGINT, &before, NULL);
}

static bool why_wants_colour(FILE *out)
{
	const char *none = getenv("NO_COLOR"), *terminal = getenv("TERM");

	return isatty(fileno(out)) && !(none && *none) && !(terminal && strcmp(terminal, "dumb") == 0);
}

/* Nothing to say: what was looked for, and what was there instead. */
static int why_say_nothing(const struct why *why)
{
	const struct why_tally *tally = &why->tally;

	if (why->failed && !why->line_count)
		return WHY_NO_INPUT;
	fprintf(why->errors, "lapse-proxy: no record of lapse-proxy in %llu line%s", (unsigned long long)why->line_count,
	        why->line_count == 1 ? "" : "s");
	if (tally->filtered)
		fprintf(why->errors, " that is as asked for; --since, --service and --reason left out %llu\n",
		        (unsigned long long)tally->filtered);
	else if (tally->unreadable)
		fprintf(why->errors, " that is whole; %llu %s cut off or damaged\n", (unsigned long long)tally->unreadable,
		        tally->unreadable == 1 ? "is" : "are");
	else if (tally->unknown)
		fprintf(why->errors, " with a reason that lapse-proxy %s knows, but as %s; use the lapse-proxy that wrote the log\n",
		        LAPSE_VERSION, tally->unknown_reason);
	else
		fprintf(why->errors, "; is this the container's log? As kubectl logs -l app=shop -c lapse-proxy --prefix --tail=-1\n");
	return why->failed ? WHY_NO_INPUT : WHY_NO_RECORD;
}

static int why_report(struct why *why, const struct settings *settings, FILE *out)
{
	const struct why_tally *tally = &why->tally;

	why_tally_finish(&why->tally);
	if (!tally->records && !tally->access)
		return why_say_nothing(why);
	if (settings->json)
		why_print_json(tally, out);
	else
		why_print_page(tally, &why->filter, why_wants_colour(out), out);
	if (fflush(out) || ferror(out)) {
		fprintf(why->errors, "lapse-proxy: writing failed: %s\n", strerror(errno));
		return EXIT_FAILURE;
	}
	return why->failed ? WHY_NO_INPUT : EXIT_SUCCESS;
}

int why_run(const struct settings *settings, FILE *out, FILE *errors)
{
	struct why *why;
	int status = EXIT_FAILURE;

	if (!settings->logs.count && isatty(STDIN_FILENO)) {
		fputs("lapse-proxy: no log to read: give files, as why FILE, or pipe one, as kubectl logs -l app=shop -c lapse-proxy --prefix --tail=-1 | "
		      "lapse-proxy why\n", errors);
		return WHY_USAGE;
	}
	why = calloc(1, sizeof *why);
	if (why && !why_tally_new(&why->tally)) {
		why->errors = errors;
		why->filter = (struct why_filter){settings->since, settings->service, settings->reasons.items, settings->reasons.count};
		why_read_all(why, settings);
		status = why_report(why, settings, out);
	} else {
		fputs("lapse-proxy: no memory\n", errors);
	}
	if (why)
		why_tally_free(&why->tally);
	free(why);
	return status;
}
