#ifndef LAPSE_INIT_OPTIONS_H
#define LAPSE_INIT_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/addr.h"
#include "lib/conntrack.h"
#include "lib/log.h"
#include "lib/options.h"
#include "lib/ports.h"

enum ip_families { IP_FAMILIES_AUTO, IP_FAMILIES_IPV4, IP_FAMILIES_IPV6, IP_FAMILIES_BOTH };

/* The order of the subcommands in options_table. */
enum init_command { INIT_INSTALL, INIT_REMOVE, INIT_CHECK, INIT_STATUS, INIT_HALF_CLOSED };

#define INTERFACE_NAME_SIZE 16 /* IFNAMSIZ */

struct interface_name {
	char text[INTERFACE_NAME_SIZE];
};

struct subnets {
	struct prefix *list; /* owned */
	size_t count;
};

struct interfaces {
	struct interface_name *list; /* owned */
	size_t count;
};

struct owner_id {
	bool set;
	uint32_t id;
};

/* Options of Linkerd's proxy-init that mean nothing here; what is set was given. */
struct ignored_options {
	const char *firewall_bin_path, *firewall_save_bin_path, *iptables_mode;
	bool use_wait_flag;
};

/* The command line and the environment, each value checked on its own; plan_make() checks how they fit together. */
struct init_options {
	uint16_t inbound_port, outbound_port, admin_port;
	struct owner_id proxy_uid, proxy_gid;
	struct ports inbound_ports; /* empty = all */
	struct ports skip_inbound_ports, skip_outbound_ports;
	struct subnets skip_subnets;
	struct interfaces skip_interfaces;
	enum ip_families families;
	bool without_ipv6; /* Linkerd's --ipv6 false; `families` knows it too */
	uint32_t conntrack_seconds[CONNTRACK_STATE_COUNT]; /* 0 = leave alone */
	struct option_origin_of {
		const struct option_row *row; /* NULL = not given */
		enum option_origin origin;
	} conntrack_from[CONNTRACK_STATE_COUNT], families_from, ipv6_from; /* who gave it, for contradictions */
	bool keep_invalid, keep_tcp_tw_reuse, redirect_dead_ports, dry_run, allow_host_network;
	const char *netns; /* NULL or "" = this one */
	enum log_format log_format;
	enum log_level log_level;
	bool json;                        /* half-closed, status, check */
	bool watch, all_namespaces;       /* half-closed */
	bool without_proxy;               /* check */
	int64_t min_age_ms;
	struct ignored_options ignored;
	bool print_man; /* --print-docs man */
};

/* For --help and the documentation. */
extern const struct options options_table;

/* options_parse() with the spellings of Linkerd's proxy-init translated first. `out` is cleared before and always needs
 * options_free(). 0, -ENOMEM, or -EINVAL with one sentence in `error`. */
int options_read(int argc, char **argv, char **environment, struct init_options *out, int *command, struct text *error);
void options_free(struct init_options *options);

#endif
