#!/bin/sh
# Kyverno's definition of its ValidatingPolicy, once, into a cache outside the checkout:
# ${EDGELINE_TEST_CACHE:-~/.cache/edgeline-tests}/kyverno-VERSION. It is in Kyverno's Go module, which is
# downloaded (11 MB) and not built. Needs Go and its module proxy.
set -eu
version=v1.19.1
folder="${EDGELINE_TEST_CACHE:-$HOME/.cache/edgeline-tests}/kyverno-$version"
name=policies.kyverno.io_validatingpolicies.yaml
if [ -f "$folder/$name" ]; then
    echo "$folder/$name is there."
    exit 0
fi
if ! command -v go >/dev/null; then
    echo "Kyverno's schema could not be had: there is no Go." >&2
    exit 1
fi
mkdir -p "$folder"
# Beside its place and then renamed: what is cut short leaves nothing behind.
partial="$(mktemp -d "$folder/.fetch-XXXXXX")"
trap 'rm -rf "$partial"' EXIT
cd "$partial"
go mod download "github.com/kyverno/kyverno@$version"
module="$(go env GOMODCACHE)/github.com/kyverno/kyverno@$version"
cp "$module/config/crds/policies.kyverno.io/$name" "$name"
chmod 644 "$name"
mv "$name" "$folder/$name"
echo "$folder/$name is there."
