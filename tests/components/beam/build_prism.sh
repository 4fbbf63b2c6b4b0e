#!/bin/sh
# Build Prism, Beam's own portable runner, of the version in constraints.txt, once, into a cache
# outside the checkout: ${EDGELINE_TEST_CACHE:-~/.cache/edgeline-tests}/bin/prism (about 2 minutes on
# 2 cores). Needs Go and its module proxy.
set -eu
version="v$(sed -n 's/^apache-beam==\([0-9.]*\).*>=.*/\1/p' "$(dirname "$0")/../../../constraints.txt")"
bin="${EDGELINE_TEST_CACHE:-$HOME/.cache/edgeline-tests}/bin"
if [ -x "$bin/prism" ] && [ "$(cat "$bin/prism.version" 2>/dev/null)" = "$version" ]; then
    echo "$bin/prism is there."
    exit 0
fi
if ! command -v go >/dev/null; then
    echo "Prism could not be built: there is no Go." >&2
    exit 1
fi
mkdir -p "$bin"
# Beside its place and then renamed: a build that is cut short leaves nothing behind.
partial="$(mktemp -d "$bin/.build-XXXXXX")"
trap 'rm -rf "$partial"' EXIT
GOBIN="$partial" nice -n 10 go install -trimpath -ldflags="-s -w" \
    "github.com/apache/beam/sdks/v2/go/cmd/prism@$version"
mv "$partial/prism" "$bin/prism"
echo "$version" >"$bin/prism.version"
echo "$bin/prism is built."
