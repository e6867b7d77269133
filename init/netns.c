#include "init/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "lib/text.h"

int netns_enter(const char *path, struct text *error)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), status; /* a FIFO is soon told apart */

	if (fd < 0) {
		status = -errno;
		text_printf(error,
		            "cannot open the network namespace %s: %s; give --netns a path such as /run/netns/NAME or "
		            "/proc/PID/ns/net",
		            path, strerror(-status));
		return status;
	}
	status = setns(fd, CLONE_NEWNET) ? -errno : 0;
	close(fd);
	if (status == -EINVAL)
		text_printf(error, "cannot enter %s: it is no network namespace", path);
	else if (status)
		text_printf(error, "cannot enter the network namespace %s: %s; --netns needs CAP_SYS_ADMIN", path,
		            strerror(-status));
	return status;
}

bool netns_is_host(void)
{
	return !access("/proc/sys/net/core/bpf_jit_enable", F_OK) || access("/proc/sys/net/core", F_OK);
}

bool netns_has_ipv6(void)
{
	char value = '1';
	int fd = open("/proc/sys/net/ipv6/conf/all/disable_ipv6", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return false;
	if (read(fd, &value, 1) != 1)
		value = '1';
	close(fd);
	return value == '0';
}
