#!/bin/sh
# Build grpcurl, which asks a gRPC server by its reflection, once, into a cache outside the checkout:
# ${EDGELINE_TEST_CACHE:-~/.cache/edgeline-tests}/bin/grpcurl (about a minute on 2 cores). Needs Go
# and its module proxy.
set -eu
version=v1.9.3
bin="${EDGELINE_TEST_CACHE:-$HOME/.cache/edgeline-tests}/bin"
if [ -x "$bin/grpcurl" ] && [ "$(cat "$bin/grpcurl.version" 2>/dev/null)" = "$version" ]; then
    echo "$bin/grpcurl is there."
    exit 0
fi
if ! command -v go >/dev/null; then
    echo "grpcurl could not be built: there is no Go." >&2
    exit 1
fi
mkdir -p "$bin"
# Beside its place and then renamed: a build that is cut short leaves nothing behind.
partial="$(mktemp -d "$bin/.build-XXXXXX")"
trap 'rm -rf "$partial"' EXIT
GOBIN="$partial" nice -n 10 go install -trimpath -ldflags="-s -w" \
    "github.com/fullstorydev/grpcurl/cmd/grpcurl@$version"
mv "$partial/grpcurl" "$bin/grpcurl"
echo "$version" > "$bin/grpcurl.version"
echo "$bin/grpcurl is built."
