#ifndef LAPSE_LIB_CLOCK_H
#define LAPSE_LIB_CLOCK_H

#include <stdint.h>

/* CLOCK_MONOTONIC in milliseconds. Pure code takes instants as arguments and never calls this, so tests need no fake clock. */
int64_t clock_monotonic_ms(void);
int64_t clock_monotonic_us(void);

/* CLOCK_REALTIME in milliseconds since 1970, for log lines only. */
int64_t clock_realtime_ms(void);

/* "2026-01-02T03:04:05.678Z" */
#define CLOCK_TEXT_SIZE 32
void clock_format(int64_t realtime_ms, char out[static CLOCK_TEXT_SIZE]);

#endif
