#!/bin/sh
# onnx2tf in an environment of its own, as its packages cannot stand beside TensorFlow's: what
# EDGELINE_ONNX2TF_PYTHON may point to. Needs Python 3.12; where there is none, uv fetches one.
# Prints the path of its Python; does nothing where it is there already.
set -eu
lock="$(dirname "$0")/onnx2tf.lock"
digest="$(sha256sum "$lock" | cut -c1-16)"
folder="${EDGELINE_TEST_CACHE:-$HOME/.cache/edgeline-tests}/onnx2tf-$digest"
python="$folder/bin/python"
if [ ! -f "$folder/complete" ]; then
    rm -rf "$folder"
    "${PYTHON:-python3}" -m venv "$folder/uv" >&2
    "$folder/uv/bin/python" -m pip install --quiet --disable-pip-version-check uv >&2
    uv="$folder/uv/bin/uv"
    found="$(ls -d "$HOME"/.pyenv/versions/3.12.*/bin/python 2>/dev/null | tail -1)"
    "$uv" venv --quiet --allow-existing --python "${found:-3.12}" "$folder" >&2
    nice -n 10 "$uv" pip install --quiet --python "$python" --require-hashes \
        --only-binary :all: --requirement "$lock" >&2
    "$python" -I -c "import onnx2tf" >&2
    rm -rf "$folder/uv"
    touch "$folder/complete"
fi
echo "$python"
