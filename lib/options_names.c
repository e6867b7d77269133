/* The names of both programs' options: one environment often serves both, and neither warns of the other's variables. */
#include <stddef.h>

#include "lib/options.h"

const char *const options_names_init[] = {
	"admin-port", "all-namespaces", "allow-host-network", "close-wait-timeout", "conntrack-timeout", "dry-run", "firewall-bin-path",
	"firewall-save-bin-path", "inbound-port", "inbound-ports", "ip-families", "iptables-mode", "ipv6", "json", "keep-invalid",
	"keep-tcp-tw-reuse", "log-format", "log-level", "min-age", "netns", "outbound-port", "print-docs", "proxy-gid", "proxy-uid",
	"redirect-dead-ports", "skip-inbound-ports", "skip-interfaces", "skip-outbound-ports", "skip-subnets", "timeout-close-wait-secs",
	"use-wait-flag", "watch", "without-proxy", NULL,
};

/* Those of timeouts.def apart. */
const char *const options_names_proxy[] = {
	"access-log", "admin", "admin-host", "cluster-domain", "config", "detect-grace", "direction", "dns-server", "file", "forwarded",
	"from-namespace", "grpc-deadline", "header", "inbound-port", "json", "keepalive-idle", "keepalive-interval", "keepalive-probes", "log-format", "log-level",
	"log-paths", "log-rate", "max-chunk-extensions", "max-connections", "max-head-fields", "max-head-size", "max-target-size",
	"namespace", "no-learned-idle", "no-reason-headers", "on-malformed-http", "opaque-ports", "outbound-port", "pod-info",
	"pool-size", "print-docs", "protocol", "reason", "service", "service-profile-default-timeout", "since", "to", "uid", "within", "workers",
	NULL,
};
