#include "proxy/connection/steer.h"

#include "lib/addr.h"
#include "proxy/connection/conn.h"
#include "proxy/connection/conn_close.h"
#include "proxy/connection/server_leg.h"
#include "proxy/connection/tls_hello.h"
#include "proxy/connection/worker.h"
#include "proxy/policy/policy.h"
#include "proxy/policy/terms.h"
#include "proxy/server/upstream.h"

bool steer_take(struct conn *conn, const struct policy_choice *choice)
{
	struct terms_book *book = &conn->worker->terms;
	struct terms *terms = terms_use(book, conn->target, choice);

	if (!terms)
		return false;
	terms_release(book, conn->terms);
	conn->terms = terms;
	conn->dial = choice->address ? *choice->address : (struct addr){0};
	return true;
}

bool steer_renew(struct conn *conn)
{
	const struct terms_book *book = &conn->worker->terms;
	struct policy_choice choice;

	if (conn->aimed == book->turn)
		return true;
	conn->target = policy_target(book->policy, conn->direction, &conn->server_addr);
	policy_target_choice(conn->target, &choice);
	if (!steer_take(conn, &choice))
		return false;
	conn->aimed = book->turn;
	return true;
}

static bool steer_connection(struct conn *conn, const char *server_name)
{
	struct policy_choice choice;

	if (!steer_renew(conn))
		return false;
	if (!policy_target_has_connection(conn->target))
		return true;
	policy_connection(conn->target, server_name, &choice);
	conn->refusal = choice.refusal;
	return steer_take(conn, &choice);
}

bool steer_accept(struct conn *conn)
{
	return steer_connection(conn, NULL);
}

bool steer_opaque(struct conn *conn)
{
	if (conn->tls && conn->tls->server_name[0] && !steer_connection(conn, conn->tls->server_name)) {
		conn_close(conn, cause_of(REASON_MEMORY_LIMIT), NULL);
		return false;
	}
	if (conn->refusal) {
		conn_close(conn, cause_of(conn->refusal), NULL);
		return false;
	}
	if (conn->upstream && !addr_equal(&conn->upstream->destination, conn_destination(conn)))
		server_leg_drop(conn, false);
	return true;
}
