#ifndef LAPSE_LIB_CLOCK_H
#define LAPSE_LIB_CLOCK_H

#include <stddef.h>
#include <stdint.h>

/* CLOCK_MONOTONIC in milliseconds. Pure code takes instants as arguments and never calls this, so tests need no fake clock. */
int64_t clock_monotonic_ms(void);
int64_t clock_monotonic_us(void);

/* CLOCK_REALTIME in milliseconds since 1970, for log lines only. */
int64_t clock_realtime_ms(void);

/* "2026-01-02T03:04:05.678Z" */
#define CLOCK_TEXT_SIZE 32
void clock_format(int64_t realtime_ms, char out[static CLOCK_TEXT_SIZE]);

/* RFC 3339's date-time, and its parts: "2026-01-02T03:04:05.678Z", "2026-01-02 03:04+01:00", "2026-01-02". Without an offset UTC;
 * what is less than a millisecond is cut. 0 or -EINVAL, *realtime_ms untouched on failure. */
int clock_parse(const char *text, size_t length, int64_t *realtime_ms);

#endif
