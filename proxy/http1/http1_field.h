#ifndef LAPSE_PROXY_HTTP1_HTTP1_FIELD_H
#define LAPSE_PROXY_HTTP1_HTTP1_FIELD_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "proxy/http1/http1.h"

/* Single header fields. Pure. */

/* Whether these bytes, none of them a control character but tabs, are that word of the same length, given in lower case: by eights or
 * fours where there are as many, the last of them over bytes that were compared before. */
static inline bool http1_same(const uint8_t *bytes, const char *word, size_t length)
{
	uint64_t lower = UINT64_C(0x2020202020202020), eight, eight_wanted;
	uint32_t four, four_wanted;

	if (length < 4) {
		for (size_t i = 0; i < length; i++)
			if ((bytes[i] | 0x20) != word[i])
				return false;
		return true;
	}
	if (length < 8) {
		memcpy(&four, bytes, sizeof four);
		memcpy(&four_wanted, word, sizeof four);
		if ((four | (uint32_t)lower) != four_wanted)
			return false;
		memcpy(&four, bytes + length - 4, sizeof four);
		memcpy(&four_wanted, word + length - 4, sizeof four);
		return (four | (uint32_t)lower) == four_wanted;
	}
	for (size_t i = 0; i + 8 < length; i += 8) {
		memcpy(&eight, bytes + i, sizeof eight);
		memcpy(&eight_wanted, word + i, sizeof eight);
		if ((eight | lower) != eight_wanted)
			return false;
	}
	memcpy(&eight, bytes + length - 8, sizeof eight);
	memcpy(&eight_wanted, word + length - 8, sizeof eight);
	return (eight | lower) == eight_wanted;
}

static inline bool http1_is(struct slice name, const char *word)
{
	return name.length == strlen(word) && http1_same(name.bytes, word, name.length);
}

/* RFC 9110 §5.6.2 */
bool http1_is_token(struct slice value);

/* Without blanks and tabs at its end. */
struct slice http1_trimmed(struct slice value);

/* Whether a Host is a host with or without a port, or empty: no blank, slash or userinfo in it (RFC 9110 §7.2). */
bool http1_is_host(struct slice value);

/* Whether the field names NTLM or Negotiate as a way to sign in. */
bool http1_binds_connection(struct slice name, struct slice value);

/* Whether an Accept field allows text, or a wildcard. */
bool http1_allows_text(struct slice value);

/* Whether a User-Agent field is that of a kubelet's HTTP probe, kube-probe/VERSION (kubernetes/pkg/probe/http). */
bool http1_is_kube_probe(struct slice value);

/* The number of `timeout=N` among the comma-separated parameters of a Keep-Alive field, -1 = none. */
int32_t http1_keep_alive_timeout(struct slice value);

#endif
