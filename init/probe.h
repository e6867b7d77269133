#ifndef LAPSE_INIT_PROBE_H
#define LAPSE_INIT_PROBE_H

struct init_options;
struct plan;
struct report;
struct text;

/* Proves the outbound redirect by using it: for each redirected IP version, connects to an address where nobody answers. The
 * connection must arrive at the outbound port and show where it was meant for; when another listener has that port, it must be
 * accepted there. Reports one line per IP version.
 * 0: proven, or nothing to send a probe by. 1: the redirect does not work, `error` says how. */
int probe_redirect(const struct init_options *options, const struct plan *plan, struct report *report, struct text *error);

#endif
