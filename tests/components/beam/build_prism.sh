#!/bin/sh
# Build Prism, Beam's own portable runner, of the version in constraints.txt, once, into a cache
# outside the checkout: ${EDGELINE_TEST_CACHE:-~/.cache/edgeline-tests}/bin/prism (about 2 minutes on
# 2 cores). Needs Go and its module proxy.
set -eu
version="v$(sed -n 's/^apache-beam==\([0-9.]*\).*>=.*/\1/p' "$(dirname "$0")/../../../constraints.txt")"
exec "$(dirname "$0")/../../go_install.sh" prism \
    github.com/apache/beam/sdks/v2/go/cmd/prism "$version"
