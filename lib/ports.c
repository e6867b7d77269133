#include "lib/ports.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/arena.h"

/* A port at *cursor, which moves behind it. */
static int ports_parse_one(const char **cursor, const char *end, uint16_t *out)
{
	const char *at = *cursor;
	uint32_t value = 0;

	for (; at < end && *at >= '0' && *at <= '9'; at++) {
		value = value * 10 + (uint32_t)(*at - '0');
		if (value > 65535)
			return -EINVAL;
	}
	if (at == *cursor || value == 0)
		return -EINVAL;
	*cursor = at;
	*out = (uint16_t)value;
	return 0;
}

static int ports_parse_range(const char *entry, const char *end, struct port_range *out)
{
	struct port_range range;

	if (ports_parse_one(&entry, end, &range.first) != 0)
		return -EINVAL;
	range.last = range.first;
	if (entry < end && *entry == '-') {
		entry++;
		if (ports_parse_one(&entry, end, &range.last) != 0)
			return -EINVAL;
	}
	if (entry != end || range.last < range.first)
		return -EINVAL;
	*out = range;
	return 0;
}

static int ports_compare(const void *left, const void *right)
{
	const struct port_range *a = left, *b = right;

	return (a->first > b->first) - (a->first < b->first);
}

/* Sorts and joins what overlaps or touches; returns the new count. */
static size_t ports_merge(struct port_range *ranges, size_t count)
{
	size_t kept = 0;

	if (count == 0)
		return 0;
	qsort(ranges, count, sizeof *ranges, ports_compare);
	for (size_t i = 1; i < count; i++) {
		if ((uint32_t)ranges[i].first > (uint32_t)ranges[kept].last + 1)
			ranges[++kept] = ranges[i];
		else if (ranges[i].last > ranges[kept].last)
			ranges[kept].last = ranges[i].last;
	}
	return kept + 1;
}

/* Adds the entries of text behind the *count that ranges already holds. 0 or -EINVAL. */
static int ports_parse_list(const char *text, struct port_range *ranges, size_t *count, const char **bad, size_t *bad_length)
{
	for (;;) {
		const char *next = text + strcspn(text, ","), *end = next;

		text += strspn(text, " \t");
		while (end > text && (end[-1] == ' ' || end[-1] == '\t'))
			end--;
		if (ports_parse_range(text, end, &ranges[*count]) != 0) {
			if (bad != NULL) {
				*bad = text;
				*bad_length = (size_t)(end - text);
			}
			return -EINVAL;
		}
		++*count;
		if (*next == '\0')
			return 0;
		text = next + 1;
	}
}

int ports_parse(struct ports *ports, const char *text, const char **bad, size_t *bad_length)
{
	size_t entries = 1, count = ports->count;

	if (text[strspn(text, " \t")] == '\0')
		return 0;
	for (const char *at = text; *at != '\0'; at++)
		entries += *at == ',';
	struct port_range *ranges = malloc((count + entries) * sizeof *ranges);
	if (ranges == NULL)
		return -ENOMEM;
	if (count > 0)
		memcpy(ranges, ports->ranges, count * sizeof *ranges);

	if (ports_parse_list(text, ranges, &count, bad, bad_length) != 0) {
		free(ranges);
		return -EINVAL;
	}
	free(ports->ranges);
	ports->ranges = ranges;
	ports->count = ports_merge(ranges, count);
	return 0;
}

const struct ports *ports_keep(struct ports *ports, struct arena *arena)
{
	struct ports *kept = arena_alloc(arena, sizeof *kept);

	if (kept != NULL)
		*kept = (struct ports){arena_array(arena, ports->count + 1, sizeof *kept->ranges), ports->count};
	if (kept != NULL && kept->ranges == NULL)
		kept = NULL;
	if (kept != NULL && ports->count > 0)
		memcpy(kept->ranges, ports->ranges, ports->count * sizeof *kept->ranges);
	ports_free(ports);
	return kept;
}

bool ports_contain(const struct ports *ports, uint16_t port)
{
	size_t low = 0, high = ports->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (port < ports->ranges[middle].first)
			high = middle;
		else if (port > ports->ranges[middle].last)
			low = middle + 1;
		else
			return true;
	}
	return false;
}

void ports_free(struct ports *ports)
{
	free(ports->ranges);
	*ports = (struct ports){0};
}
