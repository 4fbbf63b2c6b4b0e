#!/bin/sh
# model_signing and CycloneDX's own library, which read what publish writes for them: in an
# environment of their own, as they need another protobuf than TensorFlow.
# Prints the path of its Python; does nothing where it is there already.
set -eu
lock="$(dirname "$0")/referees.lock"
digest="$(sha256sum "$lock" | cut -c1-16)"
folder="${EDGELINE_TEST_CACHE:-$HOME/.cache/edgeline-tests}/publish-referees-$digest"
python="$folder/bin/python"
if [ ! -f "$folder/complete" ]; then
    "${PYTHON:-python3}" -m venv --clear "$folder" >&2
    "$python" -m pip install --quiet --disable-pip-version-check uv >&2
    "$python" -m uv pip install --quiet --python "$python" --no-deps \
        --only-binary :all: --requirement "$lock" >&2
    touch "$folder/complete"
fi
echo "$python"
