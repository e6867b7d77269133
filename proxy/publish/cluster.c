#include "proxy/publish/cluster.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/addr.h"
#include "lib/text.h"
#include "proxy/publish/cluster_data.h"

enum { FILE_MOST = 1 << 20, TOKEN_MOST = 64 << 10, REFRESH_MS = 30000 };

#define CLUSTER_DIRECTORY "/var/run/secrets/kubernetes.io/serviceaccount"

int cluster_read_file(const char *path, char **out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), result = 0;
	size_t length = 0;
	struct stat stat;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &stat) != 0)
		result = -errno;
	else if (!S_ISREG(stat.st_mode))
		result = S_ISDIR(stat.st_mode) ? -EISDIR : -EINVAL;
	char *bytes = result == 0 ? malloc(FILE_MOST + 1) : NULL;
	if (bytes == NULL) {
		close(fd);
		return result != 0 ? result : -ENOMEM;
	}
	while (result == 0 && length <= FILE_MOST) {
		ssize_t count = read(fd, bytes + length, FILE_MOST + 1 - length);

		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0)
			result = -errno;
		if (count <= 0)
			break;
		length += (size_t)count;
	}
	close(fd);
	if (result == 0 && length > FILE_MOST)
		result = -EFBIG;
	if (result != 0) {
		free(bytes);
		return result;
	}
	bytes[length] = '\0';
	char *fitting = realloc(bytes, length + 1);
	*out = fitting != NULL ? fitting : bytes;
	return 0;
}

/* Blanks around it are nobody's; anything else that cannot stand in a header field makes it no token. */
int cluster_trim_token(char *token)
{
	size_t length = strlen(token), start = 0;

	while (length > 0 && isspace((unsigned char)token[length - 1]))
		length--;
	while (start < length && isspace((unsigned char)token[start]))
		start++;
	memmove(token, token + start, length - start);
	token[length - start] = '\0';
	if (length == start || length - start > TOKEN_MOST)
		return -EINVAL;
	for (const char *at = token; *at != '\0'; at++)
		if (*at <= ' ' || *at > '~')
			return -EINVAL;
	return 0;
}

/* True: it is another than before. What cannot be read stays. */
static bool cluster_refresh_text(struct cluster_text *text, bool token)
{
	char *fresh = NULL;

	if (text->path == NULL || cluster_read_file(text->path, &fresh) != 0 || fresh == NULL)
		return false;
	if ((token && cluster_trim_token(fresh) != 0) || (text->text != NULL && strcmp(text->text, fresh) == 0)) {
		free(fresh);
		return false;
	}
	free(text->text);
	text->text = fresh;
	return true;
}

bool cluster_refresh(struct cluster *cluster, int64_t now_ms, bool urgent)
{
	if (!urgent && cluster->refreshed_ms != 0 && now_ms - cluster->refreshed_ms < REFRESH_MS)
		return false;
	cluster->refreshed_ms = now_ms;
	bool changed = cluster_refresh_text(&cluster->ca, false);
	changed |= cluster_refresh_text(&cluster->certificate, false);
	changed |= cluster_refresh_text(&cluster->key, false);
	cluster->generation += changed;
	return cluster_refresh_text(&cluster->token, true) || changed;
}

int cluster_first_reading(struct cluster_text *text, bool token, const char *what, struct text *error)
{
	int result = text->path != NULL ? cluster_read_file(text->path, &text->text) : 0;

	if (result != 0) {
		text_printf(error, "%s: %s: %s", what, text->path, strerror(-result));
	} else if (token && text->text != NULL && cluster_trim_token(text->text) != 0) {
		text_printf(error, "%s: %s holds no token: printable ASCII without blanks, at most %d KiB", what,
		            text->path != NULL ? text->path : "the text", TOKEN_MOST >> 10);
		result = -EINVAL;
	}
	return result == 0 || result == -ENOMEM ? result : -EINVAL;
}

int cluster_read_port(const char *text, uint16_t *port)
{
	char *end;
	unsigned long value = isdigit((unsigned char)*text) ? strtoul(text, &end, 10) : 0;

	if (value == 0 || value > UINT16_MAX || *end != '\0')
		return -EINVAL;
	*port = (uint16_t)value;
	return 0;
}

static int cluster_fill_pod(struct cluster *cluster, const char *directory, const char *host, const char *port, struct text *error)
{
	char *namespace = NULL, path[4096];

	if (host == NULL || *host == '\0' || port == NULL) {
		text_string(error, "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set: this is no pod; give --kubeconfig");
		return -EINVAL;
	}
	if (cluster_read_port(port, &cluster->port) != 0) {
		text_printf(error, "KUBERNETES_SERVICE_PORT: %.40s is no port (1 to 65535)", port);
		return -EINVAL;
	}
	cluster->host = strdup(host);
	cluster->tls_name = strdup(host);
	cluster->prefix = strdup("");
	cluster->tls = cluster->verifies = true;
	if (asprintf(&cluster->token.path, "%s/token", directory) < 0 || asprintf(&cluster->ca.path, "%s/ca.crt", directory) < 0)
		return -ENOMEM;
	int result = cluster_first_reading(&cluster->token, true, "the service account's token", error);
	if (result == 0)
		result = cluster_first_reading(&cluster->ca, false, "the cluster's CA bundle", error);
	if (result != 0)
		return result;
	snprintf(path, sizeof path, "%s/namespace", directory);
	if (cluster_read_file(path, &namespace) == 0 && namespace != NULL && cluster_trim_token(namespace) == 0)
		cluster->namespace = namespace;
	else
		free(namespace);
	return cluster->host != NULL && cluster->tls_name != NULL && cluster->prefix != NULL ? 0 : -ENOMEM;
}

int cluster_in_pod(struct cluster **out, const char *directory, struct text *error)
{
	struct cluster *cluster = calloc(1, sizeof *cluster);

	if (cluster == NULL)
		return -ENOMEM;
	int result = cluster_fill_pod(cluster, directory != NULL ? directory : CLUSTER_DIRECTORY, getenv("KUBERNETES_SERVICE_HOST"),
	                              getenv("KUBERNETES_SERVICE_PORT"), error);
	if (result != 0)
		cluster_free(cluster);
	else
		*out = cluster;
	return result;
}

static void cluster_free_text(struct cluster_text *text)
{
	free(text->path);
	if (text->text != NULL)
		explicit_bzero(text->text, strlen(text->text));
	free(text->text);
}

void cluster_free(struct cluster *cluster)
{
	if (cluster == NULL)
		return;
	cluster_free_text(&cluster->token);
	cluster_free_text(&cluster->ca);
	cluster_free_text(&cluster->certificate);
	cluster_free_text(&cluster->key);
	free(cluster->host);
	free(cluster->prefix);
	free(cluster->tls_name);
	free(cluster->namespace);
	free(cluster->warning);
	free(cluster);
}

const char *cluster_host(const struct cluster *cluster)
{
	return cluster->host;
}

uint16_t cluster_port(const struct cluster *cluster)
{
	return cluster->port;
}

const char *cluster_prefix(const struct cluster *cluster)
{
	return cluster->prefix;
}

const char *cluster_tls_name(const struct cluster *cluster)
{
	return cluster->tls_name;
}

bool cluster_tls(const struct cluster *cluster)
{
	return cluster->tls;
}

bool cluster_verifies(const struct cluster *cluster)
{
	return cluster->verifies;
}

const char *cluster_namespace(const struct cluster *cluster)
{
	return cluster->namespace != NULL ? cluster->namespace : "default";
}

const char *cluster_warning(const struct cluster *cluster)
{
	return cluster->warning;
}

const char *cluster_token(const struct cluster *cluster)
{
	return cluster->token.text;
}

const char *cluster_ca(const struct cluster *cluster)
{
	return cluster->ca.text;
}

const char *cluster_certificate(const struct cluster *cluster)
{
	return cluster->certificate.text;
}

const char *cluster_key(const struct cluster *cluster)
{
	return cluster->key.text;
}

uint32_t cluster_generation(const struct cluster *cluster)
{
	return cluster->generation;
}
