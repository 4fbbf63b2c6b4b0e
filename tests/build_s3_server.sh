#!/bin/sh
# Build the object store that the tests run against, once, into a cache outside the checkout:
# ${EDGELINE_TEST_CACHE:-~/.cache/edgeline-tests}/bin/minio (about 2 minutes and 1.2 GB of
# downloaded modules on 2 cores). Needs Go and its module proxy.
set -eu
version=v0.0.0-20260212201848-7aac2a2c5b7c
bin="${EDGELINE_TEST_CACHE:-$HOME/.cache/edgeline-tests}/bin"
if [ -x "$bin/minio" ]; then
    echo "$bin/minio is there."
    exit 0
fi
if ! command -v go >/dev/null; then
    echo "The real S3 server could not be built: there is no Go." >&2
    exit 1
fi
mkdir -p "$bin"
# Beside its place and then renamed: a build that is cut short leaves nothing behind.
partial="$(mktemp -d "$bin/.build-XXXXXX")"
trap 'rm -rf "$partial"' EXIT
GOBIN="$partial" nice -n 10 go install -trimpath -ldflags='-s -w' "github.com/minio/minio@$version"
mv "$partial/minio" "$bin/minio"
echo "$bin/minio is built."
