#!/bin/sh
# Build Kubernetes' API server for the cluster's tests, once, into a cache outside the checkout:
# ${EDGELINE_TEST_CACHE:-~/.cache/edgeline-tests}/bin/kube-apiserver. About 5 minutes of one
# core, and the download of its modules. Needs Go and its module proxy.
set -eu
minor=34 patch=1
bin="${EDGELINE_TEST_CACHE:-$HOME/.cache/edgeline-tests}/bin"
if [ -x "$bin/kube-apiserver" ]; then
    echo "$bin/kube-apiserver is there."
    exit 0
fi
if ! command -v go >/dev/null; then
    echo "Kubernetes' API server could not be built: there is no Go." >&2
    exit 1
fi
mkdir -p "$bin"
# Beside its place and then renamed: a build that is cut short leaves nothing behind.
partial="$(mktemp -d "$bin/.build-XXXXXX")"
trap 'rm -rf "$partial"' EXIT
cd "$partial"
cat >tools.go <<EOF
//go:build tools

package tools

import _ "k8s.io/kubernetes/cmd/kube-apiserver"
EOF
go mod init edgeline.dev/kube
go mod edit -require "k8s.io/kubernetes@v1.$minor.$patch"
# Its own modules are folders of its repository, which a program outside takes as modules.
go mod download "k8s.io/kubernetes@v1.$minor.$patch"
modules="$(sed -n 's|^[[:space:]]*\(k8s.io/[^ ]*\) => ./staging/.*|\1|p' \
    "$(go env GOMODCACHE)/cache/download/k8s.io/kubernetes/@v/v1.$minor.$patch.mod")"
for module in $modules; do
    go mod edit -replace "$module=$module@v0.$minor.$patch"
done
nice -n 10 go mod tidy
version=k8s.io/component-base/version
nice -n 10 go build -trimpath -o kube-apiserver -ldflags "-s -w \
    -X $version.gitVersion=v1.$minor.$patch \
    -X $version.gitMajor=1 -X $version.gitMinor=$minor" k8s.io/kubernetes/cmd/kube-apiserver
mv kube-apiserver "$bin/kube-apiserver"
echo "$bin/kube-apiserver is built."
