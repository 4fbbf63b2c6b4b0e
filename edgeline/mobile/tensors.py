"""Inputs and outputs of a .tflite file in its order, by their names in its signature."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgeline.artifacts.bundle import Tensor
from edgeline.formats.tflite import Model, SubgraphTensor
from edgeline.runtimes.interpreter import SERVING


@dataclass(frozen=True)
class OrderedTensors:
    """What an app counts by place; a signature's own order is that of names."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


def ordered(model: Model) -> OrderedTensors:
    """Those of the main subgraph; a file without a signature has the names of its tensors."""
    graph = model.subgraphs[0]
    _, takes, gives = model.signatures.get(SERVING, (0, {}, {}))
    return OrderedTensors(
        tuple(_tensor(graph.tensors[index], takes) for index in graph.inputs),
        tuple(_tensor(graph.tensors[index], gives) for index in graph.outputs),
    )


def _tensor(tensor: SubgraphTensor, names: Mapping[str, int]) -> Tensor:
    name = next((name for name, index in names.items() if index == tensor.index), tensor.name)
    scale, zero_point = None, None
    if (found := tensor.quantisation) is not None and not found.per_channel:
        scale = float(found.scales[0])
        zero_point = int(found.zero_points[0]) if found.zero_points.size else 0
    return Tensor(name, tensor.dtype.lower(), tensor.signature, scale, zero_point)
