#!/bin/sh
# Install checkov for the tests of what it finds, once, into an environment of its own in a cache
# outside the checkout: ${EDGELINE_TEST_CACHE:-~/.cache/edgeline-tests}/checkov-VERSION (a minute and
# 500 MB). Its dependencies do not go together with edgeline's.
set -eu
version=3.3.30
cache="${EDGELINE_TEST_CACHE:-$HOME/.cache/edgeline-tests}"
target="$cache/checkov-$version"
if [ -f "$target/ready" ]; then
    echo "$target is there."
    exit 0
fi
mkdir -p "$cache"
"${PYTHON:-python3}" -m venv --clear "$target"
"$target/bin/python" -m pip install --quiet --disable-pip-version-check "checkov==$version"
touch "$target/ready"
echo "$target is installed."
