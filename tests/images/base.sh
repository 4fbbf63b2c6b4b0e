#!/bin/sh
# Debian with Python as a tar file, the stand-in for the pinned base: base.sh ARCHITECTURE FILE
set -eu
[ ! -f "$2" ] || exit 0
command -v mmdebstrap >/dev/null || {
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends mmdebstrap >/dev/null
}
# emulate_arm64.sh has registered QEMU so that no root needs it inside, which mmdebstrap cannot tell
mmdebstrap --quiet --variant=minbase --architectures="$1" --include=python3,ca-certificates \
    --skip=check/qemu \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*' \
    bookworm "$2.partial.tar"
mv "$2.partial.tar" "$2"
