#!/bin/sh
# What stands for Google's and Azure's stores in the tests, once, into a cache outside the checkout:
# ${EDGELINE_TEST_CACHE:-~/.cache/edgeline-tests}. fake-gcs-server is a Go module (about 2 minutes and
# 300 MB of downloaded modules on 2 cores), Azurite Microsoft's own, of npm (about 100 MB).
set -u
google=v1.56.1 azurite=3.37.0
cache="${EDGELINE_TEST_CACHE:-$HOME/.cache/edgeline-tests}"
mkdir -p "$cache/bin"
failed=0
# Beside its place and then renamed: what is cut short leaves nothing behind.
partial="$(mktemp -d "$cache/.emulators-XXXXXX")"
trap 'rm -rf "$partial"' EXIT
if [ -x "$cache/bin/fake-gcs-server" ]; then
    echo "$cache/bin/fake-gcs-server is there."
elif GOBIN="$partial" nice -n 10 go install -trimpath -ldflags='-s -w' \
    "github.com/fsouza/fake-gcs-server@$google"; then
    mv "$partial/fake-gcs-server" "$cache/bin/fake-gcs-server"
    echo "$cache/bin/fake-gcs-server is built."
else
    echo "fake-gcs-server could not be built." >&2
    failed=1
fi
if [ -x "$cache/azurite-$azurite/node_modules/.bin/azurite-blob" ]; then
    echo "$cache/azurite-$azurite is there."
elif nice -n 10 npm install --silent --no-audit --no-fund --prefix "$partial/azurite" \
    "azurite@$azurite"; then
    rm -rf "$cache/azurite-$azurite"
    mv "$partial/azurite" "$cache/azurite-$azurite"
    echo "$cache/azurite-$azurite is installed."
else
    echo "Azurite could not be installed." >&2
    failed=1
fi
exit $failed
