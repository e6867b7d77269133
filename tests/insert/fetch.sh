#!/bin/bash
# Fetches a Debian source package and unpacks it: `tests/insert/fetch.sh PACKAGE DIRECTORY`. Through an apt of its own beside the
# system's, from the mirror the system uses and with Debian's signature checked, as tests/setup.sh does for llhttp; silent when the
# directory is there already.
set -u
[ $# = 2 ] || { echo 'usage: fetch.sh PACKAGE DIRECTORY' >&2; exit 64; }
package=$1 directory=$2
[ -e "$directory/.fetched" ] && exit 0
mkdir -p "$(dirname "$directory")" && parent=$(cd "$(dirname "$directory")" && pwd) || exit 1
scratch=$(mktemp -d "$parent/apt.XXXXXX") || exit 1
trap 'rm -rf "$scratch"' EXIT
VERSION_CODENAME=''
. /etc/os-release
mkdir -p "$scratch"/{lists,cache/archives}/partial
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
for mirror in $(apt-get indextargets --format '$(COMPONENT)|$(CODENAME)|$(REPO_URI)' 'Identifier: Packages' |
    sed -n "s/^main|$VERSION_CODENAME|//p" | sort -u); do
    echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $VERSION_CODENAME main" >"$scratch/sources.list"
    (
        export APT_CONFIG=$scratch/apt.conf
        cd "$scratch" && apt-get -q update && apt-get -q --download-only source "$package" &&
            dpkg-source --no-check -x ./*.dsc unpacked
    ) >>"$scratch/log" 2>&1 </dev/null && break
done
if [ ! -d "$scratch/unpacked" ]; then
    grep -s -E '^(E|W|Err|dpkg)' "$scratch/log" | tail -n 8 >&2
    echo "insert: the source of Debian's $package could not be had from ${mirror:-anywhere: no mirror known}" >&2
    exit 1
fi
rm -rf "$directory" && mv "$scratch/unpacked" "$directory" && : >"$directory/.fetched"
