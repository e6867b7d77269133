#ifndef LAPSE_PROXY_LEG_PUMP_H
#define LAPSE_PROXY_LEG_PUMP_H

#include <stddef.h>
#include <stdint.h>

struct leg;
struct loop;
struct pump_pipe;

enum { PUMP_SCRATCH = 128 * 1024 };

/* What moves one worker's bytes. */
struct pump {
	struct loop *loop;       /* borrowed */
	uint8_t *scratch;        /* borrowed, PUMP_SCRATCH bytes */
	struct pump_pipe *pipes; /* owned: idle ones */
	size_t pipes_idle, pipes_open;
};

/* So much at a time, and what follows goes through a pipe, as long as it is not less than the least. */
enum { PUMP_BULK = 64 * 1024, PUMP_BULK_LEAST = 16 * 1024 };

/* Why pump_move() stopped. */
enum pump_end {
	PUMP_DRAINED,     /* nothing more to read now */
	PUMP_BLOCKED,     /* the receiver takes no more now; the sender is not to be read until it does */
	PUMP_LIMIT,       /* `limit` bytes have moved */
	PUMP_YIELD,       /* enough for one turn; the loop will come back */
	PUMP_FIN,         /* the sender finished */
	PUMP_FROM_FAILED, /* from->error */
	PUMP_TO_FAILED,   /* to->error */
	PUMP_NO_MEMORY,
};

/* Moves at most `limit` bytes from one socket to the other, through its scratch buffer, or through a pipe with splice(2)
 * when from->bulk says that they come by the buffer. *moved is how many were read. */
enum pump_end pump_move(struct pump *pump, struct leg *from, struct leg *to, uint64_t limit, uint64_t *moved);

/* Writes what waits for this leg, buffer first, then pipe, then the wanted FIN. 0 or -errno. */
int pump_flush(struct pump *pump, struct leg *leg);

/* How many bytes wait in the leg's pipe. */
size_t pump_waiting(const struct leg *leg);

/* Gives up what is in the leg's pipe. */
void pump_drop(struct pump *pump, struct leg *leg);

/* Closes the idle pipes. */
void pump_free_pipes(struct pump *pump);

#endif
