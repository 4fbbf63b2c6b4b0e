#!/bin/sh
# Build h2spec, which holds a server to HTTP/2, once, into a cache outside the checkout:
# ${EDGELINE_TEST_CACHE:-~/.cache/edgeline-tests}/bin/h2spec (about half a minute on 2 cores). Needs
# Go and its module proxy.
set -eu
version=v2.2.1+incompatible
bin="${EDGELINE_TEST_CACHE:-$HOME/.cache/edgeline-tests}/bin"
if [ -x "$bin/h2spec" ] && [ "$(cat "$bin/h2spec.version" 2>/dev/null)" = "$version" ]; then
    echo "$bin/h2spec is there."
    exit 0
fi
if ! command -v go >/dev/null; then
    echo "h2spec could not be built: there is no Go." >&2
    exit 1
fi
mkdir -p "$bin"
# Beside its place and then renamed: a build that is cut short leaves nothing behind.
partial="$(mktemp -d "$bin/.build-XXXXXX")"
trap 'rm -rf "$partial"' EXIT
GOBIN="$partial" nice -n 10 go install -trimpath -ldflags="-s -w" \
    "github.com/summerwind/h2spec/cmd/h2spec@$version"
mv "$partial/h2spec" "$bin/h2spec"
echo "$version" > "$bin/h2spec.version"
echo "$bin/h2spec is built."
