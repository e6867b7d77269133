#!/bin/bash
# images.sh BUILD: the images of the pods under test, into $KUBE/images: Lapse's own of the programs in BUILD, the same without its file
# capability, the test application (build.sh testapp) with a shell, and the process that holds a pod's namespaces.
set -eu
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
: "${KUBE:=$here/../../build/kubernetes}"
mkdir -p "$KUBE/images"
image=$here/../../charts/image
"${CC:-cc}" -static -O1 -o "$KUBE/bin/pause" "$here/pause.c"
"$image/image.py" "$KUBE/images/pause.tar" localhost/pause:1 --strip --entrypoint /pause "$KUBE/bin/pause=/pause"
"$image/image.py" "$KUBE/images/testapp.tar" localhost/testapp:1 --entrypoint /testapp "$KUBE/bin/testapp=/testapp" /bin/busybox=/bin/ \
    link:busybox=/bin/{sh,awk,cat,rm,sleep,wget,nc}
"$image/lapse.sh" "$1" "$KUBE/images/lapse.tar" localhost/lapse:1 test
"$image/image.py" "$KUBE/images/lapse-bare.tar" localhost/lapse-bare:1 --strip "$1/lapse-init=/usr/bin/" "$1/lapse-proxy=/usr/bin/"
