#include "proxy/connection/cause.h"

struct cause cause_of(enum reason_id reason)
{
	return (struct cause){.reason = reason, .by = reason_row(reason)->by, .timer = TIMEOUT_NONE};
}

struct cause cause_by(enum reason_id reason, enum reason_by by)
{
	return (struct cause){.reason = reason, .by = by, .timer = TIMEOUT_NONE};
}

struct cause cause_timer(enum reason_id reason, enum timeout_id timer)
{
	return (struct cause){.reason = reason, .by = reason_row(reason)->by, .timer = timer};
}
