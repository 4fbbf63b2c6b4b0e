"""ONNX Runtime as an engine of the server, on the CPU.

A session may run in several threads at once, so all engines of a model share one, and its weights
are there once.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgeline.artifacts.bundle import Signature
from edgeline.errors import EdgelineError
from edgeline.formats.dtypes import Array
from edgeline.runtimes.engine import Arrays, Engine, Port, matched
from edgeline.runtimes.onnx_session import line

_FOLDER = "session.model_external_initializers_file_folder_path"
_QUIET = 4  # the sentence of what it raises is enough
_KINDS = {"float": "float32", "double": "float64"}


def files(model: Path) -> tuple[Path, ...]:
    """What is read of a bundle: the model alone, which holds its weights."""
    return (model,)


def engines(
    contents: Sequence[bytes], declared: Signature, count: int, threads: int
) -> list[Engine]:
    """An ONNX file's content in a session.

    Args:
        contents: of what `files` names.
        declared: what the bundle says that the file takes and gives.
        count: of engines, which run at the same time.
        threads: that each of them may take, on the average: one that runs alone takes all.

    Raises:
        ImportError: ONNX Runtime is not installed, or not for this machine.
        ValueError: it cannot load the file, or that is not of what is declared.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = _QUIET
    # beside the threads that call; waiting ones must not take cores from the server's own
    options.intra_op_num_threads, options.inter_op_num_threads = count * (threads - 1) + 1, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # it would look for weights in another file where the server was started: there are none here
    options.add_session_config_entry(_FOLDER, os.devnull)
    [content] = contents
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its own types have no common base but this
        if "External data" in str(error):
            raise ValueError(
                "its weights are in another file: save it with save_as_external_data=False"
            ) from error
        raise ValueError(_said(error)) from error
    signature = Signature(
        matched([_port(each) for each in session.get_inputs()], declared.inputs, "input"),
        matched([_output(each) for each in session.get_outputs()], declared.outputs, "output"),
    )
    # no operator loops without the name of one, whose letters stand in the file as they are
    invoke, loops = _invoke(session, signature), b"Loop" in content
    return [Engine(signature, invoke, loops) for _ in range(count)]


def _invoke(session: Any, signature: Signature) -> Callable[[Arrays], Arrays]:
    names = [tensor.name for tensor in signature.outputs]
    taken = [tensor.name for tensor in signature.inputs if tensor.dtype == "string"]
    given = [tensor.name for tensor in signature.outputs if tensor.dtype == "string"]

    def invoke(arrays: Arrays) -> Arrays:
        feed = dict(arrays)
        for name in taken:
            feed[name] = _text(name, feed[name])
        try:
            answers = dict(zip(names, session.run(names, feed), strict=True))
        except Exception as error:
            raise RuntimeError(_said(error)) from error
        for name in given:
            answers[name] = _bytes(answers[name])
        return answers

    return invoke


def _said(error: Exception) -> str:
    """What it raised, without the numbers in front."""
    return re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", line(error))


def _port(value: Any) -> Port:
    """`tensor(float)` and a shape with numbers, names and None."""
    kind = value.type.removeprefix("tensor(").removesuffix(")")
    shape = tuple(size if isinstance(size, int) and size > 0 else -1 for size in value.shape)
    return Port(value.name, _KINDS.get(kind, kind), shape)


def _output(value: Any) -> Port:
    """Without a shape where it is that of a scalar, as one is told that nobody knows."""
    port = _port(value)
    return Port(port.name, port.kind, port.shape or None)


def _text(name: str, array: Array) -> Array:
    """Bytes as ONNX Runtime takes them, which is text.

    Raises:
        EdgelineError: they are something else.
    """
    text = np.empty(array.size, object)
    try:
        text[:] = [value.decode() for value in array.flat]
    except UnicodeDecodeError:
        raise EdgelineError(
            f"Input {name!r} has bytes that are not UTF-8, and this model's runtime takes text "
            "alone: give text."
        ) from None
    return text.reshape(array.shape)


def _bytes(array: Array) -> Array:
    found = np.empty(array.size, object)
    found[:] = [value.encode() for value in array.flat]
    return found.reshape(array.shape)
