#!/bin/sh
# Build grpcurl, which asks a gRPC server by its reflection, once, into a cache outside the checkout:
# ${EDGELINE_TEST_CACHE:-~/.cache/edgeline-tests}/bin/grpcurl (about a minute on 2 cores). Needs Go
# and its module proxy.
set -eu
version=v1.9.3
exec "$(dirname "$0")/../go_install.sh" grpcurl \
    github.com/fullstorydev/grpcurl/cmd/grpcurl "$version"
