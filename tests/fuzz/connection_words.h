#ifndef LAPSE_TESTS_FUZZ_CONNECTION_WORDS_H
#define LAPSE_TESTS_FUZZ_CONNECTION_WORDS_H

#include <stddef.h>

/* What the clients and servers of tests/fuzz/connection.c say beside raw bytes, and the documents of its policies. */

struct words {
	const char *bytes;
	size_t length;
};
#define W(text) {text, sizeof(text) - 1}

static const struct words connection_requests[] = {
    W("GET /ok/@ HTTP/1.1\r\nHost: h\r\n\r\n"),
    W("GET /no/@ HTTP/1.1\r\nHost: h\r\n\r\n"),
    W("POST /ok/@ HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n012345678@"),
    W("POST /ok/@ HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab@\r\n0\r\n\r\n"),
    W("GET /ok/@ HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"),
    W("GET /ok/@ HTTP/1.0\r\n\r\n"),
    W("GET /ok/@ HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"),
    W("CONNECT h@:80 HTTP/1.1\r\nHost: h:80\r\n\r\n"),
    W("POST /ok/@ HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"),
    W("01234"),
    W("GET /b/@ HTTP/1.1\r\nHost: h\r\n\r\n"),
    W("GET /r/@ HTTP/1.1\r\nHost: h\r\n\r\n"),
    W("GET /w/@ HTTP/1.1\r\nHost: h\r\n\r\n"),
    W("GET /dead/@ HTTP/1.1\r\nHost: h\r\n\r\n"),
    W("GET /hole/@ HTTP/1.1\r\nHost: h\r\n\r\n"),
    W("GET /ok/@ HTTP/1.1\r\nHo"),
    W("st: h@\r\n\r\n"),
    W("GET /ok/@ HTTP/1.1\nHost: h\n\n"),
    W("GET /ok/@ HTTP/1.1\r\n Host: h\r\n\r\n"),
    W("\r\n"),
    W("hello @\n"),
    W("\x16\x03\x01\x00\x40\x01\x00\x00\x3c"),
    W("POST /ok/@ HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab@"),
    W("xy\r\n0\r\n\r\n"),
    W("GET /ok/@ HTTP/1.1\r\nHost: h\r\nAuthorization: Negotiate YII@\r\n\r\n"),
    W("HEAD /ok/@ HTTP/1.1\r\nHost: h\r\n\r\n"),
    W("POST /ok/@ HTTP/1.1\r\nHost: h\r\nContent-Length: 200000\r\n\r\n"),
    W("POST /ok/@ HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"),
    W("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    /* HTTP/2: the preface with SETTINGS; requests with and without an end; bodies, trailers, credit, ends. */
    W("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\6\4\0\0\0\0\0\0\1\0\0\x10\0"),
    W("\0\0\0\4\1\0\0\0\0"),
    W("\0\0\x6\1\5\0\0\0\1\x82\x86\x84\x01\1@"),
    W("\0\0\x6\1\4\0\0\0\3\x83\x86\x84\x01\1@"),
    W("\0\0\x6\1\5\0\0\0\5\x82\x86\x84\x41\1@"),
    W("\0\0\x4\1\5\0\0\0\7\x82\x86\x84\xbe"),
    W("\0\0\x2\1\0\0\0\0\x9\x82\x86" "\0\0\1\x9\4\0\0\0\x9\x84"),
    W("\0\0\5\0\0\0\0\0\3abcd@"),
    W("\0\0\x6\0\x9\0\0\0\3\4@\0\0\0\0"),
    W("\0\0\x8\0\0\0\0\0\3half of"),
    W("\0\0\4\3\0\0\0\0\1\0\0\0\x8"),
    W("\0\0\4\x8\0\0\0\0\0\0\0\xff\xff"),
    W("\0\0\x8\6\1\0\0\0\0abcdefg@"),
    W("\0\0\x8\7\0\0\0\0\0\0\0\0\0\0\0\0\0"),
    W("\0\0\x28\1\4\0\0\0\x0b\x83\x86\x84\x0f\x10\x10" "application/grpc\x00\x0cgrpc-timeout\x03" "20m"),
    W("\0\0\x9\0\0\0\0\0\x0b\0\0\0\0\4abc@"),
};

static const struct words connection_responses[] = {
    W("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell@"),
    W("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nX: @\r\n\r\n"),
    W("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab@\r\n0\r\n\r\n"),
    W("HTTP/1.1 200 OK\r\n\r\nuntil close @"),
    W("HTTP/1.1 100 Continue\r\n\r\n"),
    W("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"),
    W("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"),
    W("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 5\r\n\r\n1234@"),
    W("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"),
    W("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nab@"),
    W("HTTP/1.1 200 OK\nContent-Length: 2\n\no@"),
    W("220 smtp @\r\n"),
    W("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhell@"),
    W("HTTP/1.1 204 No Content\r\nX: @\r\n\r\n"),
    W("HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1\r\nContent-Length: 5\r\n\r\nhell@"),
    W("HTTP/1.1 200 OK\r\nCont"),
    W("ent-Length: 3\r\n\r\nab@"),
    W("HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"),
    W("HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: NTLM\r\nContent-Length: 0\r\n\r\n"),
    W("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"),
    W("HTTP/1.1 103 Early Hints\r\nX: @\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n@"),
    W("stray @"),
    W("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n@"),
    W("HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 1\r\n\r\n@"),
    W("\0\0\6\4\0\0\0\0\0\0\1\0\0\0\x40"),
    W("\0\0\0\4\1\0\0\0\0"),
    W("\0\0\1\1\4\0\0\0\1\x88"),
    W("\0\0\1\1\5\0\0\0\1\x88"),
    W("\0\0\4\1\4\0\0\0\3\x88\x40\1a\1@"),
    W("\0\0\1\1\4\0\0\0\5\x88"),
    W("\0\0\1\1\5\0\0\0\5\xbe"),
    W("\0\0\1\1\4\0\0\0\x0b\x88"),
    W("\0\0\5\0\0\0\0\0\1abcd@"),
    W("\0\0\5\0\1\0\0\0\1abcd@"),
    W("\0\0\x9\0\0\0\0\0\x0b\0\0\0\0\4abc@"),
    W("\0\0\x7\0\0\0\0\0\x0b\0\0\0\0\4a@"),
    W("\0\0\4\3\0\0\0\0\3\0\0\0\7"),
    W("\0\0\x8\7\0\0\0\0\0\0\0\0\5\0\0\0\x0b"),
    W("\0\0\5\5\4\0\0\0\1\0\0\0\2\x82"),
    W("\0\0\4\x8\0\0\0\0\0\0\0\x10\0"),
    W("\0\0\x8\6\0\0\0\0\0abcdefg@"),
};

enum {
	CONNECTION_REQUESTS = sizeof connection_requests / sizeof connection_requests[0],
	CONNECTION_RESPONSES = sizeof connection_responses / sizeof connection_responses[0],
};

#define SERVICE(name, host)                                                                                                      \
	"---\napiVersion: v1\nkind: Service\nmetadata: {name: " name ", namespace: default}\n"                                   \
	"spec: {clusterIP: 10.9.0." host ", ports: [{port: 8080}]}\n"
#define SERVICES SERVICE("site", "1") SERVICE("other", "2") SERVICE("dead", "4") SERVICE("hole", "5")
#define ROUTE                                                                                                                    \
	"---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: site, namespace: default}\n"           \
	"spec:\n  parentRefs: [{group: '', kind: Service, name: site}]\n  rules:\n"
#define RULE(path, more) "  - matches: [{path: {type: PathPrefix, value: " path "}}]\n" more
#define TO(name) "    backendRefs: [{name: " name ", port: 8080}]\n"
#define RETRY "    retry: {attempts: 3, backoff: 5ms, codes: [500, 503]}\n"

/* One for each policy; NULL: none. The first are without rules, so that nothing may change what passes. */
static const char *const connection_documents[] = {
    NULL,
    NULL,
    SERVICES ROUTE RULE("/ok", "") RULE("/b", TO("other")) RULE("/dead", TO("dead")) RULE("/hole", TO("hole"))
        RULE("/r", "    filters: [{type: RequestRedirect, requestRedirect: {path: {type: ReplaceFullPath, replaceFullPath: /n}}}]\n")
        RULE("/w", "    filters:\n"
                   "    - {type: URLRewrite, urlRewrite: {hostname: other, path: {type: ReplacePrefixMatch, replacePrefixMatch: /x}}}\n"
                   "    - {type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-a, value: b}]}}\n" TO("other")),
    SERVICES ROUTE RULE("/ok", RETRY "    timeouts: {request: 200ms, backendRequest: 30ms}\n") RULE("/b", RETRY TO("other"))
        RULE("/dead", RETRY TO("dead")) RULE("/hole", RETRY "    timeouts: {request: 90ms, backendRequest: 30ms}\n" TO("hole")),
};

#endif
