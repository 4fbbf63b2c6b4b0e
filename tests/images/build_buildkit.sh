#!/bin/sh
# Build BuildKit and Docker's buildx for the tests of what is pushed, once, into a cache outside
# the checkout: ${EDGELINE_TEST_CACHE:-~/.cache/edgeline-tests}/bin/{buildkitd,docker-buildx}.
# About 5 minutes of two cores, and the download of their modules. Needs Go and its module proxy.
set -eu
buildkit=v0.25.1 buildx=v0.26.1
bin="${EDGELINE_TEST_CACHE:-$HOME/.cache/edgeline-tests}/bin"
if [ -x "$bin/buildkitd" ] && [ -x "$bin/docker-buildx" ]; then
    echo "$bin/buildkitd and $bin/docker-buildx are there."
    exit 0
fi
if ! command -v go >/dev/null; then
    echo "BuildKit could not be built: there is no Go." >&2
    exit 1
fi
mkdir -p "$bin"
# Beside its place and then renamed: a build that is cut short leaves nothing behind.
partial="$(mktemp -d "$bin/.build-XXXXXX")"
trap 'rm -rf "$partial"' EXIT
cd "$partial"
export CGO_ENABLED=0
build() { # a command of a module, in a module of its own: `go install` refuses their go.mod
    mkdir "$3" && cd "$3"
    go mod init edgeline.dev/tool
    go get "$1@$2"
    nice -n 10 go build -trimpath -ldflags='-s -w' -o "../$3.built" "$1"
    cd ..
    mv "$3.built" "$bin/$3"
}
build github.com/moby/buildkit/cmd/buildkitd "$buildkit" buildkitd
build github.com/docker/buildx/cmd/buildx "$buildx" docker-buildx
echo "$bin/buildkitd and $bin/docker-buildx are built."
