#!/bin/sh
# TensorBoard in an environment of its own, once, into a cache outside the checkout:
# ${EDGELINE_TEST_CACHE:-~/.cache/edgeline-tests}/tensorboard-DIGEST, by the digest of its lock (half
# a minute and 200 MB). Prints the path of its command; does nothing where it is there already.
set -eu
lock="$(dirname "$0")/tensorboard.lock"
digest="$(sha256sum "$lock" | cut -c1-16)"
folder="${EDGELINE_TEST_CACHE:-$HOME/.cache/edgeline-tests}/tensorboard-$digest"
if [ ! -f "$folder/ready" ]; then
    # An environment knows its own place, so it is made there: one that is cut short is not ready.
    "${PYTHON:-python3}" -m venv --clear "$folder" >&2
    "$folder/bin/python" -m pip install --quiet --disable-pip-version-check uv >&2
    nice -n 10 "$folder/bin/uv" pip install --quiet --python "$folder/bin/python" \
        --require-hashes --requirement "$lock" >&2
    touch "$folder/ready"
fi
echo "$folder/bin/tensorboard"
