"""The operators of a model as they are joined, coloured by where they run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from edgeline.formats.tflite import Operator, Subgraph, SubgraphTensor
from edgeline.reports import graph as drawing
from edgeline.reports import report
from edgeline.reports.graph import Box, End

WORDS = {  # of TensorFlow Lite's schema, by option and in the order of its numbers
    "activation": ("none", "relu", "relu_n1_to_1", "relu6", "tanh", "sign_bit"),
    "padding": ("same", "valid"),
    "mode": ("reflect", "symmetric"),
}


@dataclass(frozen=True)
class Spot:
    """Where an operator runs.

    Attributes:
        device: what it is called.
        colour: of its box.
        words: what the colour says, for the key.
        reason: why there, where that needs one.
    """

    device: str
    colour: str
    words: str
    reason: str = ""


def edges_of(graph: Subgraph) -> list[tuple[int, int]]:
    """Each pair of operators of which the second reads what the first computes, once."""
    maker: dict[int, int] = {}
    found: dict[tuple[int, int], None] = {}
    for operator in graph.operators:
        for index in operator.inputs:
            if index in maker:
                found[maker[index], operator.index] = None
        maker.update(dict.fromkeys(operator.outputs, operator.index))
    return list(found)


def draw(graph: Subgraph, spots: Sequence[Spot]) -> Markup:
    """A subgraph with its inputs and outputs; `spots` has one for each operator, in order."""
    count = len(graph.operators)
    maker = {index: op.index for op in graph.operators for index in op.outputs}
    readers = {index: op for op in reversed(graph.operators) for index in op.inputs}
    inputs = [index for index in graph.inputs if index in readers]
    outputs = [index for index in graph.outputs if index in maker]
    # numbered in the order of execution: inputs, operators, outputs
    first, last = len(inputs), len(inputs) + count
    edges = [(a + first, b + first) for a, b in edges_of(graph)]
    for place, index in enumerate(inputs):
        reading = [op.index for op in graph.operators if index in op.inputs]
        edges += [(place, reader + first) for reader in reading]
    edges += [(maker[index] + first, last + place) for place, index in enumerate(outputs)]
    nodes: list[Box | End] = [
        *(_end("input", graph.tensors[index]) for index in inputs),
        *(_box(op, graph, spot) for op, spot in zip(graph.operators, spots, strict=True)),
        *(_end("output", graph.tensors[index]) for index in outputs),
    ]
    return drawing.draw(nodes, edges, "operators")


def key(spots: Sequence[Spot]) -> Markup:
    """What each colour means, with how many operators have it."""
    return drawing.key((spot.colour, spot.words) for spot in spots)


def _box(operator: Operator, graph: Subgraph, spot: Spot) -> Box:
    tensors = graph.tensors
    constants = sum(tensors[i].size for i in operator.inputs if i >= 0 and tensors[i].constant)
    outputs = [tensors[index] for index in operator.outputs]
    told = [f"{operator.index} {operator.name}, version {operator.version}"]
    told += [
        f"reads {tensors[index].name}: {_type(tensors[index])}"
        + (f", constant, {report.size(tensors[index].size)}" if tensors[index].constant else "")
        for index in operator.inputs
        if index >= 0
    ]
    told += [f"gives {tensor.name}: {_type(tensor)}" for tensor in outputs]
    told += [f"constants {report.size(constants)}"] if constants else []
    told += [f"{name}: {_attribute(name, value)}" for name, value in operator.options.items()]
    told += [f"on {spot.device}" + (f": {spot.reason}" if spot.reason else "")]
    shape = drawing.shape(outputs[0].signature) if outputs else ""
    return Box(operator.index, operator.name, shape, spot.device, spot.colour, told)


def _attribute(name: str, value: float | bool | tuple[int, ...]) -> str:
    """An option of an operator, by its word where the schema has one."""
    words = WORDS.get(name, ())
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(words):
        return words[value]
    if isinstance(value, tuple):
        return " × ".join(map(str, value)) or "none"
    return str(value).lower() if isinstance(value, bool) else report.number(value)


def _end(side: str, tensor: SubgraphTensor) -> End:
    told = f"{side} {tensor.name}: {_type(tensor)}"
    return End(tensor.name, f"{side}, {tensor.dtype.lower()}", told)


def _type(tensor: SubgraphTensor) -> str:
    return f"{tensor.dtype.lower()} {drawing.shape(tensor.signature) or 'scalar'}"
