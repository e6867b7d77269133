#!/bin/bash
# down.sh STATE [keep]: ends what up.sh started. etcd's data, containers and volumes go too unless `keep` is said.
set -u
[ -e "${1:-}/netns" ] || { echo "usage: down.sh STATE [keep]" >&2; exit 64; }
S=$(readlink -f "$1") NS=$(cat "$1/netns")
if [ -e "$S/pid" ]; then # unshare, whose only child is process 1 of the pid namespace: all others end with that
    child=$(pgrep -P "$(cat "$S/pid")" 2>/dev/null) && kill -9 "$child"
    rm -f "$S/pid"
fi
for ((i = 0; i < 50; i++)); do ip netns pids "$NS" 2>/dev/null | grep -q . || break; sleep 0.1; done
ip netns del "$NS"
for id in "$S"/run/io.containerd.runtime.v2.task/k8s.io/*; do
    find /sys/fs/cgroup -depth -type d -path "*/k8s.io/${id##*/}*" -exec rmdir {} + 2>/dev/null
done
[ "${2:-}" = keep ] || rm -rf "$S"/{etcd,kubelet,containerd,run,ipam,log,fake,pods,c.sock,c.sock.ttrpc}
rm -f "$S/netns"
