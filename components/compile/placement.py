"""Where a compiled .tflite runs each operator of the model that it was compiled from.

A compiler for an accelerator puts what it takes into custom operators and leaves the rest as
it was, so an operator of the model that is still there, with its output, runs on the CPU.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from edgeline.artifacts.bundle import Signature, Tensor
from edgeline.components.compile.target import Placed
from edgeline.formats.tflite import Model, Operator

OperatorKey = tuple[str, str]  # an operator's name and that of its first output


def place(
    source: Model,
    compiled: Sequence[Model],
    accelerator: str,
    device: str,
    reason: Callable[[OperatorKey], str],
) -> tuple[Placed, ...]:
    """Every operator of the source's first subgraph and where it runs.

    Args:
        compiled: what the compiler made of it, one file or a pipeline of several.
        accelerator: the name of the compiler's custom operator.
        device: what the accelerator is called.
        reason: why an operator was left on the CPU.
    """
    left = Counter(
        _key(model, operator)
        for model in compiled
        for operator in model.subgraphs[0].operators
        if operator.name != accelerator
    )
    keys = [_key(source, operator) for operator in source.subgraphs[0].operators]
    on_cpu = set()
    for index, key in enumerate(keys):
        if left[key]:
            left[key] -= 1
            on_cpu.add(index)
    # a compiler may rename an output: then the last of a kind, for what is left stands last
    names = Counter(name for (name, _), count in left.items() for _ in range(count))
    for index, (name, _) in reversed(list(enumerate(keys))):
        if names[name] and index not in on_cpu:
            names[name] -= 1
            on_cpu.add(index)
    return tuple(
        Placed(index, key[0], "cpu", reason(key))
        if index in on_cpu
        else Placed(index, key[0], device)
        for index, key in enumerate(keys)
    )


def all_on_cpu(source: Model) -> tuple[Placed, ...]:
    """Every operator of the first subgraph, on the CPU, as the target means it."""
    return tuple(
        Placed(operator.index, operator.name, "cpu") for operator in source.subgraphs[0].operators
    )


def counted(placed: Sequence[Placed]) -> str:
    """Operators by kind, with the compiler's reason: `3 SOFTMAX (Operation not supported)`."""
    kinds = Counter((operator.operator, operator.reason) for operator in placed)
    return ", ".join(
        f"{count} {name}" + (f" ({reason})" if reason else "")
        for (name, reason), count in kinds.items()
    )


def signature_of(model: Model) -> Signature:
    """Inputs and outputs of a model: by the names of its signature, else of its tensors."""
    graph = model.subgraphs[0]
    inputs = {graph.tensors[index].name: index for index in graph.inputs}
    outputs = {graph.tensors[index].name: index for index in graph.outputs}
    if model.signatures:
        _, named_inputs, named_outputs = next(iter(model.signatures.values()))
        inputs, outputs = dict(named_inputs), dict(named_outputs)

    def tensors(places: dict[str, int]) -> tuple[Tensor, ...]:
        return tuple(_tensor(model, name, places[name]) for name in sorted(places))

    return Signature(tensors(inputs), tensors(outputs))


def _tensor(model: Model, name: str, index: int) -> Tensor:
    tensor = model.subgraphs[0].tensors[index]
    scale, zero_point = None, None
    if (found := tensor.quantisation) is not None and not found.per_channel:
        scale = float(found.scales[0])
        zero_point = int(found.zero_points[0]) if found.zero_points.size else 0
    return Tensor(name, tensor.dtype.lower(), tensor.signature, scale, zero_point)


def _key(model: Model, operator: Operator) -> OperatorKey:
    tensors = model.subgraphs[0].tensors
    return operator.name, tensors[operator.outputs[0]].name if operator.outputs else ""
