#!/bin/sh
# Let this kernel start programs for arm64, by QEMU's user emulation, as Docker's arm64 images need.
#
# LiteRT reads /proc/cpuinfo, and crashes where that of another architecture is shown. QEMU shows
# an Arm's from 8.1 on, Debian 12 has 7.2, so QEMU is Debian 13's: one static program, kept in
# ${EDGELINE_TEST_CACHE:-~/.cache/edgeline-tests}/bin. It stays registered until the machine is
# restarted; `echo -1 >/proc/sys/fs/binfmt_misc/edgeline-arm64` takes it away. Needs root and apt.
set -eu
[ "$(uname -m)" != aarch64 ] || exit 0
binfmt=/proc/sys/fs/binfmt_misc
bin="${EDGELINE_TEST_CACHE:-$HOME/.cache/edgeline-tests}/bin"
[ ! -f "$binfmt/edgeline-arm64" ] || exit 0
[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || { echo "arm64 is not emulated: needs root and apt." >&2; exit 1; }

if [ ! -x "$bin/qemu-aarch64" ]; then
    mkdir -p "$bin"
    partial="$(mktemp -d "$bin/.qemu-XXXXXX")"
    trap 'rm -rf "$partial"' EXIT
    mkdir -p "$partial/lists/partial" "$partial/archives/partial"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]" \
        "http://deb.debian.org/debian trixie main" >"$partial/trixie.list"
    apt() { # Debian 13's packages, without a trace in this machine's own lists
        (cd "$partial" && apt-get -qq -o APT::Sandbox::User=root -o Acquire::Languages=none \
            -o Dir::Etc::SourceList="$partial/trixie.list" -o Dir::Etc::SourceParts=/dev/null \
            -o Dir::State::Lists="$partial/lists" -o Dir::Cache="$partial" "$@")
    }
    apt update
    apt download qemu-user
    dpkg-deb --extract "$partial"/qemu-user_*.deb "$partial/root"
    mv "$partial/root/usr/bin/qemu-aarch64" "$bin/qemu-aarch64"
fi

[ -f "$binfmt/register" ] || mount -t binfmt_misc binfmt_misc "$binfmt"
# an ELF file of 64 bits for machine 0xb7; F: opened now, so it works inside containers
magic='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
printf '%s' ":edgeline-arm64:M::$magic:$mask:$bin/qemu-aarch64:FP" >"$binfmt/register"
