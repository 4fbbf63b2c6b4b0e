#!/bin/sh
# Build h2spec, which holds a server to HTTP/2, once, into a cache outside the checkout:
# ${EDGELINE_TEST_CACHE:-~/.cache/edgeline-tests}/bin/h2spec (about half a minute on 2 cores). Needs
# Go and its module proxy.
set -eu
version=v2.2.1+incompatible
exec "$(dirname "$0")/../go_install.sh" h2spec \
    github.com/summerwind/h2spec/cmd/h2spec "$version"
