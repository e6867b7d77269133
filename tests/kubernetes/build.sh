#!/bin/bash
# build.sh [api | static | node | helm | testapp | PROGRAM]…: builds a recent Kubernetes, helm and the test application with the Go module
# proxy alone, into $KUBE (build/kubernetes). modules/kubernetes/go.sum pins every byte. What is there already is checked: the module
# cache against go.sum, each program against the sum written down when it was built; either is made anew where it differs.
# Any Go will do: one older than go.mod asks for fetches that one, which modules/toolchain/go.sum pins.
set -euo pipefail
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
: "${KUBE:=$here/../../build/kubernetes}"
mkdir -p "$KUBE/bin"
KUBE=$(readlink -f "$KUBE")
export GOMODCACHE=${GOMODCACHE:-$KUBE/go/mod} GOCACHE=${GOCACHE:-$KUBE/go/build} CGO_ENABLED=0 GOTOOLCHAIN=local GOWORK=off
export GOFLAGS='-mod=readonly -modcacherw -trimpath -buildvcs=false'
module=$here/modules/kubernetes

declare -A package=(
    [kube-apiserver]=k8s.io/kubernetes/cmd/kube-apiserver
    [kube-controller-manager]=k8s.io/kubernetes/cmd/kube-controller-manager
    [kube-scheduler]=k8s.io/kubernetes/cmd/kube-scheduler
    [kube-proxy]=k8s.io/kubernetes/cmd/kube-proxy
    [kubelet]=k8s.io/kubernetes/cmd/kubelet
    [kubectl]=k8s.io/kubernetes/cmd/kubectl
    [helm]=helm.sh/helm/v4/cmd/helm
    [testapp]=./testapp
)
wanted=()
[ $# -gt 0 ] || { sed -n '2,5s/^# \?//p' "$0" >&2; exit 64; }
for what; do
    case $what in
    api) wanted+=(kube-apiserver kubectl) ;;
    static) wanted+=(kubelet) ;;
    node) wanted+=(kube-apiserver kubelet kubectl kube-controller-manager kube-scheduler kube-proxy) ;;
    *) [ -n "${package[$what]:-}" ] || { echo "build.sh: $what: not one of api, static, node, ${!package[*]}" >&2; exit 64; }
        wanted+=("$what") ;;
    esac
done

say() { echo "build.sh: $*"; }
at_least() { [ "$(printf '%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }
# go's own line for each module that it fetches says nothing to a reader of a build's log.
quietly() { "$@" 2> >(grep -v '^go: downloading' >&2); }

command -v go >/dev/null || { say 'no go in PATH' >&2; exit 1; }
cd "$module"
asked=$(sed -n 's/^go //p' go.mod) have=$(go env GOVERSION)
if ! at_least "$asked" "${have#go}"; then
    cd "$here/modules/toolchain"
    name=$(sed -n "s/.* \(v[^ ]*\.linux-$(go env GOARCH)\) .*/\1/p" go.sum)
    [ -n "$name" ] || { say "Kubernetes needs Go $asked, here is ${have#go}" >&2; exit 1; }
    quietly env GOFLAGS=-modcacherw go mod download "golang.org/toolchain@$name"
    root=$GOMODCACHE/golang.org/toolchain@$name
    chmod +x "$root"/bin/* "$root"/pkg/tool/*/*
    PATH=$root/bin:$PATH
    unset GOROOT
    cd "$module"
    say "with $(go env GOVERSION) in place of $have"
fi

# What a program is made of: while this and the program's own sum stay, there is nothing to build.
sources=$({ go version && cat go.mod go.sum testapp/*.go "$here/build.sh"; } | sha256sum | cut -d' ' -f1)
made_of() { echo "$sources $(sha256sum <"$KUBE/bin/$1" | cut -d' ' -f1)"; }
stale=() packages=()
for name in "${wanted[@]}"; do
    [ -x "$KUBE/bin/$name" ] && [ "$(cat "$KUBE/bin/.$name.sum" 2>/dev/null)" = "$(made_of "$name")" ] || {
        stale+=("$name") packages+=("${package[$name]}")
    }
done
[ ${#stale[@]} -gt 0 ] || exit 0

say "${stale[*]}: minutes, where nothing is cached"
begun=$SECONDS
# Downloads are checked against go.sum by go itself; this checks what lies unpacked since an earlier run.
if [ -d "$GOMODCACHE/cache" ] && ! go mod verify >"$KUBE/verify.log" 2>&1; then
    tail -n 3 "$KUBE/verify.log" >&2
    say 'the module cache is fetched anew'
    go clean -modcache
fi
version=$(sed -n 's/.*k8s\.io\/kubernetes v/v/p' go.mod | head -n 1) of=k8s.io/component-base/version
flags="-s -w -X $of.gitVersion=$version -X $of.gitMajor=1 -X $of.gitMinor=$(cut -d. -f2 <<<"$version") -X $of.gitTreeState=clean"
# All in one go: what they share is compiled once, and one is linked while another compiles.
quietly go build -gcflags=all=-dwarf=false -ldflags "$flags" -o "$KUBE/bin/" "${packages[@]}"
for name in "${stale[@]}"; do made_of "$name" >"$KUBE/bin/.$name.sum"; done
say "${#stale[@]} programs in $((SECONDS - begun)) s, $(cd "$KUBE/bin" && du -ch "${stale[@]}" | tail -n 1 | cut -f1)"
