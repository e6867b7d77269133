#ifndef LAPSE_LIB_CONNTRACK_H
#define LAPSE_LIB_CONNTRACK_H

#include <stdint.h>

/* The TCP states whose timeout conntrack keeps, in the order of enum ctattr_timeout_tcp
 * (linux/netfilter/nfnetlink_cttimeout.h), and under the names of nf_conntrack-sysctl. */
enum conntrack_state {
	CONNTRACK_SYN_SENT,
	CONNTRACK_SYN_RECV,
	CONNTRACK_ESTABLISHED,
	CONNTRACK_FIN_WAIT,
	CONNTRACK_CLOSE_WAIT,
	CONNTRACK_LAST_ACK,
	CONNTRACK_TIME_WAIT,
	CONNTRACK_CLOSE,
	CONNTRACK_SYN_SENT2,
	CONNTRACK_RETRANS,
	CONNTRACK_UNACK,
	CONNTRACK_STATE_COUNT,
};

/* "close_wait" and back; CONNTRACK_STATE_COUNT when there is no such state. */
const char *conntrack_state_name(enum conntrack_state state);
enum conntrack_state conntrack_state_find(const char *name);

/* Seconds, through /proc/sys/net/netfilter. Not every state has a file there (syn_sent2 has none). 0 or -errno:
 * -ENOENT no conntrack in this kernel or namespace, -EROFS and -EACCES on writing where /proc/sys is read-only. */
int conntrack_timeout_read(enum conntrack_state state, uint32_t *seconds);
int conntrack_timeout_write(enum conntrack_state state, uint32_t seconds);

/* A number from /proc/sys/net/netfilter/<name>, e.g. nf_conntrack_max, nf_conntrack_tcp_be_liberal. 0 or -errno. */
int conntrack_setting_read(const char *name, uint64_t *value);

#endif
