#!/bin/sh
# TFDV's validator, which the tests of validate compare with: the extension module of its wheel, in
# a cache outside the checkout. Alone it needs neither TensorFlow nor any other package, but
# Python 3.11 on Linux. Prints the path of the module; does nothing where it is there already.
set -eu
lock="$(dirname "$0")/tfdv.lock"
digest="$(sha256sum "$lock" | cut -c1-16)"
folder="${EDGELINE_TEST_CACHE:-$HOME/.cache/edgeline-tests}/tfdv-$digest"
name="tensorflow_data_validation_extension.so"
if [ ! -f "$folder/$name" ]; then
    mkdir -p "$folder"
    # Beside its place and then renamed: a download that is cut short leaves nothing behind.
    partial="$(mktemp -d "$folder/.build-XXXXXX")"
    trap 'rm -rf "$partial"' EXIT
    "${PYTHON:-python3}" -m pip download --quiet --disable-pip-version-check --no-deps \
        --require-hashes --only-binary :all: --python-version 3.11 \
        --platform manylinux2014_x86_64 --dest "$partial" --requirement "$lock" >&2
    "${PYTHON:-python3}" -m zipfile --extract "$partial"/*.whl "$partial"
    mv "$partial/tensorflow_data_validation/pywrap/$name" "$folder/$name"
fi
echo "$folder/$name"
