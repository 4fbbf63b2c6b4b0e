"""Join two LiteRT models in a row: what the first gives, the second takes.

Post-training quantisation to int8 or int16 would also quantise the transform, where a bucket's
boundary moves by a step of the scale, and refuses strings. So the transform is converted in
float32, the network is quantised alone, and the two become one graph again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeline.formats.packing import packed, unpacked

SUBGRAPH_OPTIONS = (
    "bodySubgraphIndex",
    "condSubgraphIndex",
    "decompositionSubgraphIndex",
    "elseSubgraphIndex",
    "initSubgraphIndex",
    "subgraph",
    "thenSubgraphIndex",
)
RUNTIME = b"min_runtime_version"


def join(first: bytes, second: bytes) -> bytes:
    """One model that runs `first` and gives its named outputs to `second`.

    Both have one signature. The result takes the inputs of `first`, gives the outputs of
    `second` and keeps the name of `first`'s signature.
    """
    head, tail = (unpacked(model) for model in (first, second))
    gives = _run_after(head, tail, _tensors(head, "outputs"))
    head.subgraphs[0].outputs = list(gives.values())
    signature = head.signatureDefs[0]
    signature.outputs = tail.signatureDefs[0].outputs
    for output in signature.outputs:
        output.tensorIndex = gives[output.name]
    return packed(head)


def behind(first: bytes, second: bytes, inputs: str, outputs: str) -> bytes:
    """One model that runs `first`, and then `second` on what that took and gave.

    The inputs of `second` are named as inputs and outputs of `first`, with a prefix for each of
    the two; its outputs take the place of those of `first` that have their names.
    """
    head, tail = (unpacked(model) for model in (first, second))
    sides = ((inputs, "inputs"), (outputs, "outputs"))
    given = {
        prefix.encode() + name: index
        for prefix, side in sides
        for name, index in _tensors(head, side).items()
    }
    gives = _run_after(head, tail, given)
    replaced = {}
    for output in head.signatureDefs[0].outputs:
        replaced[output.tensorIndex] = gives.get(output.name, output.tensorIndex)
        output.tensorIndex = replaced[output.tensorIndex]
    start = head.subgraphs[0]
    start.outputs = [replaced[int(index)] for index in start.outputs]
    return packed(head)


def _run_after(head: Any, tail: Any, given: Mapping[bytes, int]) -> dict[bytes, int]:
    """Append a model to another, and say which tensors its outputs become.

    `given` has the tensors of the first by the names of what the second takes.
    """
    codes, buffers, graphs = len(head.operatorCodes), len(head.buffers), len(head.subgraphs)
    head.operatorCodes = head.operatorCodes + tail.operatorCodes
    head.buffers = head.buffers + tail.buffers
    runtime = max(_runtime(head), _runtime(tail))
    head.metadata = [entry for entry in head.metadata or [] if entry.name == RUNTIME]
    for entry in head.metadata:
        head.buffers[entry.buffer].data = ".".join(map(str, runtime)).encode().ljust(16, b"\0")
    for graph in tail.subgraphs:
        for tensor in graph.tensors:
            tensor.buffer += buffers
        for operator in graph.operators:
            operator.opcodeIndex += codes
            _renumber(operator, lambda index: index and index + graphs - 1)
    takes = _tensors(tail, "inputs")
    place = _append(
        head.subgraphs[0], tail.subgraphs[0], {index: given[name] for name, index in takes.items()}
    )
    head.subgraphs = head.subgraphs + tail.subgraphs[1:]
    head.signatureDefs = head.signatureDefs[:1]
    return {name: place[index] for name, index in _tensors(tail, "outputs").items()}


def _append(start: Any, network: Any, inputs: Mapping[int, int]) -> dict[int, int]:
    """Append tensors and operators of a graph to another; `inputs` are there already."""
    place = {-1: -1}
    for index, tensor in enumerate(network.tensors):
        if index in inputs:
            place[index] = inputs[index]
        else:
            place[index] = len(start.tensors)
            start.tensors.append(tensor)
    for operator in network.operators:
        for field in ("inputs", "outputs", "intermediates"):
            if (indices := getattr(operator, field)) is not None:
                setattr(operator, field, [place[int(index)] for index in indices])
        start.operators.append(operator)
    return place


def _renumber(operator: Any, number: Any) -> None:
    for options in (operator.builtinOptions, getattr(operator, "builtinOptions2", None)):
        for name in SUBGRAPH_OPTIONS:
            if hasattr(options, name):
                setattr(options, name, number(getattr(options, name)))


def _tensors(model: Any, side: str) -> dict[bytes, int]:
    return {entry.name: entry.tensorIndex for entry in getattr(model.signatureDefs[0], side)}


def _runtime(model: Any) -> tuple[int, ...]:
    for entry in model.metadata or []:
        if entry.name == RUNTIME:
            text = bytes(model.buffers[entry.buffer].data).rstrip(b"\0").decode()
            return tuple(int(part) for part in text.split(".")) if text else ()
    return ()
