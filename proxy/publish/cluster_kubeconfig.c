/* A kubeconfig file (kubernetes.io/docs/reference/config-api/kubeconfig.v1). */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/addr.h"
#include "lib/arena.h"
#include "lib/text.h"
#include "proxy/config/yaml.h"
#include "proxy/publish/cluster.h"
#include "proxy/publish/cluster_data.h"

struct cluster_reading {
	const char *path;
	struct text *error;
	struct cluster *cluster;
};

__attribute__((format(printf, 2, 3))) static int cluster_kubeconfig_fail(struct cluster_reading *reading, const char *format, ...)
{
	va_list arguments;
	char sentence[512];

	va_start(arguments, format);
	vsnprintf(sentence, sizeof sentence, format, arguments);
	va_end(arguments);
	text_printf(reading->error, "%s: %s", reading->path, sentence);
	return -EINVAL;
}

/* NULL when it is absent, empty or no text. */
static const char *cluster_kubeconfig_text(const struct yaml_node *mapping, const char *key)
{
	const struct yaml_node *node = mapping != NULL ? yaml_field(mapping, key) : NULL;

	return node != NULL && node->type == YAML_SCALAR && node->length > 0 && !yaml_is_null(node) ? node->text : NULL;
}

/* The inner mapping of the entry with that name in clusters, users or contexts. */
static const struct yaml_node *cluster_kubeconfig_named(const struct yaml_node *document, const char *list, const char *name, const char *inner)
{
	const struct yaml_node *entries = yaml_field(document, list);

	if (entries == NULL || entries->type != YAML_SEQUENCE)
		return NULL;
	for (const struct yaml_node *entry = entries->children; entry != NULL; entry = entry->next) {
		const char *text = cluster_kubeconfig_text(entry, "name");
		if (text != NULL && strcmp(text, name) == 0)
			return yaml_field(entry, inner);
	}
	return NULL;
}

/* RFC 4648 section 4; line ends are passed over. NULL when it is something else. */
static char *cluster_kubeconfig_decode(const char *text)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char *out = malloc(strlen(text) * 3 / 4 + 4);
	size_t length = 0, count = 0;
	uint32_t bits = 0;

	for (; out != NULL && *text != '\0' && *text != '='; text++) {
		const char *digit = strchr(digits, *text);

		if (*text == '\n' || *text == '\r' || *text == ' ')
			continue;
		if (digit == NULL)
			break;
		bits = bits << 6 | (uint32_t)(digit - digits);
		if (++count % 4 != 1)
			out[length++] = (char)(bits >> (6 - 2 * ((count - 1) % 4)));
	}
	if (out == NULL || text[strspn(text, "=\n\r ")] != '\0' || count % 4 == 1 || memchr(out, '\0', length) != NULL) {
		free(out);
		return NULL;
	}
	out[length] = '\0';
	return out;
}

/* NAME-data, which wins, or NAME as a file beside the kubeconfig. */
static int cluster_kubeconfig_pem(struct cluster_reading *reading, const struct yaml_node *mapping, const char *name, struct cluster_text *out)
{
	char key[64];
	const char *slash = strrchr(reading->path, '/'), *data, *file = cluster_kubeconfig_text(mapping, name);

	snprintf(key, sizeof key, "%s-data", name);
	data = cluster_kubeconfig_text(mapping, key);
	if (data != NULL) {
		out->text = cluster_kubeconfig_decode(data);
		return out->text != NULL ? 0 : cluster_kubeconfig_fail(reading, "%s is no base64 of a text", key);
	}
	if (file == NULL)
		return 0;
	int directory = *file == '/' || slash == NULL ? 0 : (int)(slash + 1 - reading->path);
	if (asprintf(&out->path, "%.*s%s", directory, reading->path, file) < 0) {
		out->path = NULL;
		return -ENOMEM;
	}
	return cluster_first_reading(out, false, name, reading->error);
}

static bool cluster_kubeconfig_is_local(const char *host)
{
	struct addr addr;

	return strcmp(host, "localhost") == 0 || (addr_parse_host(host, &addr) == 0 && addr_is_loopback(&addr));
}

/* https://HOST[:PORT][/PREFIX]; http to this host alone. */
static int cluster_kubeconfig_server(struct cluster_reading *reading, const char *url)
{
	struct cluster *cluster = reading->cluster;
	const char *at = strstr(url, "://"), *end, *port = NULL;

	cluster->tls = strncmp(url, "https://", 8) == 0;
	if (!cluster->tls && strncmp(url, "http://", 7) != 0)
		return cluster_kubeconfig_fail(reading, "server: %.200s is no https://HOST[:PORT]", url);
	at += 3;
	if (strpbrk(at, "@?# ") != NULL)
		return cluster_kubeconfig_fail(reading, "server: %.200s holds more than https://HOST[:PORT][/PREFIX]", url);
	const char *close = *at == '[' ? strchr(at, ']') : NULL;
	if (*at == '[' && close == NULL)
		return cluster_kubeconfig_fail(reading, "server: %.200s: the ] is missing", url);
	end = close != NULL ? close : at + strcspn(at, ":/");
	const char *host = close != NULL ? at + 1 : at, *rest = close != NULL ? close + 1 : end;
	cluster->host = strndup(host, (size_t)(end - host));
	if (*rest == ':')
		port = rest + 1;
	const char *slash = rest + strcspn(rest, "/");
	char digits[8];
	snprintf(digits, sizeof digits, "%.*s", port != NULL && slash - port < 7 ? (int)(slash - port) : 0, port != NULL ? port : "");
	cluster->port = cluster->tls ? 443 : 80;
	if (end == host || (*rest != ':' && rest != slash) || (port != NULL && cluster_read_port(digits, &cluster->port) != 0))
		return cluster_kubeconfig_fail(reading, "server: %.200s is no https://HOST[:PORT]", url);
	size_t prefix = strlen(slash);
	while (prefix > 0 && slash[prefix - 1] == '/')
		prefix--;
	cluster->prefix = strndup(slash, prefix);
	if (cluster->host == NULL || cluster->prefix == NULL)
		return -ENOMEM;
	if (!cluster->tls && !cluster_kubeconfig_is_local(cluster->host))
		return cluster_kubeconfig_fail(reading, "server: %.200s is not encrypted; http is accepted to this host alone (kubectl proxy)", url);
	return 0;
}

static int cluster_kubeconfig_cluster(struct cluster_reading *reading, const struct yaml_node *mapping)
{
	struct cluster *cluster = reading->cluster;
	const char *server = cluster_kubeconfig_text(mapping, "server"), *name = cluster_kubeconfig_text(mapping, "tls-server-name");
	const char *insecure = cluster_kubeconfig_text(mapping, "insecure-skip-tls-verify");

	if (server == NULL)
		return cluster_kubeconfig_fail(reading, "the cluster has no server");
	if (cluster_kubeconfig_text(mapping, "proxy-url") != NULL)
		return cluster_kubeconfig_fail(reading, "proxy-url is not supported; reach the API server directly, or run kubectl proxy and name it as server");
	int result = cluster_kubeconfig_server(reading, server);
	if (result != 0)
		return result;
	cluster->tls_name = strdup(name != NULL ? name : cluster->host);
	cluster->verifies = insecure == NULL || strcmp(insecure, "true") != 0;
	if (!cluster->verifies && asprintf(&cluster->warning, "%s: insecure-skip-tls-verify: whoever answers at %s is taken for the API server",
	                                   reading->path, cluster->host) < 0)
		return -ENOMEM;
	return cluster->tls_name != NULL ? cluster_kubeconfig_pem(reading, mapping, "certificate-authority", &cluster->ca) : -ENOMEM;
}

static int cluster_kubeconfig_refuse(struct cluster_reading *reading, const struct yaml_node *mapping)
{
	static const struct {
		const char *key, *remedy;
	} rows[] = {
	    {"exec", "programs that fetch credentials are not run; give a token: kubectl create token NAME > FILE, and tokenFile: FILE"},
	    {"auth-provider", "it is not supported; give a token: kubectl create token NAME > FILE, and tokenFile: FILE"},
	    {"username", "passwords are not supported; give a token or a client certificate"},
	    {"as", "acting as another user is not supported; give credentials of that user"},
	    {"as-groups", "acting as another user is not supported; give credentials of that user"},
	    {"as-uid", "acting as another user is not supported; give credentials of that user"},
	    {"as-user-extra", "acting as another user is not supported; give credentials of that user"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const struct yaml_node *node = yaml_field(mapping, rows[i].key);
		if (node != NULL && !yaml_is_null(node))
			return cluster_kubeconfig_fail(reading, "users: %s: %s", rows[i].key, rows[i].remedy);
	}
	return 0;
}

static int cluster_kubeconfig_user(struct cluster_reading *reading, const struct yaml_node *mapping)
{
	struct cluster *cluster = reading->cluster;
	const char *token = cluster_kubeconfig_text(mapping, "token"), *file = cluster_kubeconfig_text(mapping, "tokenFile");
	int result = cluster_kubeconfig_refuse(reading, mapping);

	if (result == 0)
		result = cluster_kubeconfig_pem(reading, mapping, "client-certificate", &cluster->certificate);
	if (result == 0)
		result = cluster_kubeconfig_pem(reading, mapping, "client-key", &cluster->key);
	if (result != 0)
		return result;
	if ((cluster->certificate.text == NULL) != (cluster->key.text == NULL))
		return cluster_kubeconfig_fail(reading, "client-certificate and client-key go together; one is missing");
	if (file != NULL && (cluster->token.path = strdup(file)) == NULL)
		return -ENOMEM;
	if (file == NULL && token != NULL && (cluster->token.text = strdup(token)) == NULL)
		return -ENOMEM;
	return cluster_first_reading(&cluster->token, true, "token", reading->error);
}

static int cluster_kubeconfig_fill(struct cluster_reading *reading, const struct yaml_node *document, const char *context)
{
	const char *name = context != NULL ? context : cluster_kubeconfig_text(document, "current-context");

	if (name == NULL)
		return cluster_kubeconfig_fail(reading, "there is no current-context; kubectl config use-context NAME sets one");
	const struct yaml_node *chosen = cluster_kubeconfig_named(document, "contexts", name, "context");
	if (chosen == NULL)
		return cluster_kubeconfig_fail(reading, "there is no context %.100s", name);
	const char *cluster = cluster_kubeconfig_text(chosen, "cluster"), *user = cluster_kubeconfig_text(chosen, "user");
	const char *namespace = cluster_kubeconfig_text(chosen, "namespace");
	const struct yaml_node *place = cluster != NULL ? cluster_kubeconfig_named(document, "clusters", cluster, "cluster") : NULL;
	if (place == NULL)
		return cluster_kubeconfig_fail(reading, "context %.100s: there is no cluster %.100s", name, cluster != NULL ? cluster : "named");
	const struct yaml_node *who = user != NULL ? cluster_kubeconfig_named(document, "users", user, "user") : NULL;
	if (user != NULL && who == NULL)
		return cluster_kubeconfig_fail(reading, "context %.100s: there is no user %.100s", name, user);
	if (namespace != NULL && (reading->cluster->namespace = strdup(namespace)) == NULL)
		return -ENOMEM;
	int result = cluster_kubeconfig_cluster(reading, place);
	return result == 0 && who != NULL ? cluster_kubeconfig_user(reading, who) : result;
}

int cluster_kubeconfig(struct cluster **out, const char *path, const char *context, struct text *error)
{
	struct cluster_reading reading = {.path = path, .error = error, .cluster = calloc(1, sizeof(struct cluster))};
	struct arena arena = {0};
	struct yaml_node *document = NULL;
	struct yaml_error found;
	char *bytes = NULL;

	if (reading.cluster == NULL)
		return -ENOMEM;
	int result = cluster_read_file(path, &bytes);
	if (result != 0 && result != -ENOMEM)
		result = cluster_kubeconfig_fail(&reading, "%s", strerror(-result));
	if (result == 0)
		result = yaml_parse(&arena, bytes, strlen(bytes), &document, &found);
	if (result == -EBADMSG)
		result = cluster_kubeconfig_fail(&reading, "line %u: %s", found.line, found.text);
	if (result == 0 && document == NULL)
		result = cluster_kubeconfig_fail(&reading, "it is empty");
	if (result == 0)
		result = cluster_kubeconfig_fill(&reading, document, context);
	if (bytes != NULL)
		explicit_bzero(bytes, strlen(bytes));
	free(bytes);
	arena_free(&arena);
	if (result != 0)
		cluster_free(reading.cluster);
	else
		*out = reading.cluster;
	return result;
}
