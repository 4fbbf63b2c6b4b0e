#!/bin/sh
# Debian for arm64 with Python and the packages of edgeline[convert,serve], to be entered by chroot:
# ${EDGELINE_TEST_CACHE:-~/.cache/edgeline-tests}/arm64-DIGEST, by the digest of the lock, of
# setup.cfg and of this script (3 GB). Prints its path; does nothing where it is there already.
# Needs root, apt, and a kernel in which QEMU can be registered.
set -eu
cd "$(dirname "$0")/../.."
digest="$(cat constraints.txt setup.cfg tests/arm64/build_root.sh | sha256sum | cut -c1-16)"
cache="${EDGELINE_TEST_CACHE:-$HOME/.cache/edgeline-tests}"
root="$cache/arm64-$digest"
tests/images/emulate_arm64.sh >&2 # again after each start of the machine
if [ ! -d "$root" ]; then
    mkdir -p "$cache/images"
    partial="$(mktemp -d "$cache/.arm64-XXXXXX")"
    trap 'rm -rf "$partial"' EXIT
    tests/images/base.sh arm64 "$cache/images/base-arm64.tar" >&2
    tar --extract --numeric-owner --exclude='./dev/*' --file "$cache/images/base-arm64.tar" \
        --directory "$partial"
    # for the root's Python and C library; what is not pure Python comes as a wheel for arm64
    nice -n 10 .venv/bin/uv pip install --quiet --target "$partial/opt/packages" \
        --python-version 3.11 --python-platform aarch64-manylinux_2_36 \
        --constraints constraints.txt --requirements setup.cfg --extra convert --extra serve \
        --compile-bytecode >&2
    mkdir "$partial/opt/edgeline" "$partial/work"
    chmod 755 "$partial"
    mv "$partial" "$root"
    trap - EXIT
fi
echo "$root"
