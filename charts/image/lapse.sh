#!/bin/bash
# lapse.sh BUILD OUT.tar NAME:TAG VERSION: the image of the two programs in BUILD, their shared libraries and nothing else.
# No user: pods set 2102 for the proxy, and `kubectl debug` runs as root, where it has to. lapse-init's capability is permitted
# and not effective, so that it runs, and speaks, where a pod does not give it.
set -eu
exec "$(dirname "${BASH_SOURCE[0]}")/image.py" "$2" "$3" --strip --cmd lapse-proxy --capability /usr/bin/lapse-init=net_admin+p \
    --label org.opencontainers.image.title=Lapse --label org.opencontainers.image.version="$4" \
    --label org.opencontainers.image.description='A transparent sidecar that governs how long connections live and says why one ended' \
    --label org.opencontainers.image.licenses='Apache-2.0 AND GPL-3.0-or-later' \
    "$1/lapse-init=/usr/bin/" "$1/lapse-proxy=/usr/bin/"
