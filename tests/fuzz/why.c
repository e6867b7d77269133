/* Logs: whatever lines come, nothing is read behind them, every line is counted once, a record that is counted is of the line, and
 * the page and the JSON come to their ends. */
#include "tests/fuzz/fuzz.h"

#include "proxy/why/why_print.h"
#include "proxy/why/why_tally.h"

static struct {
	struct why_lines lines;
	struct why_record record;
	struct why_tally tally;
} world;

static bool inside(struct why_slice slice, const void *from, size_t length)
{
	const char *first = from;

	return slice.bytes >= first && slice.bytes + slice.length <= first + length;
}

/* A slice leads into the line or into what is kept beside it. */
static void is_ours(struct why_slice slice, const uint8_t *line, size_t length)
{
	HOLDS(!slice.bytes || inside(slice, line, length) || inside(slice, &world.lines, sizeof world.lines) ||
	      inside(slice, world.record.scratch, sizeof world.record.scratch));
}

static void take(const uint8_t *bytes, size_t length)
{
	static const struct why_filter all = {.since_ms = INT64_MIN};
	uint8_t *line = exact_copy(bytes, length);
	struct why_line found;

	why_line_find(&world.lines, (const char *)line, length, &found);
	is_ours(found.record, line, length);
	is_ours(found.pod, line, length);
	if (!found.part && !found.over && found.record.bytes) {
		why_record_read(&found, &world.record);
		for (int i = 0; i < WHY_VALUE_COUNT; i++)
			is_ours(world.record.values[i], line, length);
		HOLDS(world.record.reason < REASON_COUNT && world.record.phase <= PHASE_COUNT);
		why_tally_add(&world.tally, &all, &world.record);
	}
	free(line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct why_filter all = {.since_ms = INT64_MIN};
	uint64_t counted = 0;
	FILE *null = fopen("/dev/null", "w");

	HOLDS(null && !why_tally_new(&world.tally));
	memset(world.lines.parts, 0, sizeof world.lines.parts);
	for (const uint8_t *at = data, *end = data + size; at < end;) {
		const uint8_t *newline = memchr(at, '\n', (size_t)(end - at)), *stop = newline ? newline : end;

		take(at, (size_t)(stop - at));
		at = stop + 1;
	}
	why_tally_finish(&world.tally);
	for (int id = 0; id < REASON_COUNT; id++)
		counted += world.tally.reasons[id].connections + world.tally.reasons[id].requests - world.tally.reasons[id].held_back;
	HOLDS(counted == world.tally.records);
	why_print_page(&world.tally, &all, size & 1, null);
	why_print_json(&world.tally, null);
	why_tally_free(&world.tally);
	fclose(null);
	return 0;
}
