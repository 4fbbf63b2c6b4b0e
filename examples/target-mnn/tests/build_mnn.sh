#!/bin/sh
# MNN's wheel as a folder for PYTHONPATH, once, into a cache outside the checkout: it goes beside the
# edgeline that runs the tests, whose numpy it takes.
# Prints the folder; does nothing where it is there already.
set -eu
lock="$(dirname "$0")/mnn.lock"
digest="$(sha256sum "$lock" | cut -c1-16)"
python="${PYTHON:-python3}"
tag="$("$python" -c 'import sys; print(sys.implementation.cache_tag)')" # a wheel is of one Python
folder="${EDGELINE_TEST_CACHE:-$HOME/.cache/edgeline-tests}/target-mnn-$digest-$tag"
if [ ! -f "$folder/complete" ]; then
    rm -rf "$folder"
    nice -n 10 "$python" -m pip install --quiet --disable-pip-version-check --no-deps \
        --require-hashes --only-binary :all: --requirement "$lock" --target "$folder" >&2
    touch "$folder/complete"
fi
echo "$folder"
