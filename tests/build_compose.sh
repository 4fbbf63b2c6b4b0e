#!/bin/sh
# Build docker compose for the tests, once, into a cache outside the checkout, as a plugin of the
# docker command: ${EDGELINE_TEST_CACHE:-~/.cache/edgeline-tests}/docker/cli-plugins (about 2
# minutes on 2 cores). Needs Go and its module proxy. Debian's own is version 1, of 2021.
set -eu
version=v2.29.7
plugins="${EDGELINE_TEST_CACHE:-$HOME/.cache/edgeline-tests}/docker/cli-plugins"
if [ -x "$plugins/docker-compose" ]; then
    echo "$plugins/docker-compose is there."
    exit 0
fi
if ! command -v go >/dev/null; then
    echo "docker compose could not be built: there is no Go." >&2
    exit 1
fi
mkdir -p "$plugins"
# Beside its place and then renamed: a build that is cut short leaves nothing behind.
partial="$(mktemp -d "$plugins/.build-XXXXXX")"
trap 'rm -rf "$partial"' EXIT
GOBIN="$partial" nice -n 10 go install -trimpath \
    -ldflags="-s -w -X github.com/docker/compose/v2/internal.Version=$version" \
    "github.com/docker/compose/v2/cmd@$version"
mv "$partial/cmd" "$plugins/docker-compose"
echo "$plugins/docker-compose is built."
