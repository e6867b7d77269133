#ifndef LAPSE_INIT_RULE_TEXT_H
#define LAPSE_INIT_RULE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/text.h"

/* A rule in nft's words, from the expressions that the kernel has of it, one call for each in their order. What a rule of ours can
 * hold is known, and what people commonly write. A function that does not know its expression returns false and has no effect:
 * the caller then hands over some other text for it. Keys, operators and bases are those of linux/netfilter/nf_tables.h. */

enum { RULE_TEXT_DATA = 16 }; /* bytes of a register, of data */

/* How the bytes on the left of a comparison read. */
enum rule_text_kind {
	RULE_TEXT_UNKNOWN,
	RULE_TEXT_PROTOCOL, /* one byte */
	RULE_TEXT_FAMILY,   /* one byte */
	RULE_TEXT_NAME,     /* of an interface; shorter than 16 bytes: its beginning */
	RULE_TEXT_NUMBER,   /* the machine's order */
	RULE_TEXT_MARK,     /* the same, shown in hexadecimal */
	RULE_TEXT_PORT,     /* network order */
	RULE_TEXT_TCP_FLAGS,
	RULE_TEXT_CT_STATE,
	RULE_TEXT_ADDRESS_TYPE,
	RULE_TEXT_IPV4, /* or its first bytes */
	RULE_TEXT_IPV6,
};

struct rule_text {
	struct text *to; /* borrowed */
	enum rule_text_kind kind;
	char left[64];                /* what has been loaded; "" = nothing that is known */
	uint8_t mask[RULE_TEXT_DATA]; /* applied to it */
	size_t mask_length;           /* 0 = none */
	int family, protocol;         /* compared for, and not said yet: what follows may imply it; -1 = none */
	int of_family, of_protocol;   /* of the packet from there on */
	uint8_t data[RULE_TEXT_DATA]; /* loaded by an immediate, for a verdict that takes it */
	size_t data_length;
	struct text held; /* how the caller would show the immediates */
	char held_bytes[256];
};

void rule_text_begin(struct rule_text *rule, struct text *to);

/* Loads into register `to_register`; a further register continues a concatenation. */
bool rule_text_meta(struct rule_text *rule, uint32_t key, uint32_t to_register);
bool rule_text_ct(struct rule_text *rule, uint32_t key, uint32_t to_register);
bool rule_text_payload(struct rule_text *rule, uint32_t base, uint32_t offset, uint32_t length, uint32_t to_register);
bool rule_text_fib(struct rule_text *rule, uint32_t result, uint32_t flags);
bool rule_text_socket(struct rule_text *rule, uint32_t key);

/* What is done with what was loaded. `length` is at most RULE_TEXT_DATA. */
bool rule_text_mask(struct rule_text *rule, const void *mask, const void *xor, size_t length);
bool rule_text_compare(struct rule_text *rule, uint32_t how, const void *value, size_t length);
bool rule_text_range(struct rule_text *rule, uint32_t how, const void *from, const void *to, size_t length);
bool rule_text_lookup(struct rule_text *rule, const char *set, bool inverted);

/* Statements. `raw` is how the caller shows an immediate should nothing take it. */
void rule_text_counter(struct rule_text *rule);
bool rule_text_immediate(struct rule_text *rule, const void *data, size_t length, const char *raw);
bool rule_text_verdict(struct rule_text *rule, int32_t verdict, const char *chain);
bool rule_text_redirect(struct rule_text *rule, uint32_t flags);
void rule_text_other(struct rule_text *rule, const char *raw);

/* After the last one. */
void rule_text_end(struct rule_text *rule);

#endif
