#!/bin/bash
# Installs what building and testing Lapse need: `tests/setup.sh`, `tests/setup.sh build` for building alone,
# `tests/setup.sh demo` for `make demo`, `tests/setup.sh kubernetes` for `make test-kubernetes`, or `tests/setup.sh insert` for `make insert` too.
# Debian 12 and 13. Silent and quick when all is there; starts no service; leaves the system's apt sources as they are.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

# One line a purpose.
build=(
    gcc libc6-dev make pkg-config                      # the compiler
    libnftnl-dev libmnl-dev libnetfilter-conntrack-dev # lapse-init: nftables, netlink, conntrack
    libc-ares-dev libyaml-dev libpcre2-dev             # lapse-proxy: names, documents, regular expressions
    libnghttp2-dev                                     # lapse-proxy: header blocks of HTTP/2
    systemtap-sdt-dev                                  # lapse-proxy: probes
)
demo=(
    iproute2 util-linux procps curl python3 nginx # namespaces, setpriv, clients, the applications
    mariadb-server-core                           # one that speaks first
)
testing=(
    libcmocka-dev python3                        # unit tests, the runner
    libjansson-dev libssl-dev                    # the API client's JSON and TLS, which no program has yet
    iproute2 nftables conntrack                  # namespaces, rules to compare with, flows to look at
    util-linux libcap2-bin procps psmisc strace  # setpriv, unshare, nsenter; setcap; ps; what a process really calls
    curl openssl wrk                             # clients
    nginx haproxy redis-server postgresql        # servers behind the proxy
    nghttp2-client nghttp2-server                # HTTP/2: nghttp, h2load and nghttpd
    python3-hpack python3-grpcio                 # HTTP/2: header blocks, gRPC
    mariadb-server-core                          # one that speaks first
    dnsmasq-base                                 # names of Services
    prometheus victoria-metrics                  # scrapers; the second one holds vmagent
    bpftrace                                     # watches the probes
    chromium fonts-dejavu-core                   # people, who look at /connections
    clang clang-tidy cppcheck llvm               # make check, make fuzz, readable sanitizer reports
    man-db mandoc                                # man pages
    valgrind                                     # instructions per request
    iptables libnginx-mod-stream nghttp2-proxy   # make bench: what lapse-init and lapse-proxy are compared with
    python3-yaml                                 # another reader of what lapse-proxy inject writes
)
kubernetes=(
    libcap2-bin python3 iproute2 nftables conntrack util-linux procps curl openssl jq # as above
    containerd runc containernetworking-plugins                                       # a node's containers and their network
    etcd-server                                                                       # what kube-apiserver writes into
    busybox-static                                                                    # a shell in the pods under test
    python3-yaml                                                                      # what lapse-proxy inject writes
)
foreign=(
    perl dpkg-dev zlib1g-dev # make insert: curl's tests, fetched as source and built
    varnish                             # make insert: varnishtest, which runs HAProxy's
)
units=(containerd etcd nginx haproxy redis-server postgresql prometheus victoria-metrics varnish varnishncsa)

say() { echo "setup: $*" >&2; }
die() { say "$@"; exit 1; }

case "$*" in
'') wanted=("${build[@]}" "${testing[@]}") ;;
build) wanted=("${build[@]}") ;;
demo) wanted=("${build[@]}" "${demo[@]}") ;;
kubernetes) wanted=("${build[@]}" "${kubernetes[@]}") ;;
insert) wanted=("${build[@]}" "${testing[@]}" "${foreign[@]}") ;;
*) echo "usage: tests/setup.sh [build | demo | kubernetes | insert]" >&2; exit 64 ;;
esac

# Which system: ID and VERSION_ID. Debian testing has no number: as 13.
ID='' VERSION_ID=''
[ -r /etc/os-release ] && . /etc/os-release

llhttp_ready() {
    [ -e /usr/include/llhttp.h ] || { [ -s build/deps/include/llhttp.h ] && [ -s build/deps/lib/libllhttp.a ]; }
}

# Another system: nothing is installed, but what is missing is named.
if [ "$ID" != debian ] || ! command -v apt-get >/dev/null; then
    missing=()
    tools=(cc make)
    [ "$*" = demo ] && tools+=(python3 ip setpriv curl nginx)
    [ "$*" = build ] || [ "$*" = demo ] || tools+=(python3 ip nft conntrack unshare nsenter setpriv setcap strace curl openssl wrk nginx haproxy
        redis-server psql mariadbd nghttp h2load nghttpd dnsmasq prometheus promtool vmagent chromium bpftrace clang clang-tidy cppcheck mandoc valgrind iptables)
    headers=(libnftnl/common.h libmnl/libmnl.h libnetfilter_conntrack/libnetfilter_conntrack.h llhttp.h ares.h yaml.h pcre2.h nghttp2/nghttp2.h sys/sdt.h)
    [ "$*" = build ] || [ "$*" = demo ] || headers+=(cmocka.h jansson.h openssl/ssl.h)
    for tool in "${tools[@]}"; do command -v "$tool" >/dev/null || missing+=("$tool"); done
    for header in "${headers[@]}"; do
        echo "#include <$header>" | cc -x c -DPCRE2_CODE_UNIT_WIDTH=8 -include stdarg.h -include stddef.h -include stdint.h -include setjmp.h \
            -isystem build/deps/include -E - >/dev/null 2>&1 || missing+=("<$header>")
    done
    [ ${#missing[@]} = 0 ] && exit 0
    say "this script knows Debian 12 and 13; here is ${PRETTY_NAME:-another system}, where these are missing: ${missing[*]}"
    say "the Debian packages that hold them: ${wanted[*]} libllhttp-dev (llhttp 9.2 or later)"
    command -v cc >/dev/null && command -v make >/dev/null || exit 1
    say "going on with what there is"
    exit 0
fi

[ "${VERSION_ID:-13}" -ge 12 ] 2>/dev/null || die "Debian $VERSION_ID is too old; Lapse is built and tested on 12 and 13"
if [ "${VERSION_ID:-13}" = 12 ]; then
    clang_runtime=libclang-rt-14-dev # libFuzzer and the sanitizers of clang
else
    clang_runtime=libclang-rt-dev
    wanted+=(libllhttp-dev)
fi
[ "$*" = build ] || [ "$*" = demo ] || [ "$*" = kubernetes ] || wanted+=("$clang_runtime")
# Any Go will do; tests/kubernetes/build.sh has one fetch the Go that builds Kubernetes.
[ "$*" != kubernetes ] || command -v go >/dev/null || wanted+=(golang-go)
if [ "$*" = insert ]; then
    # Python's and Go's own tests; those of a newer Go, where there is one.
    wanted+=("libpython$(/usr/bin/python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || echo 3)-testsuite")
    command -v "${GO:-go}" >/dev/null || wanted+=(golang-go golang-src)
fi

# Rights are asked for only when there is something to do.
as_root=()
need_root() {
    [ "$(id -u)" = 0 ] && return
    command -v sudo >/dev/null || die "needs root or sudo to install: ${missing[*]}"
    sudo -v 2>/dev/null </dev/null || sudo -v || die "sudo refuses; as root: apt-get install --no-install-recommends ${missing[*]}"
    as_root=(sudo)
}

# Services stay as they are while packages are unpacked: policy-rc.d is how Debian is told so. A policy that is already there is
# the owner's and holds; one that a killed run of ours left is cleared away.
policy=/usr/sbin/policy-rc.d
mark='lapse tests/setup.sh, process'
policy_off() {
    local owner
    owner=$(sed -n "s|^# $mark ||p" $policy 2>/dev/null)
    [ -n "$owner" ] || return 0
    [ "$owner" != $$ ] && [ -d "/proc/$owner" ] && return 0
    need_root
    "${as_root[@]}" rm -f $policy
}
policy_on() {
    [ -e $policy ] && return
    printf '#!/bin/sh\n# %s %s\nexit 101\n' "$mark" $$ | "${as_root[@]}" tee $policy >/dev/null &&
        "${as_root[@]}" chmod 755 $policy || die "cannot write $policy, which keeps the installed services from starting"
}

scratch=''
cleanup() {
    policy_off
    [ -z "$scratch" ] || rm -rf "$scratch"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

missing_packages() {
    comm -23 <(printf '%s\n' "${wanted[@]}" | sort -u) \
        <(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${wanted[@]}" 2>/dev/null | sed -n 's/^installed //p' | sort -u)
}

# A service that came with this run must not start at the next boot either.
unit_known() { [ -d /run/systemd/system ] && systemctl cat "$1.service" >/dev/null 2>&1; }

install_packages() {
    local log=build/deps/apt.log new=() unit start=$SECONDS
    local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 LC_ALL=C.UTF-8
        apt-get -q -y -o DPkg::Lock::Timeout=300)
    say "installing ${missing[*]}"
    : >$log || die "cannot write $log"
    for unit in "${units[@]}"; do unit_known "$unit" || new+=("$unit"); done
    # A foreign source that fails is no reason to stop: what we need may still be found.
    "${apt[@]}" update >>$log 2>&1 </dev/null || say "apt-get update had errors; trying all the same"
    policy_on
    if ! "${apt[@]}" install --no-install-recommends "${missing[@]}" >>$log 2>&1 </dev/null; then
        grep -E '^(E|W|Err|dpkg: error)' $log | tail -n 12 >&2
        die "apt-get could not install them; all it said is in $PWD/$log"
    fi
    for unit in "${new[@]}"; do
        unit_known "$unit" && "${as_root[@]}" systemctl --quiet disable "$unit.service" >>$log 2>&1
    done
    policy_off
    say "installed in $((SECONDS - start)) s"
}

# One run at a time: another one may be installing the same things for us.
lock() { mkdir -p build/deps && exec 9>build/deps/.lock && flock 9 || die "cannot write build/deps"; }

mapfile -t missing < <(missing_packages)
if [ ${#missing[@]} -gt 0 ]; then
    lock
    mapfile -t missing < <(missing_packages)
fi
if [ ${#missing[@]} -gt 0 ]; then
    need_root
    install_packages
    mapfile -t missing < <(missing_packages)
    [ ${#missing[@]} = 0 ] || die "apt-get reported success, yet these are not installed: ${missing[*]}"
fi

# Debian 12 has no llhttp. Debian 13's is plain C without versioned symbols, so its header and archive serve here. They are
# fetched, with Debian's signature checked, through an apt of our own beside the system's, from the mirror the system uses.
mirrors() {
    apt-get indextargets --format '$(ORIGIN)|$(CODENAME)|$(RELEASE)|$(COMPONENT)|$(REPO_URI)' 'Identifier: Packages' 2>/dev/null |
        sed -n -E '/^(Debian)?\|(bookworm\|[^|]*|\|(bookworm|stable|oldstable))\|main\|/s/.*\|//p' | grep -v '^cdrom:' | sort -u
}
fetch_llhttp() {
    local mirror archive
    mkdir -p build/deps/include build/deps/lib && scratch=$(mktemp -d "$PWD/build/deps/apt.XXXXXX") || die "cannot write build/deps"
    mkdir -p "$scratch"/{lists,cache/archives}/partial "$scratch/unpacked"
    : >"$scratch/status"
    {
        apt-config dump | grep '^Acquire::' | grep -v '^Acquire::IndexTargets'
        cat <<CONF
            Dir::Etc { main "/dev/null"; parts "/dev/null"; sourcelist "$scratch/sources.list"; sourceparts "/dev/null"; };
            Dir::Etc { preferences "/dev/null"; preferencesparts "/dev/null"; };
            Dir::State "$scratch"; Dir::State::lists "$scratch/lists"; Dir::State::status "$scratch/status";
            Dir::Cache "$scratch/cache"; Acquire::Languages "none"; APT::Sandbox::User "root";
CONF
    } >"$scratch/apt.conf"
    for mirror in $(mirrors); do
        echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" >"$scratch/sources.list"
        (
            export APT_CONFIG=$scratch/apt.conf
            cd "$scratch" && apt-get -q update && apt-get -q download libllhttp-dev && dpkg-deb -x libllhttp-dev_*.deb unpacked
        ) >>"$scratch/log" 2>&1 </dev/null && break
    done
    archive=$(find "$scratch/unpacked" -name libllhttp.a | head -n 1)
    if [ -z "$archive" ] || [ ! -s "$scratch/unpacked/usr/include/llhttp.h" ]; then
        grep -s -E '^(E|W|Err|dpkg)' "$scratch/log" | tail -n 8 >&2
        die "Debian 12 has no llhttp, and Debian 13's libllhttp-dev could not be had from ${mirror:-anywhere: no mirror known}"
    fi
    cp "$scratch/unpacked/usr/share/doc/libllhttp-dev/copyright" build/deps/llhttp.copyright &&
        mv "$archive" build/deps/lib/libllhttp.a &&
        mv "$scratch/unpacked/usr/include/llhttp.h" build/deps/include/llhttp.h || die "cannot write build/deps"
}

if ! llhttp_ready; then
    lock
    llhttp_ready || fetch_llhttp
fi
