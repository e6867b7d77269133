#ifndef LAPSE_TESTS_FUZZ_CONNECTION_WORDS_H
#define LAPSE_TESTS_FUZZ_CONNECTION_WORDS_H

#include <stddef.h>

/* What the clients and servers of tests/fuzz/connection.c say beside raw bytes, and the documents of its policies. */

static const char *const connection_requests[] = {
    "GET /ok/@ HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET /no/@ HTTP/1.1\r\nHost: h\r\n\r\n",
    "POST /ok/@ HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n012345678@",
    "POST /ok/@ HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab@\r\n0\r\n\r\n",
    "GET /ok/@ HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
    "GET /ok/@ HTTP/1.0\r\n\r\n",
    "GET /ok/@ HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    "CONNECT h@:80 HTTP/1.1\r\nHost: h:80\r\n\r\n",
    "POST /ok/@ HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
    "01234",
    "GET /b/@ HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET /r/@ HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET /w/@ HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET /dead/@ HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET /hole/@ HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET /ok/@ HTTP/1.1\r\nHo",
    "st: h@\r\n\r\n",
    "GET /ok/@ HTTP/1.1\nHost: h\n\n",
    "GET /ok/@ HTTP/1.1\r\n Host: h\r\n\r\n",
    "\r\n",
    "hello @\n",
    "\x16\x03\x01\x00\x40\x01\x00\x00\x3c",
    "POST /ok/@ HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab@",
    "xy\r\n0\r\n\r\n",
    "GET /ok/@ HTTP/1.1\r\nHost: h\r\nAuthorization: Negotiate YII@\r\n\r\n",
    "HEAD /ok/@ HTTP/1.1\r\nHost: h\r\n\r\n",
    "POST /ok/@ HTTP/1.1\r\nHost: h\r\nContent-Length: 200000\r\n\r\n",
    "POST /ok/@ HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
};

static const char *const connection_responses[] = {
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell@",
    "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nX: @\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab@\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\n\r\nuntil close @",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 5\r\n\r\n1234@",
    "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nab@",
    "HTTP/1.1 200 OK\nContent-Length: 2\n\no@",
    "220 smtp @\r\n",
    "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhell@",
    "HTTP/1.1 204 No Content\r\nX: @\r\n\r\n",
    "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1\r\nContent-Length: 5\r\n\r\nhell@",
    "HTTP/1.1 200 OK\r\nCont",
    "ent-Length: 3\r\n\r\nab@",
    "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: NTLM\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
    "HTTP/1.1 103 Early Hints\r\nX: @\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n@",
    "stray @",
    "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n@",
    "HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 1\r\n\r\n@",
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
