#!/bin/sh
# Build cosign, which signs images, once, into a cache outside the checkout:
# ${EDGELINE_TEST_CACHE:-~/.cache/edgeline-tests}/bin/cosign (about 3 minutes on 2 cores). Needs Go
# and its module proxy.
set -eu
version=v3.0.6
exec "$(dirname "$0")/../go_install.sh" cosign github.com/sigstore/cosign/v3/cmd/cosign "$version"
