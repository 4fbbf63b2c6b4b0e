#!/bin/sh
# tflite-runtime in an environment of its own, as it needs numpy below 2: what
# EDGELINE_TFLITE_RUNTIME_PYTHON may point to. Needs Python 3.10 or 3.11.
# Prints the path of its Python; does nothing where it is there already.
set -eu
folder="${EDGELINE_TEST_CACHE:-$HOME/.cache/edgeline-tests}/tflite-runtime"
python="$folder/bin/python"
wanted="numpy==1.26.4 tflite-runtime==2.14.0"
if [ ! -x "$python" ] || [ "$(cat "$folder/wanted" 2>/dev/null)" != "$wanted" ]; then
    "${PYTHON:-python3}" -m venv --clear "$folder" >&2
    # shellcheck disable=SC2086
    "$python" -m pip install --quiet --disable-pip-version-check $wanted >&2
    echo "$wanted" > "$folder/wanted"
fi
echo "$python"
