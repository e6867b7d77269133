#ifndef LAPSE_LIB_REASON_H
#define LAPSE_LIB_REASON_H

#include "lib/log.h"

/* Why a connection, or one exchange on it, ended. One member per row of reasons.def. REASON_NONE: it has not. */
enum reason_id {
#define REASON(id, name, by, ending, status, level, sentence, remedy) REASON_##id,
#include "lib/reasons.def"
#undef REASON
	REASON_COUNT,
};

/* Who ended it. BY_PEER: whichever of client and server acted first; the record names that one. */
enum reason_by { BY_CLIENT, BY_SERVER, BY_PROXY, BY_NETWORK, BY_KERNEL, BY_PEER };

/* How our socket to the client ends when no answer is under way. */
enum reason_ending { ENDING_NONE, ENDING_FIN, ENDING_RST };

struct reason {
	const char *name;     /* log, metric label, docs: "idle_timeout" */
	const char *sentence; /* what happened, without a full stop */
	const char *remedy;   /* what to do, with placeholders, "" = nothing; read by proxy/advice.c */
	enum reason_by by;
	enum reason_ending ending;
	int status; /* of the synthesised answer where one is possible, 0 = none */
	enum log_level level; /* of the record */
};

/* The row of a reason; never NULL for id < REASON_COUNT. */
const struct reason *reason_row(enum reason_id id);

/* "client", "server", "proxy", "network", "kernel", "peer" */
const char *reason_by_name(enum reason_by by);

/* The reason of that name, REASON_COUNT when there is none. */
enum reason_id reason_find(const char *name);

#endif
