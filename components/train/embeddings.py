"""Which tables of vectors a network has learnt, for who wants to look at them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras


def told(network: keras.Model) -> list[dict[str, Any]]:
    """The Embedding layers of a trained network, as a model's metadata has them.

    Returns:
        of each `layer`, its name; `variable`, the place of its table [rows, numbers] among the
        variables that `export.variables` gives; and `feature`, the transformed feature whose
        values are the rows' numbers, or "" where the layer reads something else.
    """
    places = {id(variable): place for place, variable in enumerate(network.variables)}
    inputs = network.input if getattr(network, "inputs", None) else None
    features = {id(tensor): name for name, tensor in _items(inputs)}
    found = []
    for layer in _layers(network):
        table = getattr(layer, "embeddings", None)
        if table is not None and id(table) in places and len(table.shape) == 2:
            feature = features.get(id(_input(layer)), "")
            entry = {"layer": layer.name, "variable": places[id(table)], "feature": feature}
            found.append(entry)
    return found


def _items(inputs: Any) -> Iterator[tuple[str, Any]]:
    return iter(inputs.items() if isinstance(inputs, Mapping) else ())


def _layers(network: keras.Model) -> Iterator[keras.Layer]:
    """The layers of a network and of the networks among them, each once."""
    seen: set[int] = set()
    waiting = [network]
    while waiting:
        for layer in waiting.pop(0).layers:
            if id(layer) in seen:
                continue
            seen.add(id(layer))
            yield layer
            if getattr(layer, "layers", None):
                waiting.append(layer)


def _input(layer: keras.Layer) -> Any:
    try:
        return layer.input
    except (AttributeError, ValueError):  # never called with symbolic tensors, or several times
        return None
