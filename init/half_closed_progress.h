#ifndef LAPSE_INIT_HALF_CLOSED_PROGRESS_H
#define LAPSE_INIT_HALF_CLOSED_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A line on standard error, when that is a terminal, which shows how far a scan is and goes away with it. A scan that is soon over
 * shows none. */
struct half_closed_progress {
	size_t place, places; /* which network namespace of how many; 0 of 0 = there is one only */
	size_t looked, found; /* flows */
	int64_t due;          /* monotonic ms of the next writing */
	bool terminal, shown;
};

void half_closed_progress_begin(struct half_closed_progress *progress, int64_t now);
void half_closed_progress_place(struct half_closed_progress *progress, size_t place, size_t places);
void half_closed_progress_flow(struct half_closed_progress *progress, bool found);
/* Takes the line away. */
void half_closed_progress_end(struct half_closed_progress *progress);

#endif
