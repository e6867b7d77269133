#ifndef LAPSE_PROXY_CONNECTION_PROBES_H
#define LAPSE_PROXY_CONNECTION_PROBES_H

#include <sys/sdt.h>

/* Static probes (USDT) of provider "lapse", for bpftrace, perf and SystemTap: docs/tracing.md has their arguments. Each is a nop and
 * a note in the file; arguments are only what is at hand, so that nothing is computed for a probe that nobody watches. Texts end in
 * NUL unless a length follows. A header, since a probe must stand in the code it watches: the one door to <sys/sdt.h>. */

/* A connection was accepted and its original destination asked for: its id, its socket, 0 inbound or 1 outbound. */
#define PROBE_ACCEPT(conn, fd, direction) DTRACE_PROBE3(lapse, accept, conn, fd, direction)

/* What it carries is known: "http/1.1", "tls" … */
#define PROBE_DETECT(conn, protocol) DTRACE_PROBE2(lapse, detect, conn, protocol)

/* It leaves one stage for another: their names. */
#define PROBE_STAGE(conn, from, to) DTRACE_PROBE3(lapse, stage, conn, from, to)

/* It has ended, as its record says: reason, by and phase by name, milliseconds it was open. */
#define PROBE_CLOSE(conn, reason, by, phase, open_ms) DTRACE_PROBE5(lapse, close, conn, reason, by, phase, open_ms)

/* A request's head is complete: its number on the connection, method and target with their lengths. */
#define PROBE_REQUEST_START(conn, number, method, method_length, target, target_length) \
	DTRACE_PROBE6(lapse, request_start, conn, number, method, method_length, target, target_length)

/* Its response is through, or will never be: its number, the status the client got (0 = none), attempts, microseconds. */
#define PROBE_REQUEST_END(conn, number, status, attempts, microseconds) \
	DTRACE_PROBE5(lapse, request_end, conn, number, status, attempts, microseconds)

#endif
