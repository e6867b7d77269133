#include "proxy/http1/turn_away.h"

#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "lib/text.h"
#include "proxy/connection/advice.h"
#include "proxy/connection/conn.h"
#include "proxy/connection/detect.h"
#include "proxy/connection/worker.h"
#include "proxy/exchange/access.h"
#include "proxy/exchange/exchange.h"
#include "proxy/http1/reply.h"

bool turn_away_client(struct conn *conn, enum reason_id reason, const char *fact)
{
	static const struct advice nothing_known = {.timer = TIMEOUT_NONE};
	TEXT_ON_STACK(detail, ADVICE_DETAIL_SIZE);
	uint8_t bytes[2048];
	int fd = conn->client.source.fd;
	ssize_t got = recv(fd, bytes, sizeof bytes, MSG_PEEK | MSG_DONTWAIT);
	const struct answer answer = {
	    .status = reason_row(reason)->status,
	    .reason = reason,
	    .detail = detail_bytes,
	    .reason_headers = !conn->worker->proxy->exchange->no_reason_headers,
	    .close = true,
	};
	TEXT_ON_STACK(text, REPLY_MOST);

	if (got <= 0 || detect_protocol(bytes, (size_t)got) != PROTOCOL_HTTP1)
		return false;
	advice_detail(reason, &nothing_known, fact, "", &detail);
	reply_write(&answer, &text);
	if (send(fd, text_bytes, text.length, MSG_NOSIGNAL) != (ssize_t)text.length)
		return false;
	access_refused(conn, reason, answer.status);
	return true;
}
