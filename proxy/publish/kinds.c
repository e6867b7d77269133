#include "proxy/publish/kinds.h"

#include "lib/text.h"

static const char *const kinds_v1[] = {"v1", NULL};
static const char *const kinds_kubelb[] = {"v1alpha1", NULL};
static const char *const kinds_gateway[] = {"v1", "v1beta1", "v1alpha3", "v1alpha2", NULL};
static const char *const kinds_linkerd_policy[] = {"v1beta3", "v1beta2", "v1beta1", "v1alpha1", NULL};
static const char *const kinds_linkerd[] = {"v1alpha2", NULL};

#define KUBELB "kubelb.k8c.io"
#define GATEWAY "gateway.networking.k8s.io"

static const struct watch_kind kinds_rows[] = {
    {KIND_NAMESPACE, "", "namespaces", "Namespace", kinds_v1, .cluster_wide = true, .built_in = true},
    {KIND_SERVICE, "", "services", "Service", kinds_v1, .built_in = true},
    {KIND_INGRESS, "networking.k8s.io", "ingresses", "Ingress", kinds_v1, .built_in = true},
    {KIND_HTTP_ROUTE, GATEWAY, "httproutes", "HTTPRoute", kinds_gateway},
    {KIND_GRPC_ROUTE, GATEWAY, "grpcroutes", "GRPCRoute", kinds_gateway},
    {KIND_TCP_ROUTE, GATEWAY, "tcproutes", "TCPRoute", kinds_gateway},
    {KIND_TLS_ROUTE, GATEWAY, "tlsroutes", "TLSRoute", kinds_gateway},
    {KIND_HTTP_ROUTE, "policy.linkerd.io", "httproutes", "HTTPRoute", kinds_linkerd_policy},
    {KIND_SERVICE_PROFILE, "linkerd.io", "serviceprofiles", "ServiceProfile", kinds_linkerd},
    {KIND_CONFIG, KUBELB, "configs", "Config", kinds_kubelb},
    {KIND_TENANT, KUBELB, "tenants", "Tenant", kinds_kubelb, .cluster_wide = true},
    {KIND_KUBELB_ROUTE, KUBELB, "routes", "Route", kinds_kubelb},
    {KIND_LOAD_BALANCER, KUBELB, "loadbalancers", "LoadBalancer", kinds_kubelb},
};

size_t kinds_count(void)
{
	return sizeof kinds_rows / sizeof *kinds_rows;
}

const struct watch_kind *kinds_at(size_t index)
{
	return &kinds_rows[index];
}

void kinds_resource(const struct watch_kind *kind, struct text *out)
{
	text_printf(out, "%s%s%s", kind->plural, *kind->group != '\0' ? "." : "", kind->group);
}
