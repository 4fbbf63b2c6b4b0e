"""The runtime that a model is verified in, found by what the model is.

| model                        | runtime                                                       |
|------------------------------|---------------------------------------------------------------|
| a .tflite file               | `litert`: ai-edge-litert                                      |
|                              | `tflite-runtime`: in the Python that `PYTHON` names           |
| an .onnx file                | onnxruntime                                                   |
| a folder with host operations | that of its file, behind them (an edge model's or a bundle's) |
| a `compiled_model/v1` folder | its target's: onnxruntime, OpenVINO, TVM, tflite-micro, LiteRT |

tflite-runtime, the interpreter of devices without a wheel of ai-edge-litert, needs numpy below
2, so it runs in a Python environment of its own and is spoken to through pipes (see
`interpreter_process`). All others run in the process that loads them, which is a child of verify's
(see `edgeline.runtimes.isolated`).
"""

from __future__ import annotations

import io
import json
import os
import signal
import struct
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from edgeline.artifacts.bundle import Signature, Tensor
from edgeline.errors import EdgelineError
from edgeline.formats.dtypes import Array
from edgeline.runtimes import interpreter
from edgeline.runtimes.interpreter import Arrays, CrashError, EdgeModel

LITERT, TFLITE_RUNTIME = "litert", "tflite-runtime"
NAMES = (LITERT, TFLITE_RUNTIME)
PYTHON = "EDGELINE_TFLITE_RUNTIME_PYTHON"
ONNX, ONNXRUNTIME = ".onnx", "onnxruntime"
PROGRAM = Path(__file__).with_name("interpreter_process.py")


def name(model: Path, runtime: str = LITERT) -> str:
    """What runs a model; `runtime` is of a LiteRT model."""
    return ONNXRUNTIME if model.suffix == ONNX else runtime


def load(model: str | Path, runtime: str = LITERT) -> EdgeModel:
    """A model as a function in its runtime.

    Raises:
        EdgelineError: the runtime is unknown or not installed, or cannot load the model.
    """
    if runtime not in NAMES:
        raise EdgelineError(f"runtime is {runtime!r}: give one of {', '.join(NAMES)}.")
    if Path(model).is_dir():
        return _of_folder(Path(model), runtime)
    if Path(model).suffix == ONNX:
        from edgeline.runtimes import onnx_session

        return onnx_session.given(Path(model))
    if runtime == LITERT:
        return interpreter.load(model)
    process = Process(_python(), Path(model))
    return EdgeModel(process.signature, process)


def _of_folder(folder: Path, runtime: str) -> EdgeModel:
    # not above: what measures a model's memory imports this module
    from edgeline import artifacts
    from edgeline.artifacts import bundle, host_operations, models
    from edgeline.runtimes.host.program import hosted

    if (folder / bundle.MANIFEST).is_file():
        manifest = bundle.read_manifest(folder)
        file = load(folder / manifest.model, runtime)
        return hosted(file, manifest.host_operations, manifest.features)
    if artifacts.schema_of(folder) == models.EDGE_SCHEMA:
        edge = models.read_edge(folder)
        file = load(models.edge_model_path(edge), runtime)
        return hosted(file, host_operations.of(edge.metadata), models.raw_features(edge))
    from edgeline.components.compile.compile import load_compiled

    return load_compiled(folder)


def _python() -> str:
    if not (python := os.environ.get(PYTHON, "")):
        raise EdgelineError(
            f"{PYTHON} is not set, and tflite-runtime needs an environment of its own: python3.11 "
            "-m venv ENV && ENV/bin/pip install 'numpy<2' tflite-runtime, then set it to "
            "ENV/bin/python."
        )
    return python


class Process:
    """An interpreter in another Python environment: call it with named arrays.

    Attributes:
        signature: of the model.
        pid: of the process that holds it.
        seconds: that the interpreter took for the last call, the pipes left out.
    """

    def __init__(self, python: str, model: Path) -> None:
        if not model.is_file():
            raise EdgelineError(f"{model} is missing: convert the model again.")
        try:
            self._process = subprocess.Popen(
                [python, str(PROGRAM), str(model)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        except OSError as error:
            raise EdgelineError(f"{PYTHON} is {python}, which does not start: {error}.") from error
        self._model, self.pid, self.seconds = model, self._process.pid, 0.0
        described = self._receive()
        self.signature = Signature(
            *(
                tuple(Tensor(**{**entry, "shape": tuple(entry["shape"])}) for entry in entries)
                for entries in (described["inputs"], described["outputs"])
            )
        )

    def __call__(self, arrays: Arrays) -> dict[str, Array]:
        packed = pack(arrays)
        assert self._process.stdin and self._process.stdout
        try:
            self._process.stdin.write(struct.pack("<Q", len(packed)) + packed)
            self._process.stdin.flush()
        except OSError:
            pass  # it has ended: the answer says how
        answer = self._receive()
        self.seconds = float(answer["seconds"])
        return _unpack(self._read(int(answer["bytes"])))

    def __del__(self) -> None:
        process = getattr(self, "_process", None)
        if process is not None:
            process.kill()
            for stream in (process.stdin, process.stdout):
                stream.close()
            process.wait()

    def _receive(self) -> dict[str, Any]:
        """A line of JSON; its `error` is raised."""
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line.endswith(b"\n"):
            code = self._process.wait()
            if code < 0:
                raise CrashError(
                    self._model, f"crashed tflite-runtime ({signal.Signals(-code).name})"
                )
            raise EdgelineError(
                f"The tflite-runtime process ended with exit code {code}: is numpy<2 and "
                f"tflite-runtime installed where {PYTHON} points?"
            )
        message: dict[str, object] = json.loads(line)
        if "error" in message:
            raise EdgelineError(f"tflite-runtime: {message['error']}")
        return message

    def _read(self, count: int) -> bytes:
        assert self._process.stdout
        content = self._process.stdout.read(count)
        if len(content) < count:
            raise CrashError(self._model, "ended tflite-runtime in the middle of an answer")
        return content


def pack(arrays: Arrays) -> bytes:
    """Arrays as .npz; strings as their bytes end to end, with the length of each."""
    plain: dict[str, Array] = {}
    for name, array in arrays.items():
        if array.dtype == object:
            flat = list(array.reshape(-1))
            plain[f"bytes:{name}"] = np.frombuffer(b"".join(flat), np.uint8)
            plain[f"sizes:{name}"] = np.array(list(map(len, flat)), np.int64).reshape(array.shape)
        else:
            plain[f"array:{name}"] = array
    stream = io.BytesIO()
    np.savez(stream, **plain)  # type: ignore[arg-type]  # names of arrays, not its options
    return stream.getvalue()


def _unpack(content: bytes) -> dict[str, Array]:
    with np.load(io.BytesIO(content), allow_pickle=False) as held:
        return {name.partition(":")[2]: held[name] for name in held.files}
