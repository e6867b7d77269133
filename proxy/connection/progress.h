#ifndef LAPSE_PROXY_CONNECTION_PROGRESS_H
#define LAPSE_PROXY_CONNECTION_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct conn;
struct leg;
struct text;

/* What the peers have acknowledged: bytes that the kernel still held for a slow reader, and holds no more, are as good as bytes that
 * moved. The kernel tells nobody, so it is asked: at INSTANT_LOOKED and a part of the shortest timer later (deadline.h). */

/* Bytes that are on their way to this peer and not acknowledged: in our queue, in the kernel's, in flight. */
uint64_t progress_undelivered(const struct leg *leg);

/* Asks both legs. What was acknowledged moves INSTANT_LAST_BYTE (INSTANT_IDLE too) on; with nothing outstanding the next look waits
 * for the next byte. */
void progress_look(struct conn *conn);

/* What came while a timer was running out, and was not seen since the process was late, is handled as the event that it is. */
void progress_catch_up(struct conn *conn);

/* `unacknowledged` is due: a side that has not answered for so long is gone, and said to have failed. */
void progress_check_unacknowledged(struct conn *conn);

/* ", found by …": what it was that gave the leg up, for its record. */
const char *progress_vanished_words(const struct conn *conn, const struct leg *leg, struct text *out);

#endif
