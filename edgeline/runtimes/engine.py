"""A model's file, ready in its runtime, as the server runs it: named arrays in, named arrays out.

| module             | runtime                                                               |
|--------------------|-----------------------------------------------------------------------|
| `litert_engine`    | LiteRT, by ai-edge-litert or tflite-runtime; an interpreter an engine |
| `onnx_engine`      | ONNX Runtime on the CPU; all engines of a model share a session       |
| `openvino_engine`  | OpenVINO on the CPU; a compiled model an engine                       |

Which of them runs a bundle is said by `served_runtimes`. Checking, fixed batches, host operations
and observers are above this, the same for all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edgeline.artifacts.bundle import Signature, Tensor
from edgeline.formats.dtypes import Array

Arrays = Mapping[str, Array]


@dataclass(frozen=True)
class Engine:
    """Not safe for threads: each worker has its own.

    Attributes:
        signature: of the model's file; strings are object arrays of bytes.
        invoke: the bare model, on one batch of all inputs, each of its tensor's dtype and shape,
            which nobody checks again. It raises ValueError, RuntimeError or MemoryError where the
            model does not run on it, and EdgelineError for a value that this runtime cannot take.
        loops: whether some input may keep it running for ever.
    """

    signature: Signature
    invoke: Callable[[Arrays], Arrays]
    loops: bool = False


@dataclass(frozen=True)
class Port:
    """An input or output as a model's file has it; -1 for a size that is open, None for a shape
    that nobody knows, `kind` as this project calls dtypes or, where it has no name for it, as the
    runtime does."""

    name: str
    kind: str
    shape: tuple[int, ...] | None


def matched(ports: list[Port], declared: tuple[Tensor, ...], what: str) -> tuple[Tensor, ...]:
    """What a bundle declares of inputs or outputs, with the sizes that its file fixes.

    A file of these runtimes does not say what a stored integer means: scale and zero point are the
    bundle's.

    Args:
        ports: of the file.
        declared: in the order in which they are told to clients.
        what: `input` or `output`. The file may have other outputs, but no other inputs.

    Raises:
        ValueError: the file is not of what is declared.
    """
    by_name = {port.name: port for port in ports}
    names = {tensor.name for tensor in declared}
    if missing := sorted(names - by_name.keys()):
        raise ValueError(f"it has no {what} {missing[0]!r}, which its manifest names")
    if what == "input" and (unknown := sorted(by_name.keys() - names)):
        raise ValueError(f"its manifest does not name its input {unknown[0]!r}")
    return tuple(_matched(by_name[tensor.name], tensor, what) for tensor in declared)


def _matched(port: Port, tensor: Tensor, what: str) -> Tensor:
    if port.kind != tensor.dtype:
        raise ValueError(
            f"its {what} {port.name!r} is {port.kind}, but by its manifest {tensor.dtype}"
        )
    if port.shape is None:
        return tensor
    if len(port.shape) != len(tensor.shape) or any(
        found > 0 and said > 0 and found != said
        for found, said in zip(port.shape, tensor.shape, strict=True)
    ):
        raise ValueError(
            f"its {what} {port.name!r} has shape {list(port.shape)}, but by its manifest "
            f"{list(tensor.shape)}"
        )
    sizes = zip(port.shape, tensor.shape, strict=True)
    shape = tuple(found if found > 0 else said for found, said in sizes)
    return Tensor(tensor.name, tensor.dtype, shape, tensor.scale, tensor.zero_point)
