#include "proxy/publish/dialer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "lib/addr.h"
#include "lib/text.h"
#include "proxy/dns/resolve.h"
#include "proxy/publish/cluster.h"
#include "proxy/publish/tls.h"

struct dialer {
	struct loop *loop;
	struct cluster *cluster;
	struct resolver *resolver; /* NULL: the host is an address */
	struct addr fixed[2];      /* it, or those of localhost */
	size_t fixed_count;
	struct tls_context *tls;
	uint32_t tls_generation;
	uint64_t random;
};

static void dialer_resolved(void *owner)
{
	(void)owner; /* who dials asks again */
}

static int dialer_find_host(struct dialer *dialer, struct log *log)
{
	const char *host = cluster_host(dialer->cluster);

	if (addr_parse_host(host, &dialer->fixed[0]) == 0) {
		dialer->fixed_count = 1;
	} else if (strcmp(host, "localhost") == 0) { /* RFC 6761 section 6.3 */
		addr_parse_host("127.0.0.1", &dialer->fixed[0]);
		addr_parse_host("::1", &dialer->fixed[1]);
		dialer->fixed_count = 2;
	} else {
		int result = resolve_new(&dialer->resolver, dialer->loop, log, dialer_resolved, dialer);
		return result != 0 ? result : resolve_want(dialer->resolver, &host, 1);
	}
	return 0;
}

int dialer_new(struct dialer **out, struct loop *loop, struct log *log, struct cluster *cluster)
{
	struct dialer *dialer = calloc(1, sizeof *dialer);

	if (dialer == NULL)
		return -ENOMEM;
	dialer->loop = loop;
	dialer->cluster = cluster;
	if (getrandom(&dialer->random, sizeof dialer->random, GRND_NONBLOCK) != sizeof dialer->random || dialer->random == 0)
		dialer->random = 0x9e3779b97f4a7c15;
	int result = dialer_find_host(dialer, log);
	if (result != 0)
		dialer_free(dialer);
	else
		*out = dialer;
	return result;
}

void dialer_free(struct dialer *dialer)
{
	if (dialer == NULL)
		return;
	resolve_free(dialer->resolver);
	tls_context_free(dialer->tls);
	free(dialer);
}

struct loop *dialer_loop(const struct dialer *dialer)
{
	return dialer->loop;
}

struct cluster *dialer_cluster(const struct dialer *dialer)
{
	return dialer->cluster;
}

int dialer_addresses(struct dialer *dialer, const struct addr **addresses, size_t *count, struct text *error)
{
	const char *host = cluster_host(dialer->cluster);

	*addresses = dialer->fixed;
	*count = dialer->fixed_count;
	if (dialer->resolver == NULL)
		return 0;
	switch (resolve_get(dialer->resolver, host, addresses, count)) {
	case RESOLVE_FOUND:
		return 0;
	case RESOLVE_PENDING:
		return -EAGAIN;
	case RESOLVE_ABSENT:
		text_printf(error, "DNS knows no address of %s", host);
		return -ENOENT;
	default:
		text_printf(error, "DNS fails for %s", host);
		return -ENOENT;
	}
}

const struct tls_context *dialer_tls(struct dialer *dialer, struct text *error)
{
	const struct cluster *cluster = dialer->cluster;
	struct tls_context *fresh = NULL;

	if (dialer->tls != NULL && dialer->tls_generation == cluster_generation(cluster))
		return dialer->tls;
	if (tls_context_new(&fresh, cluster_ca(cluster), cluster_certificate(cluster), cluster_key(cluster), cluster_verifies(cluster), error) != 0)
		return NULL;
	tls_context_free(dialer->tls);
	dialer->tls = fresh;
	dialer->tls_generation = cluster_generation(cluster);
	return fresh;
}

/* xorshift64 (Marsaglia 2003). */
int64_t dialer_jitter(struct dialer *dialer, int64_t range)
{
	dialer->random ^= dialer->random << 13;
	dialer->random ^= dialer->random >> 7;
	dialer->random ^= dialer->random << 17;
	return (int64_t)(dialer->random % (uint64_t)range);
}
