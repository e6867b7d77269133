#ifndef LAPSE_INIT_BATCH_H
#define LAPSE_INIT_BATCH_H

#include <stddef.h>
#include <stdint.h>

struct netlink;
struct nlmsghdr;
struct text;

/* One nf_tables transaction: all its messages take effect at once, or none. */
struct batch;

/* 0 or -ENOMEM. */
int batch_new(struct batch **out);
void batch_free(struct batch *batch);

/* Room for one message of at most BATCH_MESSAGE_MAX bytes, its headers filled in; valid until the next batch_ call.
 * `label` says in an error what was asked: "add the table inet lapse". NULL when there is no memory. */
#define BATCH_MESSAGE_MAX ((size_t)128 * 1024)
struct nlmsghdr *batch_begin(struct batch *batch, uint16_t type, uint16_t flags, const char *label, ...)
	__attribute__((format(printf, 4, 5)));
/* The message begun last is complete. */
void batch_end(struct batch *batch);

/* Calls `each` for every message between the batch's begin and end, until it returns non-zero; returns that. */
int batch_each(const struct batch *batch, int (*each)(const struct nlmsghdr *message, void *context), void *context);

/* Sends it. 0, or -errno with one sentence in `error`: what was asked, what the kernel said, what to do. batch_try() asks the
 * kernel the same but changes nothing. */
int batch_commit(struct batch *batch, struct netlink *netlink, struct text *error);
int batch_try(struct batch *batch, struct netlink *netlink, struct text *error);

/* The nf_tables expression that the kernel refused for lack of it, "" when that was not the error. */
const char *batch_lacks(const struct batch *batch);

/* That sentence. `expression` is the nf_tables expression at fault, "" when unknown; `words` are the kernel's own, "" = none. */
void batch_explain(int code, const char *label, const char *expression, const char *words, struct text *out);

#endif
