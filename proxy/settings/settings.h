#ifndef LAPSE_PROXY_SETTINGS_SETTINGS_H
#define LAPSE_PROXY_SETTINGS_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "lib/addr.h"
#include "lib/options.h"
#include "proxy/config/config.h"
#include "proxy/connection/worker.h"
#include "proxy/exchange/exchange.h"
#include "proxy/http1/http1.h"
#include "proxy/metrics/words.h"
#include "proxy/policy/policy.h"
#include "proxy/server/upstream.h"

struct text;

/* What --print-docs prints: the options of the man page (roff), and tables in Markdown. */
enum proxy_docs { DOCS_NONE, DOCS_MAN, DOCS_TIMEOUTS, DOCS_COSTS, DOCS_REASONS, DOCS_KINDS, DOCS_ANNOTATIONS, DOCS_METRICS, DOCS_INJECT };

/* What explain is asked about: a request of HTTP/1, of HTTP/2, or of HTTP/2 a gRPC call. */
enum asked_protocol { ASKED_HTTP_1, ASKED_HTTP_2, ASKED_GRPC, ASKED_PROTOCOLS };

/* What the command line and the environment say; constant once the proxy runs. What a wing needs of it is a struct of that wing. */
struct settings {
	struct worker_settings worker;
	struct upstream_settings upstream;
	struct exchange_settings exchange;
	struct policy_settings policy;
	struct addr admin; /* AF_UNSPEC: none */
	struct option_texts admin_hosts; /* names, several of them between commas */
	int64_t uid;
	int64_t workers; /* 0 = as many as this cgroup's CPUs */
	int64_t max_connections; /* 0 = from RLIMIT_NOFILE */
	int64_t max_head_size, max_head_fields, max_target_size, max_chunk_extensions;
	bool refuse_malformed_http;
	struct option_texts config;  /* files and directories of documents */
	const char *pod_info;        /* directory of downward-API files, NULL = none */
	const char *namespace;       /* our own, NULL = the service account's, else "default" */
	struct addr dns_server;      /* AF_UNSPEC: those of /etc/resolv.conf */
	const char *to;              /* explain: where to, as given, NULL = none */
	enum asked_protocol protocol; /* explain */
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

/* Of these, what is no struct of a wing as it was given. Borrowed from the settings. */
struct config_paths settings_paths(const struct settings *settings);
struct http1_limits settings_limits(const struct settings *settings);

/* Fills settings; *command is one of proxy_command, or OPTIONS_HELP, OPTIONS_VERSION. 0, or -EINVAL with one sentence in error. */
int settings_parse(int argc, char **argv, char **environment, struct settings *settings, int *command, struct text *error);

/* options_environment_look() of these options. */
void settings_look_at_environment(char **environment, struct text *unknown, struct text *services);

void settings_print_help(FILE *to);

/* The help of one option, for who passes it on; nothing for what is none. */
void settings_write_help(const char *name, struct text *out);

/* The options as a section of the manual (roff). */
void settings_print_man(FILE *to);

/* "settings": the options of `run` whose value is not their default, timeouts apart. */
struct json;
void settings_print_changed(const struct settings *settings, struct json *json);

void settings_free(struct settings *settings);

#endif
