#!/bin/bash
# build.sh [api | static | node | helm | NAME]…: builds a recent Kubernetes with the Go module proxy alone, into $KUBE (build/kubernetes).
# go.mod and go.sum in modules/ pin every byte. What is there already is checked: the module cache against go.sum, each program
# against the sum written down when it was built; either is made anew where it differs. Needs Go 1.21 or later, which fetches
# the Go that go.mod asks for.
set -euo pipefail
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
: "${KUBE:=$here/../../build/kubernetes}"
mkdir -p "$KUBE/bin"
KUBE=$(readlink -f "$KUBE")
export GOMODCACHE=${GOMODCACHE:-$KUBE/go/mod} GOCACHE=${GOCACHE:-$KUBE/go/build} CGO_ENABLED=0
export GOFLAGS='-mod=readonly -modcacherw -trimpath -buildvcs=false'

declare -A package=(
    [kube-apiserver]=k8s.io/kubernetes/cmd/kube-apiserver
    [kube-controller-manager]=k8s.io/kubernetes/cmd/kube-controller-manager
    [kube-scheduler]=k8s.io/kubernetes/cmd/kube-scheduler
    [kube-proxy]=k8s.io/kubernetes/cmd/kube-proxy
    [kubelet]=k8s.io/kubernetes/cmd/kubelet
    [kubectl]=k8s.io/kubernetes/cmd/kubectl
    [helm]=helm.sh/helm/v4/cmd/helm
    [testapp]=.
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
command -v go >/dev/null || { echo 'build.sh: no go in PATH; Go 1.21 or later builds Kubernetes' >&2; exit 1; }

module_of() {
    case $1 in
    testapp) echo "$here/testapp" ;;
    helm) echo "$here/modules/helm" ;;
    *) echo "$here/modules/kubernetes" ;;
    esac
}

# What a program is made of: while this and the program's own sum stay, there is nothing to build.
sources() { { (cd "$1" && go version && find . -name '*.go' -o -name 'go.*' | sort | xargs cat) && cat "$here/build.sh"; } | sha256sum | cut -d' ' -f1; }
current() { # NAME MODULE
    [ -x "$KUBE/bin/$1" ] && [ "$(cat "$KUBE/bin/.$1.sum" 2>/dev/null)" = "$(sources "$2") $(sha256sum <"$KUBE/bin/$1" | cut -d' ' -f1)" ]
}

verified=' '
for name in "${wanted[@]}"; do
    module=$(module_of "$name")
    ! current "$name" "$module" || continue
    begun=$SECONDS flags='-s -w'
    cd "$module"
    if [[ $verified != *" $module "* ]]; then
        # Downloads are checked against go.sum by go itself; this checks what lies unpacked since an earlier run.
        go mod verify >"$KUBE/verify.log" 2>&1 || { tail -n 3 "$KUBE/verify.log" >&2; echo 'build.sh: the module cache is fetched anew' >&2; go clean -modcache; }
        verified+="$module "
    fi
    case $name in
    kube*)
        version=$(sed -n 's/.*k8s\.io\/kubernetes v/v/p' go.mod | head -n 1)
        of=k8s.io/component-base/version
        flags+=" -X $of.gitVersion=$version -X $of.gitMajor=1 -X $of.gitMinor=$(cut -d. -f2 <<<"$version") -X $of.gitTreeState=clean"
        ;;
    esac
    nice -n 5 go build -p "${JOBS:-2}" -ldflags "$flags" -o "$KUBE/bin/$name" "${package[$name]}"
    echo "$(sources "$module") $(sha256sum <"$KUBE/bin/$name" | cut -d' ' -f1)" >"$KUBE/bin/.$name.sum"
    printf 'build.sh: %-24s %4d s, %s\n' "$name" $((SECONDS - begun)) "$(du -h "$KUBE/bin/$name" | cut -f1)"
done
