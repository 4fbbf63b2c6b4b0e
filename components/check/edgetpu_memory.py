"""How much SRAM a model takes on the Edge TPU, before Coral's compiler has seen it.

About 8 MB are shared by the executable and the cached parameters; what overflows streams from
the host at each run. (coral.ai/docs/edgetpu/compiler/#parameter-data-caching)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgeline.formats.tflite import Operator, Subgraph

SRAM_BYTES = 8 << 20


@dataclass(frozen=True)
class Memory:
    """Bytes of SRAM, estimated: what the mapped operators' parameters and instructions take."""

    parameters: int
    executable: int
    cached: int
    streamed: int
    sram: int = SRAM_BYTES


# Bytes of SRAM, fitted to compiled models of google-coral/test_data (off by 5% at most):
# channels fill up to blocks, each output channel carries bias and scale.
_BLOCK, _DEPTHWISE_BLOCK, _PER_CHANNEL = 32, 64, 16
# Instructions, from the same models (off by a third at most).
_INSTRUCTIONS, _PER_OPERATOR = 64_000, 2_500


def estimate(subgraph: Subgraph, mapped: Sequence[int]) -> Memory:
    """Bytes that the mapped operators take.

    Args:
        subgraph: the graph.
        mapped: indices of its operators that run on the TPU.
    """
    if not mapped:
        return Memory(0, 0, 0, 0)
    counted: set[int] = set()
    parameters = sum(
        _parameter_bytes(subgraph, subgraph.operators[index], counted) for index in mapped
    )
    executable = _INSTRUCTIONS + _PER_OPERATOR * len(mapped)
    cached = min(parameters, max(SRAM_BYTES - executable, 0))
    return Memory(parameters, executable, cached, parameters - cached)


def _parameter_bytes(subgraph: Subgraph, operator: Operator, counted: set[int]) -> int:
    total = 0
    for index in operator.inputs:
        if index < 0 or index in counted or not subgraph.tensors[index].constant:
            continue
        counted.add(index)
        tensor = subgraph.tensors[index]
        if tensor.dtype not in ("INT8", "UINT8"):
            continue
        shape = tensor.shape or (1,)
        if operator.name == "DEPTHWISE_CONV_2D":
            channels = _filled(shape[-1], _DEPTHWISE_BLOCK)
            total += tensor.elements // max(shape[-1], 1) * channels + _PER_CHANNEL * channels
        elif len(shape) > 1:
            rows, columns = _filled(shape[0], _BLOCK), _filled(shape[-1], _BLOCK)
            inside = tensor.elements // max(shape[0] * shape[-1], 1)
            total += rows * columns * inside + _PER_CHANNEL * rows
        else:
            total += tensor.size
    return total


def _filled(count: int, block: int) -> int:
    return -(-count // block) * block
