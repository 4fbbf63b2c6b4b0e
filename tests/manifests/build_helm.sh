#!/bin/sh
# Build Helm for the tests of the chart, once, into a cache outside the checkout:
# ${EDGELINE_TEST_CACHE:-~/.cache/edgeline-tests}/bin/helm (about 2 minutes of one core, and the
# download of its modules). Another version is built in the place of the one that is there.
# Needs Go and its module proxy.
set -eu
version=v3.22.0
kubernetes=37 # 1.37: the minor version of k8s.io/client-go in its go.mod
bin="${EDGELINE_TEST_CACHE:-$HOME/.cache/edgeline-tests}/bin"
if [ -x "$bin/helm" ] && [ "$(cat "$bin/helm.version" 2>/dev/null)" = "$version" ]; then
    echo "$bin/helm is there."
    exit 0
fi
if ! command -v go >/dev/null; then
    echo "Helm could not be built: there is no Go." >&2
    exit 1
fi
mkdir -p "$bin"
# Beside its place and then renamed: a build that is cut short leaves nothing behind.
partial="$(mktemp -d "$bin/.build-XXXXXX")"
trap 'rm -rf "$partial"' EXIT
# As its Makefile does it: without the flags it would take every cluster for Kubernetes 1.20.
flags="-s -w -X helm.sh/helm/v3/internal/version.version=$version"
for package in chartutil lint/rules; do
    flags="$flags -X helm.sh/helm/v3/pkg/$package.k8sVersionMajor=1"
    flags="$flags -X helm.sh/helm/v3/pkg/$package.k8sVersionMinor=$kubernetes"
done
GOBIN="$partial" CGO_ENABLED=0 nice -n 10 go install -trimpath -ldflags="$flags" \
    "helm.sh/helm/v3/cmd/helm@$version"
mv "$partial/helm" "$bin/helm"
echo "$version" >"$bin/helm.version"
echo "$bin/helm is built."
