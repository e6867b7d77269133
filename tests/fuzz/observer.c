/* HTTP/2 observed, with both its ends: frames, halves of frames and anything else, either way, in pieces of any size, while the other way
 * waits. No timer fires, so nothing is the proxy's own: each end gets what the other sent, byte for byte, and no byte is held back once all
 * has come. Only a server's GOAWAY that would raise the last stream carries the smaller one (RFC 9113 §6.8). */
#include "tests/fuzz/fuzz.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <sys/mman.h>

#include "lib/local_ports.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/text.h"
#include "proxy/connection/conn.h"
#include "proxy/connection/steer.h"
#include "proxy/connection/worker.h"
#include "proxy/connection/worker_thread.h"
#include "proxy/http1/http1.h"
#include "proxy/http1/proto_http1.h"
#include "proxy/http2/act.h"
#include "proxy/http2/flow.h"
#include "proxy/http2/proto_http2.h"
#include "proxy/leg/leg.h"
#include "proxy/policy/policy.h"
#include "proxy/policy/terms.h"
#include "proxy/server/dials.h"
#include "proxy/server/upstream.h"
#include "proxy/settings/settings.h"

enum { SENT_MOST = 32 << 10 };

/* What one end sends. */
struct sender {
	struct buf sent;
	size_t fed;  /* of it the proxy has read */
	bool fault;  /* here reading ended */
};

static struct {
	struct settings settings;
	struct http1_settings http1;
	struct proxy proxy;
	struct worker *worker;
	/* One input. */
	struct conn conn;
	struct upstream upstream;
	struct sender senders[FLOW_WAYS];
	bool unread;
	const uint8_t *at, *end;
} fuzz;

static uint8_t next_byte(void)
{
	return fuzz.at < fuzz.end ? *fuzz.at++ : 0;
}

/* --- what the ends send --- */

static void put(enum flow_way way, const void *bytes, size_t length)
{
	if (buf_length(&fuzz.senders[way].sent) + length <= SENT_MOST)
		HOLDS(!buf_append(&fuzz.senders[way].sent, bytes, length));
}

static void put_rest(enum flow_way way, size_t length)
{
	if (length > (size_t)(fuzz.end - fuzz.at))
		length = (size_t)(fuzz.end - fuzz.at);
	put(way, fuzz.at, length);
	fuzz.at += length;
}

/* A frame's head that promises `length`; what follows is another matter. */
static void put_head(enum flow_way way, uint8_t type, uint8_t flags, uint32_t stream, uint32_t length)
{
	const uint8_t head[FRAME_HEAD] = {(uint8_t)(length >> 16), (uint8_t)(length >> 8), (uint8_t)length, type, flags,
	                                  (uint8_t)(stream >> 24), (uint8_t)(stream >> 16), (uint8_t)(stream >> 8), (uint8_t)stream};

	put(way, head, sizeof head);
}

static void put_hello(void)
{
	put(FLOW_UP, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", FRAME_PREFACE);
	for (int way = 0; way < FLOW_WAYS; way++)
		put_head((enum flow_way)way, FRAME_SETTINGS, 0, 0, 0);
}

static void put_frame(enum flow_way way)
{
	static const uint8_t usual[16] = {[FRAME_PRIORITY] = 5, [FRAME_RST_STREAM] = 4, [FRAME_SETTINGS] = 6, [FRAME_PING] = 8, [FRAME_GOAWAY] = 12,
	                                  [FRAME_WINDOW_UPDATE] = 4};
	uint8_t type = next_byte() % 16, flags = next_byte(), stream = next_byte() % 16, length = next_byte();

	if (usual[type] && length & 3)
		length = usual[type];
	if (length > fuzz.end - fuzz.at)
		length = (uint8_t)(fuzz.end - fuzz.at);
	put_head(way, type, flags, type == FRAME_SETTINGS || type == FRAME_PING || type == FRAME_GOAWAY ? 0 : stream, length);
	put_rest(way, length);
}

/* A request, a gRPC call, a response, trailers, an addition to the table, a reference to that, what is no HPACK. */
static void put_block(enum flow_way way)
{
	static const struct {
		uint8_t length, bytes[48];
	} blocks[] = {
	    {3, "\x82\x86\x84"},
	    {33, "\x83\x86\x84\x0f\x10\x10" "application/grpc" "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"},
	    {1, "\x88"}, {1, "\x8d"},
	    {14, "\x00\x0bgrpc-status\x01"},
	    {10, "\x88\x40\x03x-a\x03" "abc"}, {2, "\x88\xbe"}, {1, "\xbf"}, {2, "\x3f\x00"}, {4, "\x20\x3f\xe1\x1f"},
	};
	uint8_t which = next_byte(), flags = next_byte(), stream = next_byte() % 16;
	size_t block = which % (sizeof blocks / sizeof *blocks);

	put_head(way, which & 128 ? FRAME_CONTINUATION : FRAME_HEADERS, flags & (FLAG_END_HEADERS | FLAG_END_STREAM), stream, blocks[block].length);
	put(way, blocks[block].bytes, blocks[block].length);
}

static void put_data(enum flow_way way)
{
	static uint8_t bytes[32 * 255];
	uint8_t stream = next_byte() % 16, flags = next_byte() & (FLAG_END_STREAM | FLAG_PADDED);
	size_t length = (size_t)next_byte() * 32;

	for (size_t i = 0; i < sizeof bytes && !bytes[1]; i++)
		bytes[i] = (uint8_t)(i * 7 + i / 256);
	put_head(way, FRAME_DATA, flags, stream, (uint32_t)length);
	put(way, bytes, length);
}

/* --- the proxy reads --- */

static struct leg *receiver(enum flow_way way)
{
	return way == FLOW_UP ? &fuzz.upstream.leg : &fuzz.conn.client;
}

/* As proto_http2.c does it: what is not read as HTTP/2 any more goes on as it comes. */
static void judge(enum flow_way way, enum flow_verdict verdict)
{
	HOLDS(verdict == FLOW_ON || verdict == FLOW_UNREAD);
	if (verdict == FLOW_ON)
		return;
	fuzz.unread = fuzz.senders[way].fault = true;
	for (int each = 0; each < FLOW_WAYS; each++)
		HOLDS(flow_finish(fuzz.conn.session, (enum flow_way)each) == FLOW_ON);
}

static void feed(enum flow_way way, size_t length)
{
	struct sender *sender = &fuzz.senders[way];
	struct session *session = fuzz.conn.session;
	struct flow *flow = &session->flows[way];
	size_t held = flow->held_length, left = buf_length(&sender->sent) - sender->fed, taken = 0;
	uint8_t *room;
	enum flow_verdict verdict = FLOW_ON;

	length = !length || length > left ? left : length;
	if (!length)
		return;
	if (length > WORKER_SCRATCH - FLOW_HELD)
		length = WORKER_SCRATCH - FLOW_HELD;
	if (fuzz.unread) {
		HOLDS(!leg_send(receiver(way), buf_bytes(&sender->sent) + sender->fed, length, 0));
		sender->fed += length;
		return;
	}
	room = malloc(held + length);
	HOLDS(room);
	memcpy(room, flow->held, held);
	memcpy(room + held, buf_bytes(&sender->sent) + sender->fed, length);
	sender->fed += length;
	if (way == FLOW_UP && session->preface < FRAME_PREFACE)
		verdict = flow_preface(session, room, held + length, &taken);
	if (verdict == FLOW_ON && held + length > taken)
		verdict = flow_feed(session, way, room + taken, held + length - taken);
	free(room);
	judge(way, verdict);
	act_credit(session);
	for (int each = 0; each < FLOW_WAYS; each++)
		HOLDS(!buf_length(&session->flows[each].own));
	HOLDS(!session->no_memory && !session->parted);
}

static void step(void)
{
	uint8_t operation = next_byte();
	enum flow_way way = operation & 128 ? FLOW_DOWN : FLOW_UP;

	switch (operation & 7) {
	case 0:
		put_rest(way, next_byte());
		break;
	case 1:
	case 2:
		put_frame(way);
		break;
	case 3:
		put_block(way);
		break;
	case 4:
		put_data(way);
		break;
	default:
		feed(way, next_byte());
		break;
	}
}

/* --- what must hold --- */

/* What a server's frames become: the last streams of its GOAWAYs never rise. */
static void expect_falling(const struct flow *flow, const struct sender *sender)
{
	uint8_t *bytes = (uint8_t *)buf_bytes(&sender->sent);
	size_t length = buf_length(&sender->sent), at = 0;
	uint32_t least = FRAME_LAST_ID;
	struct frame frame;

	for (uint64_t number = sender->fault; number < flow->frames && length - at >= FRAME_HEAD; number++, at += FRAME_HEAD + frame.length) {
		frame_read(bytes + at, &frame);
		if (frame.type == FRAME_GOAWAY && length - at >= FRAME_HEAD + 4) {
			if (frame_number(bytes + at + FRAME_HEAD) <= least)
				least = frame_number(bytes + at + FRAME_HEAD);
			else
				for (int i = 0; i < 4; i++)
					bytes[at + FRAME_HEAD + (size_t)i] = (uint8_t)(least >> (24 - 8 * i));
		}
		if (frame.length > length - at - FRAME_HEAD)
			return;
	}
}

static void check(enum flow_way way)
{
	const struct sender *sender = &fuzz.senders[way];
	const struct buf *got = &receiver(way)->out;

	HOLDS(buf_length(got) == 1 + buf_length(&sender->sent));
	HOLDS(!memcmp(buf_bytes(got) + 1, buf_bytes(&sender->sent), buf_length(&sender->sent)));
}

/* --- the process --- */

static void prepare(void)
{
	static char program[] = "lapse-proxy";
	static char *words[] = {program, NULL}, *environment[] = {NULL};
	TEXT_ON_STACK(error, 256);
	int command, log = memfd_create("log", MFD_CLOEXEC);

	HOLDS(log >= 0 && !settings_parse(1, words, environment, &fuzz.settings, &command, &error));
	fuzz.settings.worker.inbound_port = fuzz.settings.worker.outbound_port = 0;
	fuzz.settings.worker.log_level = LOG_OFF;
	fuzz.settings.exchange.access_log = true; /* so that heads are kept */
	fuzz.proxy = (struct proxy){.settings = &fuzz.settings.worker, .upstream = &fuzz.settings.upstream, .exchange = &fuzz.settings.exchange,
	                            .http1 = &fuzz.http1, .http1_proto = &proto_http1, .http2_proto = &proto_http2,
	                            .policy = policy_new(&fuzz.settings.policy, NULL, NULL, NULL, NULL, NULL), .guard.dials = dials_new(),
	                            .max_connections = 1000, .workers = &fuzz.worker, .worker_count = 1};
	HOLDS(fuzz.proxy.policy && fuzz.proxy.guard.dials && !local_ports_new(&fuzz.proxy.local_ports) &&
	      !worker_new(&fuzz.worker, &fuzz.proxy, log));
}

static void begin(void)
{
	fuzz.conn = (struct conn){.worker = fuzz.worker, .id = 1, .proto = &proto_http2, .stage = STAGE_STREAMS, .protocol = PROTOCOL_HTTP2,
	                          .direction = DIRECTION_OUTBOUND, .first_fin = BY_PEER, .upstream = &fuzz.upstream,
	                          .server_addr = {.family = AF_INET, .bytes = {10, 9, 0, 1}, .port = 80}};
	fuzz.upstream = (struct upstream){.conn = &fuzz.conn};
	leg_init(&fuzz.conn.client, -1, true, NULL);
	leg_init(&fuzz.upstream.leg, -1, false, NULL);
	/* What waits makes all else wait behind it, and no socket is asked. */
	HOLDS(!buf_append(&fuzz.conn.client.out, "", 1) && !buf_append(&fuzz.upstream.leg.out, "", 1));
	HOLDS(steer_renew(&fuzz.conn) && !session_new(&fuzz.conn));
	fuzz.unread = false;
	for (int way = 0; way < FLOW_WAYS; way++)
		fuzz.senders[way] = (struct sender){0};
}

static void finish(void)
{
	session_clear(fuzz.conn.session);
	free(fuzz.conn.session);
	terms_release(&fuzz.worker->terms, fuzz.conn.terms);
	for (int way = 0; way < FLOW_WAYS; way++) {
		buf_release(&receiver((enum flow_way)way)->out);
		buf_release(&fuzz.senders[way].sent);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy, first, pieces;

	if (size < 2)
		return 0;
	if (!fuzz.worker)
		prepare();
	copy = exact_copy(data, size);
	fuzz.at = copy;
	fuzz.end = copy + size;
	begin();
	first = next_byte();
	pieces = next_byte();
	if (first % 4)
		put_hello();
	while (fuzz.at < fuzz.end)
		step();
	for (int way = 0; way < FLOW_WAYS; way++)
		while (fuzz.senders[way].fed < buf_length(&fuzz.senders[way].sent))
			feed((enum flow_way)way, pieces % 32 ? pieces : 0);
	for (int way = 0; way < FLOW_WAYS && !fuzz.unread; way++)
		HOLDS(flow_finish(fuzz.conn.session, (enum flow_way)way) == FLOW_ON);
	expect_falling(&fuzz.conn.session->flows[FLOW_DOWN], &fuzz.senders[FLOW_DOWN]);
	for (int way = 0; way < FLOW_WAYS; way++)
		check((enum flow_way)way);
	finish();
	free(copy);
	return 0;
}
