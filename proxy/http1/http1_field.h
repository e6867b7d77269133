#ifndef LAPSE_PROXY_HTTP1_HTTP1_FIELD_H
#define LAPSE_PROXY_HTTP1_HTTP1_FIELD_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "proxy/http1/http1.h"

/* Single header fields. Pure. */

/* Whether a name or value, which has no control characters but tabs, is this word, given in lower case. */
static inline bool http1_is(struct slice name, const char *word)
{
	if (name.length != strlen(word))
		return false;
	for (size_t i = 0; i < name.length; i++)
		if ((name.bytes[i] | 0x20) != word[i])
			return false;
	return true;
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
