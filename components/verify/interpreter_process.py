"""tflite-runtime behind pipes: run by the Python of another environment, so it stands alone.

Needs numpy and tflite_runtime (or ai_edge_litert), and nothing of edgeline. First it writes the
signature as a line of JSON; then, for each request (8 bytes of length, little endian, and an
.npz as `runtimes.pack` makes it), a line of JSON with the length of the .npz that follows and
the seconds that the interpreter took, or an `error`.
"""

from __future__ import annotations

import io
import json
import os
import struct
import sys
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

try:
    from tflite_runtime.interpreter import Interpreter
except ImportError:
    from ai_edge_litert.interpreter import Interpreter


def main(path: str) -> None:
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the interpreter prints is no answer

    def say(message: Mapping[str, object], content: bytes = b"") -> None:
        answers.write(json.dumps(message).encode() + b"\n" + content)
        answers.flush()

    try:
        interpreter = Interpreter(model_path=path, num_threads=1)
        interpreter.allocate_tensors()
        runner = interpreter.get_signature_runner("serving_default")
        inputs, outputs = runner.get_input_details(), runner.get_output_details()
    except (ValueError, RuntimeError) as error:
        say({"error": f"{path} cannot be loaded: {error}"})
        return
    say({"inputs": describe(inputs), "outputs": describe(outputs)})
    while header := sys.stdin.buffer.read(8):
        arrays = unpack(sys.stdin.buffer.read(struct.unpack("<Q", header)[0]))
        begin = time.perf_counter()
        try:
            answer = runner(**arrays)
        except (ValueError, RuntimeError) as error:
            say({"error": str(error)})
            continue
        seconds = time.perf_counter() - begin
        stream = io.BytesIO()
        np.savez(stream, **{f"array:{name}": array for name, array in answer.items()})
        say({"bytes": stream.tell(), "seconds": seconds}, stream.getvalue())


def describe(details: Mapping[str, Mapping[str, Any]]) -> list[dict[str, object]]:
    found = []
    for name in sorted(details):
        detail = details[name]
        dtype = np.dtype(detail["dtype"])
        shape = detail["shape_signature"] if len(detail["shape_signature"]) else detail["shape"]
        scale, zero_point = detail["quantization"]
        found.append(
            {
                "name": name,
                "dtype": "string" if dtype.kind in "SUO" else dtype.name,
                "shape": [int(size) for size in shape],
                "scale": float(scale) or None,
                "zero_point": int(zero_point) if scale else None,
            }
        )
    return found


def unpack(content: bytes) -> dict[str, Any]:
    arrays: dict[str, Any] = {}
    with np.load(io.BytesIO(content), allow_pickle=False) as held:
        for key in held.files:
            kind, _, name = key.partition(":")
            if kind == "array":
                arrays[name] = held[key]
            elif kind == "sizes":
                sizes, text = held[key], held[f"bytes:{name}"].tobytes()
                words, end = np.empty(sizes.size, object), 0
                for place, size in enumerate(sizes.reshape(-1).tolist()):
                    words[place], end = text[end : end + size], end + size
                arrays[name] = words.reshape(sizes.shape)
    return arrays


if __name__ == "__main__":
    main(sys.argv[1])
