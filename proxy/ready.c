#include "proxy/ready.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "lib/addr.h"
#include "lib/clock.h"
#include "lib/duration.h"
#include "proxy/settings/settings.h"

enum { READY_PAUSE_MS = 10, READY_ANSWER_MS = 1000 };

/* The status of one GET /ready, or -errno. */
static int ready_ask(int fd, const struct addr *admin)
{
	static const char request[] = "GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", begins[] = "HTTP/1.1 ";
	const struct timeval patience = {.tv_sec = READY_ANSWER_MS / 1000};
	struct sockaddr_storage to;
	socklen_t length = addr_to_sockaddr(admin, &to);
	char answer[sizeof begins + 3] = "";

	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) || connect(fd, (struct sockaddr *)&to, length) ||
	    send(fd, request, sizeof request - 1, MSG_NOSIGNAL) < 0)
		return -errno;
	for (size_t got = 0; got < sizeof answer - 1;) {
		ssize_t more = recv(fd, answer + got, sizeof answer - 1 - got, 0);

		if (more <= 0)
			return more ? -errno : -ECONNRESET;
		got += (size_t)more;
	}
	return memcmp(answer, begins, sizeof begins - 1) ? -EPROTO : atoi(answer + sizeof begins - 1);
}

static int ready_once(const struct addr *admin)
{
	int fd = socket(admin->family, SOCK_STREAM | SOCK_CLOEXEC, 0), status;

	if (fd < 0)
		return -errno;
	status = ready_ask(fd, admin);
	close(fd);
	return status;
}

int ready_run(const struct settings *settings, FILE *errors)
{
	int64_t deadline = clock_monotonic_ms() + settings->within;
	char address[ADDR_TEXT_SIZE], within[DURATION_TEXT_SIZE];
	int status;

	if (!settings->admin.family) {
		fputs("lapse-proxy: ready: --admin off has no /ready\n", errors);
		return EXIT_FAILURE;
	}
	while ((status = ready_once(&settings->admin)) != 200 && clock_monotonic_ms() < deadline)
		poll(NULL, 0, READY_PAUSE_MS);
	if (status == 200)
		return EXIT_SUCCESS;
	addr_format(&settings->admin, address);
	duration_format(settings->within, within);
	if (status < 0)
		fprintf(errors, "lapse-proxy: ready: http://%s/ready did not answer within %s: %s\n", address, within, strerror(-status));
	else
		fprintf(errors, "lapse-proxy: ready: http://%s/ready still says %d after %s\n", address, status, within);
	return EXIT_FAILURE;
}
