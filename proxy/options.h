#ifndef LAPSE_PROXY_OPTIONS_H
#define LAPSE_PROXY_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "lib/addr.h"
#include "lib/log.h"
#include "lib/options.h"
#include "lib/ports.h"
#include "lib/timeouts.h"
#include "proxy/connection/origin.h"

struct text;

/* What --print-docs prints: the options of the man page (roff), and tables in Markdown. */
enum proxy_docs { DOCS_NONE, DOCS_MAN, DOCS_TIMEOUTS, DOCS_REASONS, DOCS_KINDS, DOCS_ANNOTATIONS, DOCS_METRICS, DOCS_INJECT };

/* What the command line and the environment say; constant once the proxy runs. */
struct settings {
	uint16_t inbound_port, outbound_port;
	struct addr admin; /* AF_UNSPEC: none */
	struct option_texts admin_hosts; /* names, several of them between commas */
	int64_t uid;
	int64_t workers; /* 0 = as many as this cgroup's CPUs */
	enum log_level log_level;
	enum log_format log_format;
	bool log_paths, access_log;
	int64_t log_rate;        /* close records a second and reason, 0 = no limit */
	int64_t max_connections; /* 0 = from RLIMIT_NOFILE */
	struct ports opaque_ports;
	int64_t detect_grace; /* ms */
	int64_t keepalive_idle, keepalive_interval, keepalive_probes; /* ms, ms, count */
	int64_t pool_size; /* idle connections kept per destination and worker */
	bool no_learned_idle;
	int64_t max_head_size, max_head_fields, max_target_size, max_chunk_extensions;
	bool no_reason_headers, refuse_malformed_http;
	enum forwarded { FORWARDED_NONE, FORWARDED_RFC7239, FORWARDED_X_FOR } forwarded; /* what names the client to inbound requests */
	struct timeouts timeouts; /* the Config level: unset where neither flag nor environment speaks; sources are owned */
	struct option_texts config;  /* files and directories of documents */
	const char *pod_info;        /* directory of downward-API files, NULL = none */
	const char *namespace;       /* our own, NULL = the service account's, else "default" */
	const char *cluster_domain;
	struct addr dns_server;      /* AF_UNSPEC: those of /etc/resolv.conf */
	int64_t service_profile_default_timeout; /* ms, 0 = off */
	const char *service_profile_default_source; /* owned: "built-in ServiceProfile default", "flag --service-…", … */
	const char *to;              /* explain: ADDRESS:PORT or NAMESPACE/NAME:PORT as given, NULL = none */
	enum direction direction;    /* explain */
	const char *from_namespace;  /* explain, NULL = our own */
	struct option_texts headers; /* explain: "NAME: VALUE" */
	struct option_words words;   /* explain: METHOD and URL, in one or two words */
	bool json;                   /* explain, check-config, why */
	struct option_texts logs;    /* why: files, "-" = standard input; none = that */
	int64_t since;               /* why: ms since 1970, 0 = all */
	const char *service;         /* why: NULL = all */
	struct option_texts reasons; /* why: names of reasons, none = all */
	int64_t within;              /* ready: ms */
	enum proxy_docs docs;
};

enum proxy_command { COMMAND_RUN, COMMAND_EXPLAIN, COMMAND_CHECK_CONFIG, COMMAND_INJECT, COMMAND_WHY, COMMAND_READY, COMMAND_VERSION };

/* Fills settings; *command is one of proxy_command, or OPTIONS_HELP, OPTIONS_VERSION. 0, or -EINVAL with one sentence in error. */
int proxy_options_parse(int argc, char **argv, char **environment, struct settings *settings, int *command, struct text *error);

/* options_environment_look() of these options. */
void proxy_options_look_at_environment(char **environment, struct text *unknown, struct text *services);

void proxy_options_print_help(FILE *to);

/* The help of one option, for who passes it on; nothing for what is none. */
void proxy_options_write_help(const char *name, struct text *out);
void proxy_options_print_docs(enum proxy_docs docs, FILE *to);

/* "settings": the options of `run` whose value is not their default, timeouts apart. */
struct json;
void proxy_options_print_changed(const struct settings *settings, struct json *json);

void proxy_options_free(struct settings *settings);

#endif
