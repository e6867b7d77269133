#ifndef LAPSE_PROXY_HTTP2_ACT_H
#define LAPSE_PROXY_HTTP2_ACT_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/connection/cause.h"
#include "proxy/http2/session.h"

/* Frames of our own: how a stream is cut, answers, GOAWAY. They wait in flows[].own; flow_flush() sends them. */

/* Ends a stream on both sides: towards the client with an answer where no response head has passed. status: of an answer that is not
 * gRPC's. */
void act_cut(struct session *session, struct stream *stream, struct cause cause, int status, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* The server's connection has ended. Streams of which no response head has passed get their answer, unless the server itself has said
 * GOAWAY, or what it said last is half a frame. False: none got one. */
bool act_lost(struct session *session, struct cause cause, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Whether a frame or block of the stream is half on its way there. */
bool act_is_passing(const struct flow *flow, uint32_t id);

/* A frame or block has passed this way, on this stream: what waited for that. */
void act_late(struct session *session, enum flow_way way, uint32_t id);

/* A promise that was dropped: its stream is cut at once. */
void act_refuse_promised(struct session *session, struct stream *stream);

/* The block under way, of which the fields were gathered, anew. False: no memory. */
bool act_write_block(struct session *session, enum flow_way way);

/* Dropped DATA is given back to its sender. */
void act_credit(struct session *session);

/* The server's first SETTINGS have passed. */
void act_greeted(struct session *session);

/* The client is told to open no more streams, and, when it has heard that, which was the last. */
void act_go(struct session *session);
void act_go_finally(struct session *session);

/* The last words before the connection ends: GOAWAY to the client with its last stream, and to the server where `both`. */
void act_goaway(struct session *session, uint32_t code, const char *debug, bool both);

/* The server has not spoken yet, so that the client's streams are ours to answer: SETTINGS, an answer for every stream, GOAWAY. */
void act_as_server(struct session *session, struct stream *due, struct cause cause, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
