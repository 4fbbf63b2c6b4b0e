"""onnx2tf behind pipes: run by the Python of another environment, so it stands alone.

Needs onnx2tf, and nothing of edgeline. First it writes a line of JSON with its `version`, or with
an `error`; then, for each line of JSON that it reads, one with the LiteRT `file` that it wrote, or
with an `error`. A request has:

| field      | what                                                                       |
|------------|----------------------------------------------------------------------------|
| `model`    | the path of the ONNX file                                                  |
| `folder`   | the folder to write                                                        |
| `keep`     | inputs whose sizes stay in their order; the others get their channels last |
| `simplify` | whether onnxsim goes first                                                 |
| `unroll`   | whether recurrent layers become an operator a step, without a kept state   |
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the converter prints is no answer

    def say(message: Mapping[str, object]) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    try:
        import onnx2tf  # noqa: F401

        version = metadata.version("onnx2tf")
    except Exception as error:  # what is lacking in an environment raises whatever it likes
        say({"error": f"{type(error).__name__}: {error}"})
        return
    say({"version": version})
    for line in sys.stdin:
        try:
            say({"file": convert(**json.loads(line))})
        except (Exception, SystemExit) as error:
            say({"error": f"{type(error).__name__}: {error}"})


def convert(model: str, folder: str, keep: list[str], simplify: bool, unroll: bool) -> str:
    """The path of the LiteRT file, in 32-bit floats where the ONNX file has other ones."""
    import onnx2tf

    onnx2tf.convert(
        input_onnx_file_path=model,
        output_folder_path=folder,
        tflite_backend="flatbuffer_direct",
        keep_shape_absolutely_input_names=keep or None,
        not_use_onnxsim=not simplify,
        enable_rnn_unroll=unroll,
        non_verbose=True,
        verbosity="error",
    )
    return str(Path(folder, f"{Path(model).stem}_float32.tflite"))


if __name__ == "__main__":
    main()
