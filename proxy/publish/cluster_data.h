#ifndef LAPSE_PROXY_PUBLISH_CLUSTER_DATA_H
#define LAPSE_PROXY_PUBLISH_CLUSTER_DATA_H

#include <stdbool.h>
#include <stdint.h>

struct text;

/* What a cluster is made of: for cluster.c, and for cluster_kubeconfig.c, which fills it another way. */
struct cluster_text {
	char *path; /* owned; NULL: it does not come from a file */
	char *text; /* owned; NULL = none */
};

struct cluster {
	char *host, *prefix, *tls_name, *namespace, *warning; /* owned */
	uint16_t port;
	bool tls, verifies;
	struct cluster_text token, ca, certificate, key;
	uint32_t generation;
	int64_t refreshed_ms; /* 0 = never */
};

/* A regular file of at most 1 MiB, with a NUL behind it. 0 or -errno. */
int cluster_read_file(const char *path, char **out);
int cluster_trim_token(char *token);                         /* in place; 0 or -EINVAL */
int cluster_read_port(const char *text, uint16_t *port);     /* 0 or -EINVAL */
/* Reads the file, if it is one, and looks at a token. 0; -ENOMEM, or -EINVAL with a sentence. */
int cluster_first_reading(struct cluster_text *text, bool token, const char *what, struct text *error);

#endif
