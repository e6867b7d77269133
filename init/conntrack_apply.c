#include "init/conntrack_apply.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "init/capability.h"
#include "init/cttimeout.h"
#include "lib/log.h"
#include "lib/text.h"

static bool conntrack_apply_wanted(const uint32_t seconds[static CONNTRACK_STATE_COUNT])
{
	for (int i = 0; i < CONNTRACK_STATE_COUNT; i++)
		if (seconds[i])
			return true;
	return false;
}

const char *conntrack_apply_read(struct netlink *netlink, uint32_t seconds[static CONNTRACK_STATE_COUNT])
{
	const char *way = NULL;

	if (netlink && !cttimeout_get(netlink, seconds))
		return "netlink";
	for (int i = 0; i < CONNTRACK_STATE_COUNT; i++) {
		seconds[i] = 0;
		if (!conntrack_timeout_read((enum conntrack_state)i, &seconds[i]))
			way = "sysctl";
	}
	return way;
}

/* Writes all values. 0 and *way, or -errno with *failed naming the first state that could not be written. */
static int conntrack_apply_write(struct netlink *netlink, const uint32_t seconds[static CONNTRACK_STATE_COUNT], const char **way,
                                 int *netlink_error, enum conntrack_state *failed)
{
	int error;

	*netlink_error = netlink ? cttimeout_set(netlink, seconds) : -EPROTONOSUPPORT;
	*way = "netlink";
	if (!*netlink_error)
		return 0;
	*way = "sysctl";
	for (int i = 0; i < CONNTRACK_STATE_COUNT; i++) {
		error = seconds[i] ? conntrack_timeout_write((enum conntrack_state)i, seconds[i]) : 0;
		if (error) {
			*failed = (enum conntrack_state)i;
			return error;
		}
	}
	return 0;
}

static void conntrack_apply_explain(enum conntrack_state state, uint32_t seconds, int netlink_error, int sysctl_error,
                                    struct text *error)
{
	text_printf(error, "cannot set conntrack's %s timeout to %us: netlink says \"%s\", /proc/sys says \"%s\"",
	            conntrack_state_name(state), seconds, strerror(-netlink_error), strerror(-sysctl_error));
	if (netlink_error == -EPERM) {
		text_string(error, "; it needs CAP_NET_ADMIN in this network namespace");
		capability_explain(error);
	} else {
		text_string(error, "; the kernel needs CONFIG_NF_CONNTRACK_TIMEOUT and CONFIG_NF_CT_NETLINK_TIMEOUT, or a "
		                   "writable /proc/sys");
	}
}

static void conntrack_apply_log(struct log *log, enum conntrack_state state, uint32_t old, uint32_t new, const char *way)
{
	struct log_line line;

	if (!log_wants(log, LOG_INFO))
		return;
	log_begin(&line, log, LOG_INFO, "conntrack timeout set");
	log_string(&line, "state", conntrack_state_name(state));
	log_number(&line, "old_s", old);
	log_number(&line, "new_s", new);
	log_string(&line, "by", way);
	log_end(&line);
}

int conntrack_apply(struct netlink *netlink, const uint32_t seconds[static CONNTRACK_STATE_COUNT], struct log *log,
                    struct text *error)
{
	uint32_t before[CONNTRACK_STATE_COUNT] = {0}, after[CONNTRACK_STATE_COUNT] = {0};
	enum conntrack_state failed = CONNTRACK_CLOSE_WAIT;
	const char *way;
	int netlink_error, status;

	if (!conntrack_apply_wanted(seconds))
		return 0;
	conntrack_apply_read(netlink, before);
	status = conntrack_apply_write(netlink, seconds, &way, &netlink_error, &failed);
	if (status) {
		conntrack_apply_explain(failed, seconds[failed], netlink_error, status, error);
		return status;
	}
	conntrack_apply_read(netlink, after);
	for (int i = 0; i < CONNTRACK_STATE_COUNT; i++) {
		if (!seconds[i])
			continue;
		if (after[i] != seconds[i]) {
			text_printf(error, "conntrack's %s timeout was set to %us by %s without complaint but reads %us",
			            conntrack_state_name((enum conntrack_state)i), seconds[i], way, after[i]);
			return -EIO;
		}
		conntrack_apply_log(log, (enum conntrack_state)i, before[i], after[i], way);
	}
	return 0;
}
