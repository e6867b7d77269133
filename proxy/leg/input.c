#include "proxy/leg/input.h"

#include <errno.h>

#include "proxy/leg/leg.h"

enum { READ_AHEAD = 4096 }; /* room made behind a head that came in part */

void input_take(struct input *input, struct leg *leg)
{
	*input = (struct input){.bytes = buf_bytes(&leg->in), .length = buf_length(&leg->in), .taken = leg->in};
	leg->in = (struct buf){0};
}

int input_read(struct input *input, struct leg *leg, uint8_t *scratch, size_t size)
{
	uint8_t *room;
	int got;

	*input = (struct input){0};
	if (!buf_length(&leg->in)) {
		got = leg_read(leg, scratch, size);
		if (got > 0)
			*input = (struct input){.bytes = scratch, .length = (size_t)got, .full = (size_t)got == size};
		return got;
	}
	room = buf_reserve(&leg->in, READ_AHEAD);
	if (!room)
		return -ENOMEM;
	got = leg_read(leg, room, READ_AHEAD);
	if (got > 0) {
		buf_commit(&leg->in, (size_t)got);
		input_take(input, leg);
		input->full = got == READ_AHEAD;
	}
	return got;
}

int input_hold(struct input *input, struct leg *leg, size_t consumed)
{
	if (consumed >= input->length || !leg_open(leg))
		return 0;
	if (!input->taken.data)
		return buf_append(&leg->in, input->bytes + consumed, input->length - consumed);
	buf_consume(&input->taken, consumed);
	leg->in = input->taken;
	input->taken = (struct buf){0};
	return 0;
}

void input_free(struct input *input)
{
	buf_release(&input->taken);
	*input = (struct input){0};
}
