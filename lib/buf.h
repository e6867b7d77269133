#ifndef LAPSE_LIB_BUF_H
#define LAPSE_LIB_BUF_H

#include <stddef.h>
#include <stdint.h>

/* A contiguous byte queue that owns memory only while it holds bytes or a reservation. All zero = empty. */
struct buf {
	uint8_t *data; /* owned, NULL when empty */
	uint32_t start, end, capacity;
} __attribute__((packed, aligned(4))); /* 20 bytes: every idle connection has two */

static inline size_t buf_length(const struct buf *buf)
{
	return buf->end - buf->start;
}

static inline uint8_t *buf_bytes(const struct buf *buf)
{
	return buf->data ? buf->data + buf->start : (uint8_t *)buf; /* no bytes, but some address */
}

/* Room for `length` more bytes behind the queue; moves or grows it. NULL when there is no memory. Write there, then buf_commit(). */
uint8_t *buf_reserve(struct buf *buf, size_t length);
void buf_commit(struct buf *buf, size_t length);

/* Returns 0 or -ENOMEM, then nothing was appended. */
int buf_append(struct buf *buf, const void *bytes, size_t length);

/* Drops `length` bytes from the front; an emptied queue gives its memory back. */
void buf_consume(struct buf *buf, size_t length);
void buf_release(struct buf *buf);

/* Empties the queue but keeps its memory. */
void buf_clear(struct buf *buf);

#endif
