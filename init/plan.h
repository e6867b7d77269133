#ifndef LAPSE_INIT_PLAN_H
#define LAPSE_INIT_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct init_options;
struct text;

#define PLAN_TABLE "lapse" /* family inet */
#define PLAN_TABLE_COMMENT "made by lapse-init; lapse-init remove takes it away"

/* What the plan must know of the network namespace. */
struct plan_facts {
	bool ipv6;           /* IPv6 is compiled in and not disabled here */
	bool tcp_be_liberal; /* nf_conntrack_tcp_be_liberal: conntrack calls nothing invalid */
	bool tcp_strict;     /* nf_conntrack_tcp_loose is 0: conntrack never takes up a connection older than itself */
	bool socket_match;   /* nf_tables can look up the socket of a packet (CONFIG_NFT_SOCKET, Linux 5.11) */
};

/* In an order in which each is known before a rule jumps to it. */
enum plan_chain_id { PLAN_INVALID, PLAN_GUARD, PLAN_PREROUTING, PLAN_OUTPUT, PLAN_CHAIN_COUNT };

enum plan_hook { PLAN_HOOK_NONE, PLAN_HOOK_PREROUTING, PLAN_HOOK_OUTPUT };

struct plan_chain {
	const char *name;
	const char *type;        /* "nat", "filter"; NULL: no base chain, only jumped to */
	enum plan_hook hook;
	int priority;
	const char *priority_name; /* as nft calls it */
};

enum plan_set_id {
	PLAN_SKIP_INTERFACES,
	PLAN_SKIP_SUBNETS4,
	PLAN_SKIP_SUBNETS6,
	PLAN_LINK_LOCAL6,
	PLAN_SKIP_INBOUND,
	PLAN_SKIP_OUTBOUND,
	PLAN_INBOUND,
	PLAN_SET_COUNT,
};

enum plan_type { PLAN_TYPE_INTERFACE, PLAN_TYPE_IPV4, PLAN_TYPE_IPV6, PLAN_TYPE_PORT };

/* An inclusive range of keys in network order, as long as the set's type; the rest is 0. Interfaces: first == last, a name. */
struct plan_range {
	uint8_t first[16], last[16];
};

/* Sorted; ranges never overlap or touch. */
struct plan_set {
	struct plan_range *ranges; /* owned */
	size_t count;
};

/* What is fixed about each set. */
struct plan_set_row {
	const char *name, *comment;
	enum plan_type type;
};

/* One condition of a rule. `negated` turns it round. */
enum plan_match_kind {
	PLAN_MATCH_TCP,          /* layer 4 is TCP */
	PLAN_MATCH_SYN,          /* of FIN, SYN, RST, ACK only SYN is set; implies TCP */
	PLAN_MATCH_IPV4,
	PLAN_MATCH_IPV6,
	PLAN_MATCH_ENDING,       /* FIN or RST is set; implies TCP */
	PLAN_MATCH_OWN_SOCKET,   /* a socket bound to the packet's own destination address has it, so not one that was redirected; a
	                          * listener bound to that address rather than to all of them looks the same */
	PLAN_MATCH_SOCKET,       /* some socket has it or listens for it, on its own destination address or on all; never negated */
	PLAN_MATCH_INVALID,      /* conntrack state */
	PLAN_MATCH_IN_LO,
	PLAN_MATCH_OUT_LO,
	PLAN_MATCH_LOCAL,        /* the destination is an address of this namespace */
	PLAN_MATCH_UID,          /* value: owner of the sending socket */
	PLAN_MATCH_GID,
	PLAN_MATCH_IN_INTERFACE, /* the following look up `set` */
	PLAN_MATCH_OUT_INTERFACE,
	PLAN_MATCH_SOURCE,
	PLAN_MATCH_DESTINATION,
	PLAN_MATCH_SOURCE_PORT,
	PLAN_MATCH_DESTINATION_PORT,
};

struct plan_match {
	enum plan_match_kind kind;
	bool negated;
	uint32_t value;
	enum plan_set_id set;
};

enum plan_verdict { PLAN_ACCEPT, PLAN_DROP, PLAN_JUMP, PLAN_REDIRECT };

#define PLAN_RULE_MATCHES 4

struct plan_rule {
	enum plan_chain_id chain;
	struct plan_match matches[PLAN_RULE_MATCHES];
	size_t match_count;
	enum plan_verdict verdict;
	enum plan_chain_id target; /* of PLAN_JUMP */
	uint16_t port;             /* of PLAN_REDIRECT */
	const char *comment;
};

#define PLAN_RULES 32

/* The table to install, as values. Sets without ranges and chains that `chains` leaves out do not exist. */
struct plan {
	struct plan_set sets[PLAN_SET_COUNT];
	bool chains[PLAN_CHAIN_COUNT];
	struct plan_rule rules[PLAN_RULES]; /* chain by chain, in order */
	size_t rule_count;
	bool ipv4, ipv6; /* families that are redirected */
};

extern const struct plan_set_row plan_set_rows[PLAN_SET_COUNT];
extern const struct plan_chain plan_chain_rows[PLAN_CHAIN_COUNT];

/* Bytes of a key: 16, 4, 16, 2. */
size_t plan_key_length(enum plan_type type);

/* 0, -ENOMEM, or -EINVAL with one sentence in `error` when the options contradict each other. *out is untouched on failure. */
int plan_make(const struct init_options *options, const struct plan_facts *facts, struct plan *out, struct text *error);
void plan_free(struct plan *plan);

#endif
