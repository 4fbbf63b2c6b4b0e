"""OpenVINO as an engine of the server, on the CPU and in full precision.

A model is read once and compiled for each engine: several requests of one compiled model would need
a stream each, to which a thread hands over, and that costs a small model a quarter of its time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from edgeline.artifacts.bundle import Signature
from edgeline.errors import EdgelineError
from edgeline.formats.dtypes import Array
from edgeline.runtimes.engine import Arrays, Engine, Port, matched

_DEVICE = "CPU"
_KINDS = {"f32": "float32", "f64": "float64", "f16": "float16", "boolean": "bool"}
_KINDS |= {
    f"{sign}{bits}": f"{name}{bits}"
    for sign, name in (("i", "int"), ("u", "uint"))
    for bits in (8, 16, 32, 64)
}
_LEAST, _MOST = -(1 << 31), (1 << 31) - 1
_LOOPING = {"Loop", "TensorIterator", "If"}  # or what they hold may


def settings(threads: int = 1) -> dict[str, object]:
    """How a model is compiled, for verify and for the server alike, to run in `threads`."""
    return {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "ENABLE_CPU_PINNING": False,  # engines would all be kept on the same cores
    }


def files(model: Path) -> tuple[Path, ...]:
    """What is read of a bundle: `model.xml` and its weights in `model.bin`."""
    return model, model.with_suffix(".bin")


def engines(
    contents: Sequence[bytes], declared: Signature, count: int, threads: int
) -> list[Engine]:
    """The content of an intermediate representation, compiled.

    Args:
        contents: of what `files` names.
        declared: what the bundle says that the file takes and gives.
        count: of engines, which run at the same time.
        threads: that each of them may take.

    Raises:
        ImportError: OpenVINO is not installed, or not for this machine.
        ValueError: it cannot load the file, or that is not of what is declared.
    """
    import openvino

    model, weights = contents
    if not model.lstrip().startswith(b"<"):  # it would read other formats, and files they name
        raise ValueError("it is not XML")
    core = openvino.Core()
    try:
        read = core.read_model(model, weights)
        ports = [_port(port, declared) for port in (*read.inputs, *read.outputs)]
        requests = [
            core.compile_model(read, _DEVICE, settings(threads)).create_infer_request()
            for _ in range(count)
        ]
    except RuntimeError as error:
        raise ValueError(said(error)) from error
    signature = Signature(
        matched(ports[: len(read.inputs)], declared.inputs, "input"),
        matched(ports[len(read.inputs) :], declared.outputs, "output"),
    )
    for tensor in (*signature.inputs, *signature.outputs):
        if tensor.dtype == "string":  # its Python API breaks the process' heap on these
            raise ValueError(f"its {tensor.name!r} holds strings, which are not served with it")
    places = [
        next(place for place, port in enumerate(read.outputs) if tensor.name in port.names)
        for tensor in signature.outputs
    ]
    loops = any(operator.get_type_name() in _LOOPING for operator in read.get_ops())
    return [Engine(signature, _invoke(request, signature, places), loops) for request in requests]


def said(error: BaseException) -> str:
    """What OpenVINO raised, without the places in its sources."""
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line and not line.startswith(("Exception from", "Check '"))]
    return (told or lines or [type(error).__name__])[-1][:300].rstrip(".")


def _invoke(
    request: Any, signature: Signature, places: Sequence[int]
) -> Callable[[Arrays], Arrays]:
    names = [tensor.name for tensor in signature.outputs]
    wide = [tensor.name for tensor in signature.inputs if tensor.dtype in ("int64", "uint64")]

    def invoke(arrays: Arrays) -> Arrays:
        for name in wide:
            _require_narrow(name, arrays[name])
        # what it gives lies in its own memory, which the next run overwrites
        answers = request.infer(dict(arrays), share_inputs=True, share_outputs=True)
        return {name: answers[place].copy() for name, place in zip(names, places, strict=True)}

    return invoke


def _require_narrow(name: str, array: Array) -> None:
    """Refuse whole numbers that the CPU plugin, which cuts them to 32 bits, makes others of.

    Raises:
        EdgelineError: there is one.
    """
    for value in (array.min(), array.max()):
        if not _LEAST <= value <= _MOST:
            raise EdgelineError(
                f"Input {name!r} holds {value}, and this model's runtime, OpenVINO, computes with "
                "32 bits: give less, or take the model for another runtime."
            )


def _port(port: Any, declared: Signature) -> Port:
    """Under that of its names which the bundle knows."""
    known = {tensor.name for tensor in (*declared.inputs, *declared.outputs)}
    names = sorted(port.names & known) or sorted(port.names) or [""]
    kind = port.element_type.get_type_name()
    shape = port.partial_shape
    sizes = None
    if not shape.rank.is_dynamic:
        sizes = tuple(-1 if size.is_dynamic else size.get_length() for size in shape)
    return Port(names[0], _KINDS.get(kind, kind), sizes)
