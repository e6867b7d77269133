#ifndef LAPSE_PROXY_LEG_INPUT_H
#define LAPSE_PROXY_LEG_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"

struct leg;

/* A run of bytes read from a leg: in the worker's scratch, or taken out of the leg's own buffer with what was held there before. */
struct input {
	const uint8_t *bytes;
	size_t length;
	struct buf taken; /* owned */
	bool full;        /* the read filled the room it had: there may be more in the socket */
};

/* How far the search for the end of a head in it has come; all zero at its start. */
struct input_scan {
	uint32_t line;   /* offset of the line under way */
	uint32_t fields; /* complete lines seen */
};

/* Reads once from the leg's socket, at most `size` bytes into `scratch` unless some are held. > 0: input is set, with the bytes held
 * so far in front; else as leg_read(), or -ENOMEM. */
int input_read(struct input *input, struct leg *leg, uint8_t *scratch, size_t size);

/* What the leg holds, without reading. */
void input_take(struct input *input, struct leg *leg);

/* Gives what lies behind the first `consumed` bytes back to the leg, to be seen again. 0 or -ENOMEM. A closed leg takes nothing. */
int input_hold(struct input *input, struct leg *leg, size_t consumed);

void input_free(struct input *input);

#endif
