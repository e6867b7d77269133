#ifndef LAPSE_PROXY_PUBLISH_DIALER_H
#define LAPSE_PROXY_PUBLISH_DIALER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct addr;
struct cluster;
struct dialer;
struct log;
struct loop;
struct text;
struct tls_context;

/* What all connections to one API server share: its addresses, and TLS with the CA bundle and certificate of now. */

/* All borrowed. 0 or -errno. */
int dialer_new(struct dialer **out, struct loop *loop, struct log *log, struct cluster *cluster);
void dialer_free(struct dialer *dialer); /* NULL is fine */

struct loop *dialer_loop(const struct dialer *dialer);
struct cluster *dialer_cluster(const struct dialer *dialer);

/* The addresses (borrowed until the next turn of the loop; the port is the cluster's). 0; -EAGAIN: DNS has not answered yet;
 * -ENOENT with a sentence. */
int dialer_addresses(struct dialer *dialer, const struct addr **addresses, size_t *count, struct text *error);

/* Borrowed until the next turn. NULL with a sentence when CA bundle or certificate cannot be used. */
const struct tls_context *dialer_tls(struct dialer *dialer, struct text *error);

/* A number from 0 to below `range`, for jitter. */
int64_t dialer_jitter(struct dialer *dialer, int64_t range);

#endif
