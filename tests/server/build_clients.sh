#!/bin/sh
# The clients whose every call the server has to answer, in an environment of their own.
# Prints the path of its Python; does nothing where it is there already.
set -eu
folder="${EDGELINE_TEST_CACHE:-$HOME/.cache/edgeline-tests}/clients"
python="$folder/bin/python"
wanted="tritonclient[http,grpc]==2.73.0 kserve==0.21.0"
stubs="tensorflow-serving-api==2.21.0"  # only its stubs, for an environment with TensorFlow
if [ ! -x "$python" ] || [ "$(cat "$folder/wanted" 2>/dev/null)" != "$wanted $stubs" ]; then
    "${PYTHON:-python3}" -m venv --clear "$folder" >&2
    # shellcheck disable=SC2086
    "$python" -m pip install --quiet --disable-pip-version-check $wanted >&2
    "$python" -m pip install --quiet --disable-pip-version-check --no-deps \
        --target "$folder/tfserving" "$stubs" >&2
    echo "$wanted $stubs" > "$folder/wanted"
fi
echo "$python"
