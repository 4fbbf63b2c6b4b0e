#!/usr/bin/env bash
# Build images for their tests: tests/images/build.sh NAME...
#
# Where no Docker engine answers, Debian's is installed and started (as root; its log and process
# id are kept in ${EDGELINE_TEST_CACHE:-~/.cache/edgeline-tests}/images). Where the registry of
# the pinned bases cannot be reached, Debian with Python stands in, and uv from PyPI: the sizes
# are then those of that base.
set -euo pipefail
cd "$(dirname "$0")/../.."
cache="${EDGELINE_TEST_CACHE:-$HOME/.cache/edgeline-tests}/images"
mkdir -p "$cache"
PATH="/usr/bin:$PATH" # Debian's docker command can use BuildKit without a plugin

if ! docker info >/dev/null 2>&1; then
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || { echo "No Docker engine." >&2; exit 1; }
  command -v dockerd >/dev/null || {
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
      docker.io iptables ca-certificates >/dev/null
  }
  setsid nohup dockerd --default-ulimit nofile=1024:1024 >"$cache/dockerd.log" 2>&1 </dev/null &
  echo $! >"$cache/dockerd.pid"
  for _ in $(seq 60); do docker info >/dev/null 2>&1 && break || sleep 1; done
  docker info >/dev/null || { tail -5 "$cache/dockerd.log" >&2; exit 1; }
  # what a run of the tests has left that was ended with its engine comes back with this one
  docker ps --all --quiet --filter name=^edgeline-test- | xargs --no-run-if-empty docker rm --force
fi

# an index of packages and a CA of this machine reach the build as secrets; the tests look for
# the first line in the layers
echo "# no layer keeps this line" >"$cache/uv.toml"
if index="$(.venv/bin/python -m pip config get global.index-url 2>/dev/null)"; then
  echo "index-url = \"$index\"" >>"$cache/uv.toml"
fi
options=(--uv-config "$cache/uv.toml")
ca="${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}"
[ ! -f "$ca" ] || options+=(--ca "$ca")

base="$(sed -n 's/^ARG BASE_IMAGE=//p' images/pipeline/Containerfile)"
if ! timeout 60 docker pull --quiet "$base" >/dev/null 2>&1; then
  echo "$base cannot be pulled: Debian's Python stands in."
  if ! docker image inspect edgeline-base >/dev/null 2>&1; then
    tests/images/base.sh "$(dpkg --print-architecture)" "$cache/base.tar"
    docker import "$cache/base.tar" edgeline-base >/dev/null
  fi
  docker image inspect edgeline-uv >/dev/null 2>&1 || {
    uv="$(command -v .venv/bin/uv || command -v uv)"
    tar --create --dereference --file "$cache/uv.tar" --directory "$(dirname "$uv")" uv
    docker import "$cache/uv.tar" edgeline-uv >/dev/null
  }
  options+=(--base-image edgeline-base --uv-image edgeline-uv)
fi

nice .venv/bin/edgeline images build "$@" "${options[@]}"
docker image prune --force >/dev/null # what these replace
# a commit's copies of train and compile are 8 GB, which an engine of our own would keep for ever
[ ! -f "$cache/dockerd.pid" ] || docker builder prune --force --keep-storage 20GB >/dev/null
