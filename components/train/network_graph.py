"""The layers of a network as they are joined, drawn as the model card draws operators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from markupsafe import Markup

from edgeline.reports import graph, report
from edgeline.reports.graph import Box, End
from edgeline.reports.report import BLUE, GREY

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


def drawn(network: keras.Model) -> Markup:
    """The drawing, or why there is none: what Keras tells of a network that is a subclass, or that
    calls a layer twice, are not all its tensors."""
    import keras

    made = [
        each
        for each in getattr(network, "operations", None) or network.layers
        if not isinstance(each, keras.layers.InputLayer)
    ]
    if len(made) > graph.MOST_DRAWN:
        return report.text(f"{report.number(len(made))} layers, too many for a drawing.")
    inputs, outputs = tensors_of(network, "inputs"), tensors_of(network, "outputs")
    first, last = len(inputs), len(inputs) + len(made)
    maker = {id(tensor): place for place, tensor in enumerate(inputs)}
    edges: dict[tuple[int, int], None] = {}
    whole = bool(inputs and outputs)
    for place, layer in enumerate(made, first):
        read, given = tensors_of(layer, "input"), tensors_of(layer, "output")
        whole &= bool(given) and all(id(tensor) in maker for tensor in read)
        edges |= {(maker[id(tensor)], place): None for tensor in read if id(tensor) in maker}
        maker |= {id(tensor): place for tensor in given}
    for place, tensor in enumerate(outputs, last):
        whole &= id(tensor) in maker
        edges |= {(maker[id(tensor)], place): None} if id(tensor) in maker else {}
    if not whole:
        return report.text(
            "There is no drawing: Keras does not tell how the layers of this network are joined, "
            "as of a subclass of Model, or of one that calls a layer twice."
        )
    nodes: list[Box | End] = [
        *(_end("input", tensor) for tensor in inputs),
        *(_box(place, layer) for place, layer in enumerate(made)),
        *(_end("output", tensor) for tensor in outputs),
    ]
    key = graph.key((each.colour, WORDS[each.colour]) for each in nodes if isinstance(each, Box))
    return Markup("").join([graph.style(), key, graph.draw(nodes, list(edges), "layers")])


WORDS = {BLUE: "with parameters", GREY: "without"}


def tensors_of(
    layer: keras.Operation, side: Literal["input", "output", "inputs", "outputs"]
) -> list[tf.Tensor]:
    """What a layer or network takes or gives; nothing for one that was never called with symbolic
    tensors."""
    import keras
    import tensorflow as tf

    called = getattr(layer, "_inbound_nodes", [])
    if isinstance(layer, keras.Model) and len(called) == 1 and side in ("input", "output"):
        # a network within one has inputs of its own, and Keras gives those
        (node,) = called
        return list(node.input_tensors if side == "input" else node.outputs)
    try:
        tensors: list[tf.Tensor] = tf.nest.flatten(getattr(layer, side))
    except (AttributeError, ValueError):  # Keras raises either, by the kind of layer
        return []
    return [tensor for tensor in tensors if tensor is not None]


def _box(number: int, layer: keras.Operation) -> Box:
    weights = layer.count_params() if hasattr(layer, "count_params") and layer.built else 0
    given = tensors_of(layer, "output")
    kind = type(layer).__name__
    told = [f"{layer.name}, {kind}"]
    told += [f"{side} {_type(t)}" for side in ("input", "output") for t in tensors_of(layer, side)]
    told += [f"{report.number(weights)} parameters"] if weights else []
    return Box(
        number, layer.name, graph.shape(given[0].shape), kind, BLUE if weights else GREY, told
    )


def _end(side: str, tensor: tf.Tensor) -> End:
    return End(tensor.name, f"{side}, {tensor.dtype}", f"{side} {tensor.name}: {_type(tensor)}")


def _type(tensor: tf.Tensor) -> str:
    return f"{tensor.dtype} {graph.shape(tensor.shape) or 'scalar'}"
