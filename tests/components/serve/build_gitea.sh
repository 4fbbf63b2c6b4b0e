#!/bin/sh
# Build Gitea for the tests of pull requests, once, into a cache outside the checkout:
# ${EDGELINE_TEST_CACHE:-~/.cache/edgeline-tests}/gitea-VERSION: the program, and the texts and pages
# that it reads when it starts. Needs Go and its module proxy.
set -eu
version=v1.27.3
cache="${EDGELINE_TEST_CACHE:-$HOME/.cache/edgeline-tests}"
target="$cache/gitea-$version"
if [ -x "$target/gitea" ]; then
    echo "$target is there."
    exit 0
fi
if ! command -v go >/dev/null; then
    echo "Gitea could not be built: there is no Go." >&2
    exit 1
fi
mkdir -p "$cache"
# Beside its place and then renamed: a build that is cut short leaves nothing behind.
partial="$(mktemp -d "$cache/.gitea-XXXXXX")"
trap 'chmod -R u+w "$partial"; rm -rf "$partial"' EXIT
# `go install` refuses a module that replaces others, as Gitea's does, so it is built in its own folder.
go mod download "code.gitea.io/gitea@$version"
cp -R "$(go env GOMODCACHE)/code.gitea.io/gitea@$version" "$partial/source"
chmod -R u+w "$partial/source"
mkdir "$partial/gitea"
(cd "$partial/source" && CGO_ENABLED=0 nice -n 10 go build -trimpath -ldflags='-s -w' -o "$partial/gitea/gitea" .)
mv "$partial/source/templates" "$partial/source/options" "$partial/source/public" "$partial/gitea"
rm -rf "$target"
mv "$partial/gitea" "$target"
echo "$target is built."
