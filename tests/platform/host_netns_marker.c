/* net.core.bpf_jit_enable exists in the first network namespace and in no other: how lapse-init knows the host's. */
#include "platform.h"

#define MARKER "/proc/sys/net/core/bpf_jit_enable"

int main(void)
{
	struct platform p = platform_begin("host_netns_marker", true);
	bool here = access(MARKER, F_OK) == 0;
	new_netns();
	bool there = access(MARKER, F_OK) == 0;
	verdict(&p, "absent_in_new_namespace", there ? MARKER " is there" : NULL);
	/* In a container that this runs in, the first namespace is out of sight: only a note. */
	fprintf(stderr, "host_netns_marker: where this was started, %s %s\n", MARKER, here ? "exists" : "does not exist");
	return platform_end(&p);
}
