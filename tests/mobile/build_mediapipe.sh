#!/bin/sh
# MediaPipe, whose tasks run the files that `edgeline mobile` writes: in an environment of its own,
# once, into a cache outside the checkout.
# Prints the path of its Python; does nothing where it is there already.
set -eu
lock="$(dirname "$0")/mediapipe.lock"
digest="$(sha256sum "$lock" | cut -c1-16)"
folder="${EDGELINE_TEST_CACHE:-$HOME/.cache/edgeline-tests}/mediapipe-$digest"
python="$folder/bin/python"
if [ ! -f "$folder/complete" ]; then
    "${PYTHON:-python3}" -m venv --clear "$folder" >&2
    "$python" -m pip install --quiet --disable-pip-version-check uv >&2
    nice -n 10 "$python" -m uv pip install --quiet --python "$python" --require-hashes \
        --only-binary :all: --requirement "$lock" >&2
    touch "$folder/complete"
fi
echo "$python"
