#ifndef LAPSE_INIT_IMAGE_H
#define LAPSE_INIT_IMAGE_H

#include <stddef.h>
#include <stdint.h>

struct batch;
struct netlink;

/* What a table holds, as plain values in which equal things are equal strings. The door to libnftnl on the way out. */
enum image_kind { IMAGE_SET, IMAGE_CHAIN, IMAGE_RULE };

struct image_item {
	enum image_kind kind;
	char *name;    /* owned; of the set or chain, for a rule of its chain */
	char *content; /* owned; set and chain: what nft has in the braces, rule: its expressions as libnftnl prints them, uncounted */
	char *comment; /* owned; of a rule, else "" */
	char *text;    /* owned; a rule in nft's words, without its comment; NULL for others */
	uint64_t packets, bytes; /* a rule's counter */
};

/* Sets, then chains, then rules, each kind in the order they were made; rules chain by chain. */
struct image {
	struct image_item *items; /* owned */
	size_t count;
};

/* What the table holds once the batch has taken effect. 0 or -ENOMEM. */
int image_expect(const struct batch *batch, struct image *out);

/* What the kernel has in the table. 0 or -errno: -ENOENT there is no such table, -EPERM no CAP_NET_ADMIN. */
int image_read(struct netlink *netlink, struct image *out);

void image_free(struct image *image);

#endif
