#include "lib/buf.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { SMALLEST = 512 };

uint8_t *buf_reserve(struct buf *buf, size_t length)
{
	size_t held = buf_length(buf), capacity = SMALLEST;
	uint8_t *data;

	if (length > UINT32_MAX / 2)
		return NULL;
	if (buf->capacity - buf->end >= length && buf->data)
		return buf->data + buf->end;
	if (buf->data && buf->capacity - held >= length) {
		memmove(buf->data, buf_bytes(buf), held);
		buf->start = 0;
		buf->end = (uint32_t)held;
		return buf->data + held;
	}
	while (capacity < held + length)
		capacity *= 2;
	if (capacity > UINT32_MAX / 2 || !(data = malloc(capacity)))
		return NULL;
	if (held)
		memcpy(data, buf_bytes(buf), held);
	free(buf->data);
	*buf = (struct buf){.data = data, .end = (uint32_t)held, .capacity = (uint32_t)capacity};
	return data + held;
}

void buf_commit(struct buf *buf, size_t length)
{
	assert(length <= buf->capacity - buf->end);
	buf->end += (uint32_t)length;
}

int buf_append(struct buf *buf, const void *bytes, size_t length)
{
	uint8_t *room;

	if (!length)
		return 0;
	room = buf_reserve(buf, length);
	if (!room)
		return -ENOMEM;
	memcpy(room, bytes, length);
	buf_commit(buf, length);
	return 0;
}

void buf_consume(struct buf *buf, size_t length)
{
	assert(length <= buf_length(buf));
	buf->start += (uint32_t)length;
	if (buf->start == buf->end)
		buf_release(buf);
}

void buf_clear(struct buf *buf)
{
	buf->start = buf->end = 0;
}

void buf_release(struct buf *buf)
{
	free(buf->data);
	*buf = (struct buf){0};
}
