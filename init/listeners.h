#ifndef LAPSE_INIT_LISTENERS_H
#define LAPSE_INIT_LISTENERS_H

#include <stdbool.h>
#include <stdint.h>

struct init_options;
struct plan;
struct report;
struct text;

/* Whether `line`, of /proc/net/tcp or (ipv6) /proc/net/tcp6, is a socket that listens on `port` for connections of `family` to
 * loopback addresses, or to others; its owner is *uid then. Those files do not show IPV6_V6ONLY: [::] counts for both families. */
bool listeners_match(const char *line, bool ipv6, int family, uint16_t port, bool loopback, uint32_t *uid);

/* Whether a proxy listens where the plan redirects to, as a user that the plan leaves alone. 0; 1 with one sentence in `error` why
 * not, given two seconds to come right. Where /proc/net cannot be read that is reported, and 0. */
int listeners_check(const struct init_options *options, const struct plan *plan, struct report *report, struct text *error);

#endif
