/* close_wait is set over netlink by a process that has CAP_NET_ADMIN and nothing else, where the sysctl cannot be written. */
#include "platform.h"
#include <libmnl/libmnl.h>
#include <linux/capability.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_cttimeout.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define CLOSE_WAIT "/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_close_wait"
#define FIN_WAIT "/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_fin_wait"
#define NOBODY 65534

/* 0 or -errno, as the kernel acknowledged it. */
static int set_close_wait(uint32_t seconds)
{
	char buffer[512], answer[4096];
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
	message->nlmsg_type = NFNL_SUBSYS_CTNETLINK_TIMEOUT << 8 | IPCTNL_MSG_TIMEOUT_DEFAULT_SET;
	message->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	message->nlmsg_seq = 1;
	struct nfgenmsg *header = mnl_nlmsg_put_extra_header(message, sizeof *header);
	header->nfgen_family = AF_UNSPEC;
	header->version = NFNETLINK_V0;
	mnl_attr_put_u16(message, CTA_TIMEOUT_L3PROTO, htons(AF_INET));
	mnl_attr_put_u8(message, CTA_TIMEOUT_L4PROTO, IPPROTO_TCP);
	struct nlattr *data = mnl_attr_nest_start(message, CTA_TIMEOUT_DATA);
	mnl_attr_put_u32(message, CTA_TIMEOUT_TCP_CLOSE_WAIT, htonl(seconds));
	mnl_attr_nest_end(message, data);

	struct mnl_socket *netlink = mnl_socket_open(NETLINK_NETFILTER);
	NEED(netlink && mnl_socket_bind(netlink, 0, MNL_SOCKET_AUTOPID) == 0);
	NEED(mnl_socket_sendto(netlink, message, message->nlmsg_len) > 0);
	ssize_t n = mnl_socket_recvfrom(netlink, answer, sizeof answer);
	int result = n > 0 && mnl_cb_run(answer, n, 1, mnl_socket_get_portid(netlink), NULL, NULL) >= 0 ? 0 : -errno;
	mnl_socket_close(netlink);
	return result;
}

/* Uid 65534 with exactly these capabilities, as a container would start it. */
static void become_nobody_with(uint32_t capabilities)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {{.effective = capabilities, .permitted = capabilities}};
	NEED(prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) == 0);
	NEED(setresgid(NOBODY, NOBODY, NOBODY) == 0 && setresuid(NOBODY, NOBODY, NOBODY) == 0);
	NEED(syscall(SYS_capset, &header, data) == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
}

/* Runs a case in a child, which changes itself for good; its verdicts come back as an exit status. */
static void in_child(struct platform *p, void (*run)(struct platform *))
{
	int status;
	fflush(stdout);
	pid_t child = fork();
	NEED(child >= 0);
	if (child == 0) {
		run(p);
		fflush(stdout);
		_exit(platform_end(p));
	}
	NEED(waitpid(child, &status, 0) == child);
	p->failed += status != 0;
}

static void with_net_admin(struct platform *p)
{
	long fin_wait = get_file(FIN_WAIT);
	become_nobody_with(1u << CAP_NET_ADMIN);
	bool written = put_file(CLOSE_WAIT, "3600");
	verdict(p, "sysctl_write_fails", written ? "it was written" : NULL);
	int result = set_close_wait(3600);
	verdict(p, "netlink_write_works", result ? "%s" : NULL, strerror(-result));
	long now = get_file(CLOSE_WAIT);
	verdict(p, "reads_back_3600", now == 3600 ? NULL : "it reads %ld", now);
	verdict(p, "other_states_unchanged", get_file(FIN_WAIT) == fin_wait ? NULL : "fin_wait was %ld", fin_wait);
}

static void without_capability(struct platform *p)
{
	become_nobody_with(0);
	int result = set_close_wait(1800);
	verdict(p, "without_the_capability_eperm", result == -EPERM ? NULL : "it answered %s", strerror(-result));
}

int main(void)
{
	struct platform p = platform_begin("cttimeout_default", true);
	int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	long before = get_file(CLOSE_WAIT);
	NEED(home >= 0 && unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	NEED(mount("/proc/sys", "/proc/sys", NULL, MS_BIND, NULL) == 0);
	NEED(mount(NULL, "/proc/sys", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL) == 0);
	new_netns();
	in_child(&p, with_net_admin);
	in_child(&p, without_capability);
	enter_netns(home);
	verdict(&p, "other_namespaces_unchanged", get_file(CLOSE_WAIT) == before ? NULL : "the first namespace had %ld", before);
	return platform_end(&p);
}
