#!/bin/sh
# Build a program of a Go module once, into a cache outside the checkout:
# tests/go_install.sh NAME PACKAGE VERSION [LDFLAGS], into
# ${EDGELINE_TEST_CACHE:-~/.cache/edgeline-tests}/bin/NAME. Another version is built in the place of the
# one that is there. Needs Go and its module proxy.
set -eu
name="$1" package="$2" version="$3" flags="-s -w ${4:-}"
bin="${EDGELINE_TEST_CACHE:-$HOME/.cache/edgeline-tests}/bin"
if [ -x "$bin/$name" ] && [ "$(cat "$bin/$name.version" 2>/dev/null)" = "$version" ]; then
    echo "$bin/$name is there."
    exit 0
fi
if ! command -v go >/dev/null; then
    echo "$name could not be built: there is no Go." >&2
    exit 1
fi
mkdir -p "$bin"
# Beside its place and then renamed: a build that is cut short leaves nothing behind.
partial="$(mktemp -d "$bin/.build-XXXXXX")"
trap 'rm -rf "$partial"' EXIT
GOBIN="$partial" nice -n 10 go install -trimpath -ldflags="$flags" "$package@$version"
mv "$partial/$name" "$bin/$name"
echo "$version" >"$bin/$name.version"
echo "$bin/$name is built."
