#include "init/capability.h"

#include <linux/capability.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/text.h"

#define CAPABILITY_BIT(capability) (UINT32_C(1) << (capability))

static bool capability_get(struct __user_cap_data_struct data[2])
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};

	return !syscall(SYS_capget, &header, data);
}

void capability_raise(void)
{
	const uint32_t useful = CAPABILITY_BIT(CAP_NET_ADMIN) | CAPABILITY_BIT(CAP_SYS_ADMIN) | CAPABILITY_BIT(CAP_SYS_PTRACE);
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];

	if (!capability_get(data) || !(data[0].permitted & ~data[0].effective & useful))
		return;
	data[0].effective |= data[0].permitted & useful;
	(void)syscall(SYS_capset, &header, data); /* the kernel's own refusals tell what is missing */
}

void capability_explain(struct text *out)
{
	struct __user_cap_data_struct data[2];

	if (!capability_get(data) || data[0].effective & CAPABILITY_BIT(CAP_NET_ADMIN))
		return;
	if (prctl(PR_CAPBSET_READ, CAP_NET_ADMIN, 0, 0, 0) != 1)
		text_string(out, "; give this container the capability (securityContext: capabilities: add: [NET_ADMIN])");
	else
		text_printf(out,
		            "; this container may have CAP_NET_ADMIN, but a user other than root (uid %u) does not get it that way "
		            "(kubernetes#56374): set runAsUser: 0 for this container, or give the program the capability "
		            "(setcap cap_net_admin+p lapse-init) and do not forbid it (allowPrivilegeEscalation: true)",
		            geteuid());
}
