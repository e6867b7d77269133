#ifndef LAPSE_PROXY_HTTP2_HEADER_H
#define LAPSE_PROXY_HTTP2_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/slice.h"

struct buf;

/* Header blocks (RFC 7541). Read with nghttp2's decoder, written as literals that touch no dynamic table. */

/* The shadow of a receiver's decoder: it has seen every block of one direction. */
struct header_reader;

/* An encoder that wants a larger table than this cannot be read. */
enum { HEADER_TABLE_MOST = 65536 };

struct header_line {
	struct slice name, value;
	bool never_indexed; /* §6.2.3: whoever passes it on must not index it either */
};

int header_reader_new(struct header_reader **out); /* 0 or -ENOMEM */
void header_reader_free(struct header_reader *reader); /* NULL is fine */

/* A part of a block; last: its end. Each field that is complete goes to field(owner, …), whose slices are good for that call.
 * 0; -EBADMSG: it is no HPACK, or wants a table or has a field of more than 64 KiB; -ENOMEM. */
int header_read(struct header_reader *reader, struct slice part, bool last,
                void (*field)(void *owner, const struct header_line *field), void *owner);

/* The size of the dynamic table that the encoder last chose. */
uint32_t header_table_size(const struct header_reader *reader);

/* Appended to a block: 0 or -ENOMEM. */
int header_put_size(struct buf *block, uint32_t size);
int header_put(struct buf *block, const struct header_line *field);
int header_put_text(struct buf *block, const char *name, const char *value);

#endif
