/* The door to libnghttp2, of which nothing but its HPACK decoder is used. */
#include "proxy/http2/header.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>

#include "lib/buf.h"

int header_reader_new(struct header_reader **out)
{
	nghttp2_hd_inflater *inflater;

	if (nghttp2_hd_inflate_new(&inflater))
		return -ENOMEM;
	/* Only this once, and upwards: it does not ask for the update that a table lowered by its receiver does, so that the shadow is
	 * never stricter than that. */
	nghttp2_hd_inflate_change_table_size(inflater, HEADER_TABLE_MOST);
	*out = (struct header_reader *)inflater;
	return 0;
}

static nghttp2_hd_inflater *header_inflater(struct header_reader *reader)
{
	return (nghttp2_hd_inflater *)reader;
}

void header_reader_free(struct header_reader *reader)
{
	if (reader)
		nghttp2_hd_inflate_del(header_inflater(reader));
}

int header_read(struct header_reader *reader, struct slice part, bool last,
                void (*field)(void *owner, const struct header_line *field), void *owner)
{
	nghttp2_hd_inflater *inflater = header_inflater(reader);
	const uint8_t *at = part.bytes;
	size_t left = part.length;

	for (;;) {
		nghttp2_nv nv;
		int flags = 0;
		ssize_t taken = nghttp2_hd_inflate_hd2(inflater, &nv, &flags, at, left, last);

		if (taken < 0)
			return taken == NGHTTP2_ERR_NOMEM ? -ENOMEM : -EBADMSG;
		at += taken;
		left -= (size_t)taken;
		if (flags & NGHTTP2_HD_INFLATE_EMIT)
			field(owner, &(struct header_line){{nv.name, nv.namelen}, {nv.value, nv.valuelen}, nv.flags & NGHTTP2_NV_FLAG_NO_INDEX});
		if (flags & NGHTTP2_HD_INFLATE_FINAL) {
			nghttp2_hd_inflate_end_headers(inflater);
			return 0;
		}
		if (!(flags & NGHTTP2_HD_INFLATE_EMIT) && !left)
			return last ? -EBADMSG : 0;
	}
}

uint32_t header_table_size(const struct header_reader *reader)
{
	return (uint32_t)nghttp2_hd_inflate_get_max_dynamic_table_size(header_inflater((struct header_reader *)reader));
}

/* An integer with so many bits in its first byte, which has `pattern` above them (§5.1). */
static size_t header_integer(uint8_t bytes[static 6], uint8_t pattern, unsigned bits, size_t number)
{
	size_t most = (1u << bits) - 1, length = 1;

	if (number < most) {
		bytes[0] = pattern | (uint8_t)number;
		return 1;
	}
	bytes[0] = pattern | (uint8_t)most;
	for (number -= most; number >= 128; number >>= 7)
		bytes[length++] = (uint8_t)(number | 128);
	bytes[length++] = (uint8_t)number;
	return length;
}

int header_put_size(struct buf *block, uint32_t size)
{
	uint8_t bytes[6];

	return buf_append(block, bytes, header_integer(bytes, 0x20, 5, size));
}

int header_put(struct buf *block, const struct header_line *field)
{
	uint8_t name[6], value[6];
	size_t name_head = header_integer(name, 0, 7, field->name.length), value_head = header_integer(value, 0, 7, field->value.length);
	size_t length = 1 + name_head + field->name.length + value_head + field->value.length;
	uint8_t *at = buf_reserve(block, length);

	if (!at)
		return -ENOMEM;
	*at++ = field->never_indexed ? 0x10 : 0x00; /* a literal with a literal name */
	memcpy(at, name, name_head);
	at += name_head;
	memcpy(at, field->name.bytes, field->name.length);
	at += field->name.length;
	memcpy(at, value, value_head);
	at += value_head;
	if (field->value.length)
		memcpy(at, field->value.bytes, field->value.length);
	buf_commit(block, length);
	return 0;
}

int header_put_text(struct buf *block, const char *name, const char *value)
{
	return header_put(block, &(struct header_line){{(const uint8_t *)name, strlen(name)}, {(const uint8_t *)value, strlen(value)}, false});
}
