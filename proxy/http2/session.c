#include "proxy/http2/session.h"

#include <errno.h>
#include <stdlib.h>

#include "lib/slab.h"
#include "proxy/connection/conn.h"
#include "proxy/connection/worker.h"
#include "proxy/http2/header.h"
#include "proxy/policy/terms.h"

int session_new(struct conn *conn)
{
	struct session *session = calloc(1, sizeof *session);

	if (!session)
		return -ENOMEM;
	session->conn = conn;
	session->told_last = FRAME_LAST_ID;
	session->alarm_at = INT64_MAX;
	for (int way = 0; way < FLOW_WAYS; way++) {
		session->flows[way].granted = session->flows[way].window = FRAME_WINDOW;
		if (header_reader_new(&session->flows[way].reader)) {
			session_clear(session);
			free(session);
			return -ENOMEM;
		}
	}
	conn->session = session;
	return 0;
}

void session_clear(struct session *session)
{
	struct worker *worker = session->conn->worker;
	struct stream_walk walk = {0};
	struct stream *stream;

	while ((stream = stream_next(&session->streams, &walk))) {
		terms_release(&worker->terms, stream->terms);
		stream_free(&session->streams, worker->stream_memory, stream);
	}
	free(session->streams.buckets);
	session->streams = (struct streams){0};
	buf_release(&session->list);
	for (int way = 0; way < FLOW_WAYS; way++) {
		struct flow *flow = &session->flows[way];

		header_reader_free(flow->reader);
		flow->reader = NULL;
		buf_release(&flow->own);
		buf_release(&flow->block.anew);
	}
}

int64_t session_now(const struct session *session)
{
	return conn_now(session->conn);
}
