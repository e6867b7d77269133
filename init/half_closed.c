#include "init/half_closed.h"

#include <assert.h>
#include <ctype.h>
#include <inttypes.h>
#include <string.h>

#include "lib/duration.h"
#include "lib/text.h"

const enum conntrack_state half_closed_states[HALF_CLOSED_STATES] = {CONNTRACK_FIN_WAIT, CONNTRACK_CLOSE_WAIT,
                                                                     CONNTRACK_LAST_ACK};

static const struct half_closed_row {
	const char *name, *meaning;
} half_closed_rows[CONNTRACK_STATE_COUNT] = {
	[CONNTRACK_FIN_WAIT] = {"FIN_WAIT", "one side has finished, which the other has not acknowledged yet"},
	[CONNTRACK_CLOSE_WAIT] = {"CLOSE_WAIT", "one side has finished, the other may still speak"},
	/* The table in nf_conntrack_proto_tcp.c does not look at who sends the second FIN. */
	[CONNTRACK_LAST_ACK] = {"LAST_ACK", "both sides have finished, or one has said so twice; an acknowledgement is missing"},
};

bool half_closed_is(unsigned state)
{
	return state < CONNTRACK_STATE_COUNT && half_closed_rows[state].name;
}

const char *half_closed_state_name(unsigned state)
{
	return half_closed_is(state) ? half_closed_rows[state].name : "";
}

const char *half_closed_state_meaning(unsigned state)
{
	return half_closed_is(state) ? half_closed_rows[state].meaning : "";
}

bool half_closed_is_redirected(const struct half_closed_flow *flow)
{
	return !addr_equal(&flow->destination, &flow->answerer);
}

bool half_closed_is_masqueraded(const struct half_closed_flow *flow)
{
	return !addr_equal(&flow->client, &flow->answered);
}

int64_t half_closed_silence(const struct half_closed_flow *flow, const uint32_t seconds[static CONNTRACK_STATE_COUNT])
{
	uint32_t lifetime = flow->state < CONNTRACK_STATE_COUNT ? seconds[flow->state] : 0;
	uint32_t shorter = seconds[CONNTRACK_UNACK];

	if (flow->unacknowledged && shorter && shorter < lifetime)
		lifetime = shorter;
	if (!lifetime || flow->remaining > lifetime)
		return -1;
	return flow->remaining == lifetime ? 0 : (int64_t)lifetime - flow->remaining - 1;
}

bool half_closed_is_old(const struct half_closed_flow *flow, int64_t min_age_ms)
{
	return flow->silent < 0 || flow->silent * 1000 >= min_age_ms;
}

void half_closed_duration(int64_t seconds, struct text *out)
{
	char duration[DURATION_TEXT_SIZE];

	if (seconds < 120)
		text_printf(out, "%" PRId64 " s", seconds);
	else
		text_string(out, duration_format(seconds * 1000, duration));
}

void half_closed_risk(const struct half_closed_flow *flow, struct text *out)
{
	assert(half_closed_is(flow->state));
	if (flow->remaining) {
		text_string(out, "forgotten in ");
		half_closed_duration(flow->remaining, out);
	} else {
		text_string(out, "about to be forgotten");
	}
	if (half_closed_is_redirected(flow) || half_closed_is_masqueraded(flow))
		text_string(out, "; a later FIN or RST is then lost");
	else
		text_string(out, "; not translated, so what comes later arrives unless a rule drops invalid packets");
}

bool half_closed_same(const struct half_closed_flow *a, const struct half_closed_flow *b)
{
	return a->id == b->id && a->place == b->place && a->zone == b->zone && addr_equal(&a->client, &b->client) &&
	       addr_equal(&a->destination, &b->destination);
}

uint32_t half_closed_hash(const struct half_closed_flow *flow)
{
	return addr_hash(&flow->client) * 31 + flow->id;
}

int half_closed_compare(const void *a, const void *b)
{
	uint32_t left = ((const struct half_closed_flow *)a)->remaining, right = ((const struct half_closed_flow *)b)->remaining;

	return (left > right) - (left < right);
}

/* "3f0c2a1e_77d0_4a51_9d0e_5b1f7c2d9e10", with - or _, or 32 digits alone as static pods have it; its length, 0 = none. */
static size_t half_closed_pod_length(const char *text)
{
	size_t length = 0, digits = 0;

	for (; isxdigit((unsigned char)text[length]) || text[length] == '-' || text[length] == '_'; length++)
		digits += text[length] != '-' && text[length] != '_';
	return digits == 32 && length < HALF_CLOSED_POD_SIZE && !isalnum((unsigned char)text[length]) ? length : 0;
}

bool half_closed_pod(const char *cgroup, char out[static HALF_CLOSED_POD_SIZE])
{
	for (const char *at = cgroup; (at = strstr(at, "pod")) != NULL; at += 3) {
		size_t length = half_closed_pod_length(at + 3);

		if (!length || at == cgroup || (at[-1] != '/' && at[-1] != '-'))
			continue;
		for (size_t i = 0; i < length; i++)
			out[i] = at[3 + i] == '_' ? '-' : at[3 + i];
		out[length] = '\0';
		return true;
	}
	return false;
}

/* Version 2 has one line, "0::/path"; of version 1's the longest path is taken. What a terminal would obey becomes '?'. */
const char *half_closed_cgroup(const char *lines, struct text *out)
{
	const char *best = "";
	size_t best_length = 0;

	while (*lines) {
		size_t length = strcspn(lines, "\n");
		const char *path = memchr(lines, ':', length);

		path = path ? memchr(path + 1, ':', length - (size_t)(path + 1 - lines)) : NULL;
		if (path && length - (size_t)(path + 1 - lines) > best_length) {
			best = path + 1;
			best_length = length - (size_t)(path + 1 - lines);
		}
		lines += length + (lines[length] == '\n');
	}
	for (size_t i = 0; i < best_length; i++)
		text_char(out, isprint((unsigned char)best[i]) ? best[i] : '?');
	return out->data;
}
