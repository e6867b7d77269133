#!/bin/bash
# One-node Kubernetes in a network, mount and pid namespace of its own.
#   up.sh STATE api       etcd and kube-apiserver: admission, RBAC, CRDs, watch
#   up.sh STATE static    containerd and kubelet alone: pods are files in STATE/pods, logs are in STATE/log/pods
#   up.sh STATE node      all of these with controller-manager, scheduler and kube-proxy, and coredns where there is one
# KUBE/bin (build/kubernetes): what build.sh made; etcd, containerd, runc and the network plugins are Debian's. KUBE/images/*.tar are
# imported; one is localhost/pause:1. Then STATE/kc is kubectl, STATE/in runs a command on the node. NS names the network namespace.
# What a machine with little may lack is worked round: CAP_SYS_RESOURCE, cgroup v2, more than 20,000 open files.
set -euo pipefail
[ $# -ge 1 ] || { sed -n '2,9s/^# \?//p' "$0" >&2; exit 64; }
mkdir -p "$1"/{fake,cni,etcd,kubelet,api,log,plugins,pods}
S=$(readlink -f "$1") MODE=${2:-node} NS=${NS:-$(basename "$1")}
KUBE=$(readlink -f "${KUBE:-$(dirname "${BASH_SOURCE[0]}")/../../build/kubernetes}")
PATH=$KUBE/bin:$PATH:/usr/sbin
KUBECTL=$(command -v kubectl || true) CNI=${CNI:-/usr/lib/cni}
started=$(date +%s%N)
age() { echo "$((($(date +%s%N) - started) / 1000000)) ms: $*"; }

ip netns add "$NS"
ip -n "$NS" link set lo up
ip -n "$NS" link add br0 type bridge # an address and a default route of the node's own: kube-apiserver and kubelet want both
ip -n "$NS" addr add 10.77.0.1/24 dev br0
ip -n "$NS" link set br0 up
ip -n "$NS" route add default via 10.77.0.2

# A pod that asks for little has a weight of 2 where any other process of this machine has 1024, and all pods together one process's.
# On a node of their own they would have that to themselves; so here they weigh more than what else runs.
for weight in cpu/k8s.io/cpu.shares=16384 k8s.io/cpu.weight=1600; do
  { mkdir -p "$(dirname "/sys/fs/cgroup/${weight%=*}")" && echo "${weight#*=}" > "/sys/fs/cgroup/${weight%=*}"; } 2> /dev/null || true
done

umask 077
[ -e "$S/api/sa.key" ] || { openssl genrsa -out "$S/api/sa.key" 2048 && openssl rsa -in "$S/api/sa.key" -pubout -out "$S/api/sa.pub"; } 2> /dev/null
token=$(openssl rand -hex 16)
echo "$token,admin,1,\"system:masters\"" > "$S/api/tokens.csv"
cat > "$S/api/kubeconfig" << END
{apiVersion: v1, kind: Config, current-context: c,
 clusters: [{name: e, cluster: {server: "https://127.0.0.1:6443", insecure-skip-tls-verify: true}}],
 users: [{name: a, user: {token: $token}}], contexts: [{name: c, context: {cluster: e, user: a}}]}
END
umask 022

# containerd 2 has version 3 of the configuration; Debian 12's 1.6 and Debian 13's 1.7 have version 2
case $(containerd --version 2> /dev/null) in
*" v2."* | *" 2."*) toml=3 cri=io.containerd.cri.v1.runtime sandbox='' bin="bin_dirs = [\"$CNI\"]" ;;
*) toml=2 cri=io.containerd.grpc.v1.cri sandbox='sandbox_image = "localhost/pause:1"' bin="bin_dir = \"$CNI\"" ;;
esac
cat > "$S/containerd.toml" << END
version = $toml
root = "$S/containerd"
state = "$S/run"
[grpc]
  address = "$S/c.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "$S/opt"
[plugins."$cri"]
  $sandbox
  restrict_oom_score_adj = true # needs no CAP_SYS_RESOURCE
  disable_apparmor = true
  netns_mounts_under_state_dir = true
  [plugins."$cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
  [plugins."$cri".cni]
    $bin
    conf_dir = "$S/cni"
END
[ $toml = 2 ] || cat >> "$S/containerd.toml" << END
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "localhost/pause:1"
[plugins."io.containerd.nri.v1.nri"]
  disable = true
END
cat > "$S/cni/10-node.conflist" << END
{"cniVersion": "1.0.0", "name": "node", "plugins": [{"type": "ptp", "ipMasq": false, "ipam": {"type": "host-local",
 "ranges": [[{"subnet": "10.78.0.0/24"}]], "dataDir": "$S/ipam", "routes": [{"dst": "0.0.0.0/0"}]}}]}
END
cat > "$S/kubelet.yaml" << END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix://$S/c.sock
failCgroupV1: false           # the default is true as of 1.35
cgroupDriver: cgroupfs
cgroupsPerQOS: false
enforceNodeAllocatable: []
failSwapOn: false
makeIPTablesUtilChains: false
oomScoreAdj: 0                # needs no CAP_SYS_RESOURCE
maxOpenFiles: 20000
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
evictionHard: {memory.available: "1Mi"}
imageGCHighThresholdPercent: 100
resolvConf: ""
syncFrequency: ${SYNC:-10s}
podLogsDir: $S/log/pods
volumePluginDir: $S/plugins
END
printf 'clusterDNS: [10.77.0.1]\nclusterDomain: cluster.local\n' >> "$S/kubelet.yaml" # refuses queries without coredns
printf 'cluster.local {\n  bind 10.77.0.1\n  kubernetes cluster.local {\n    kubeconfig %s\n  }\n}\n' "$S/api/kubeconfig" > "$S/Corefile"
[ "$MODE" != static ] || echo "staticPodPath: $S/pods" >> "$S/kubelet.yaml"
cat > "$S/proxy.yaml" << END
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
hostnameOverride: node1
clusterCIDR: 10.78.0.0/24
clientConnection: {kubeconfig: "$S/api/kubeconfig"}
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
oomScoreAdj: 0
END
cat > "$S/run.sh" << END
set -u
mount --make-rprivate /
# kubelet sets these; it gets files of its own for them
for f in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops kernel/keys/root_maxkeys kernel/keys/root_maxbytes; do
  n=$S/fake/\${f//\//_}; cat /proc/sys/\$f > \$n && mount --bind \$n /proc/sys/\$f
done
# a proc without such files beside it: else the kernel refuses proc to pods with a user namespace of their own (hostUsers: false)
mkdir -p $S/proc; mount -t proc proc $S/proc
mkdir -p /run/containerd; mount -t tmpfs tmpfs /run/containerd; mount -t tmpfs tmpfs /var/log
export PATH=$PATH
p() { local n=\$1; shift; "\$@" > $S/log/\$n.log 2>&1 & }
if [ $MODE != static ]; then
  p etcd etcd --data-dir $S/etcd --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 --initial-cluster default=http://127.0.0.1:2380 ${ETCD_ARGS:---unsafe-no-fsync}
  p apiserver kube-apiserver --etcd-servers=http://127.0.0.1:2379 --service-account-issuer=https://kubernetes.default.svc --service-account-key-file=$S/api/sa.pub --service-account-signing-key-file=$S/api/sa.key --service-cluster-ip-range=10.79.0.0/24 --bind-address=0.0.0.0 --advertise-address=10.77.0.1 --cert-dir=$S/api/certs --authorization-mode=Node,RBAC --token-auth-file=$S/api/tokens.csv --allow-privileged=true --kubelet-preferred-address-types=InternalIP ${API_ARGS:-}
fi
if [ $MODE != api ]; then
  p containerd containerd --config $S/containerd.toml
  (
    i=0; until ctr -a $S/c.sock version > /dev/null 2>&1 || [ \$((i++)) -gt 100 ]; do sleep 0.1; done
    for t in $KUBE/images/*.tar; do ctr -a $S/c.sock -n k8s.io images import \$t; done
  ) > $S/log/import.log 2>&1
fi
if [ $MODE = static ]; then
  p kubelet kubelet --config=$S/kubelet.yaml --root-dir=$S/kubelet --hostname-override=node1 --node-ip=10.77.0.1
fi
if [ $MODE = node ]; then
  i=0; until curl -skf https://127.0.0.1:6443/readyz > /dev/null || [ \$((i++)) -gt 300 ]; do sleep 0.2; done
  p kcm kube-controller-manager --kubeconfig=$S/api/kubeconfig --service-account-private-key-file=$S/api/sa.key --root-ca-file=$S/api/certs/apiserver.crt --leader-elect=false
  p scheduler kube-scheduler --kubeconfig=$S/api/kubeconfig --leader-elect=false
  p kubelet kubelet --config=$S/kubelet.yaml --root-dir=$S/kubelet --hostname-override=node1 --node-ip=10.77.0.1 --kubeconfig=$S/api/kubeconfig
  [ -x $KUBE/bin/coredns ] && p coredns coredns -conf $S/Corefile
  p proxy kube-proxy --config $S/proxy.yaml
fi
wait
END
printf '#!/bin/bash\nexec nsenter --net=/run/netns/%s %s --kubeconfig %s "$@"\n' "$NS" "$KUBECTL" "$S/api/kubeconfig" > "$S/kc"
printf '#!/bin/bash\nexec nsenter --net=/run/netns/%s -- "$@"\n' "$NS" > "$S/in"
chmod +x "$S/kc" "$S/in"
echo "$NS" > "$S/netns"
setsid nsenter --net=/run/netns/"$NS" unshare --mount --pid --fork --kill-child --mount-proc bash "$S/run.sh" > "$S/log/run.log" 2>&1 < /dev/null &
echo $! > "$S/pid"
echo -8 > "/proc/$!/autogroup" 2> /dev/null || true # the same for the node's own processes, where sessions are weighed

wait_for() { # NAME COMMAND...
  local n=$1 i
  shift
  for ((i = 0; i < ${WAIT:-600} * 5; i++)); do
    "$@" > /dev/null 2>&1 && { age "$n"; return; }
    sleep 0.2
  done
  echo "$n: not in time" >&2
  exit 1
}
node_ready() { "$S/kc" get node node1 | grep -q ' Ready'; }
if [ "$MODE" = static ]; then
  wait_for "kubelet healthy" "$S/in" curl -sf http://127.0.0.1:10248/healthz
  exit 0
fi
wait_for "apiserver ready" "$S/in" curl -skf https://127.0.0.1:6443/readyz
[ "$MODE" = node ] || exit 0
wait_for "node ready" node_ready
wait_for "default service account" "$S/kc" get serviceaccount default
