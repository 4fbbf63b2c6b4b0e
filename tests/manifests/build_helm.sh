#!/bin/sh
# Build Helm for the tests of the chart, once, into a cache outside the checkout:
# ${EDGELINE_TEST_CACHE:-~/.cache/edgeline-tests}/bin/helm (about 2 minutes of one core, and the
# download of its modules). Another version is built in the place of the one that is there.
# Needs Go and its module proxy.
set -eu
version=v3.22.0
kubernetes=37 # 1.37: the minor version of k8s.io/client-go in its go.mod
# As its Makefile does it: without the flags it would take every cluster for Kubernetes 1.20.
flags="-X helm.sh/helm/v3/internal/version.version=$version"
for package in chartutil lint/rules; do
    flags="$flags -X helm.sh/helm/v3/pkg/$package.k8sVersionMajor=1"
    flags="$flags -X helm.sh/helm/v3/pkg/$package.k8sVersionMinor=$kubernetes"
done
export CGO_ENABLED=0
exec "$(dirname "$0")/../go_install.sh" helm helm.sh/helm/v3/cmd/helm "$version" "$flags"
