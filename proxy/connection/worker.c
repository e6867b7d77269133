#include "proxy/connection/worker.h"

#include "lib/loop.h"

int64_t worker_now(const struct worker *worker)
{
	return loop_now(worker->loop);
}

uint64_t worker_random(struct worker *worker)
{
	/* xorshift64 (Marsaglia 2003) */
	worker->random ^= worker->random << 13;
	worker->random ^= worker->random >> 7;
	worker->random ^= worker->random << 17;
	return worker->random;
}

void worker_wake(struct worker *worker)
{
	loop_wake(worker->loop);
}
