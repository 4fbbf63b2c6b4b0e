"""The vocabularies of a cloud model: what its tables know and what it compares text with.

They are read from the graph that answers, so those that lie in a file and those that stand in a
module are the same, and so is what is done to a column on the way to a table.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from edgeline.artifacts.features import MISSING_INT, Feature
from edgeline.formats.signature_names import original

if TYPE_CHECKING:
    import tensorflow as tf

    from edgeline.components.convert.freezing import Frozen

LOOKUP, COMPARISONS = "LookupTableFindV2", ("Equal", "NotEqual")


def by_feature(signature: tf.types.experimental.ConcreteFunction) -> dict[str, list[bytes]]:
    """For each raw feature the words that something made of it is looked up in or compared with.

    Args:
        signature: of a loaded SavedModel, which must stay alive.

    Returns:
        Keys of tables in their order, whole numbers as text; without the empty word.
    """
    # TensorFlow, which an edge model's child lacks
    from edgeline.components.convert.dependencies import ancestors
    from edgeline.components.convert.freezing import freeze

    frozen = freeze(signature)
    features = {spec.name: original(name) for name, spec in frozen.takes.items()}
    found: dict[str, dict[bytes, None]] = {name: {} for name in features.values()}
    for operator in frozen.graph.get_operations():
        words = [word for word in _words(operator, frozen) if word]
        if not words:
            continue
        for name in ancestors([operator]) & features.keys():
            found[features[name]] |= dict.fromkeys(words)
    return {name: list(words) for name, words in found.items() if words}


def values(feature: Feature, words: Sequence[bytes]) -> list[bytes | int]:
    """Words as values of a feature; of whole numbers those that are written as one."""
    if feature.dtype == "string":
        return list(words)
    return [number for word in words if (number := _whole(word)) is not None]


def _whole(word: bytes) -> int | None:
    try:
        number = int(word)
    except ValueError:
        return None
    return number if MISSING_INT < number < 2**63 else None


def _words(operator: tf.Operation, frozen: Frozen) -> Iterator[bytes]:
    import tensorflow as tf

    from edgeline.components.convert.lowering import Handle

    if operator.type == LOOKUP:
        table = operator.inputs[0]
        while table.op.type == "Identity":  # of a function that was put in its place
            table = table.op.inputs[0]
        if (handle := frozen.handles.get(table.name)) is None:
            return
        keys, _ = Handle(handle, {}).content(operator.get_attr("Tin"), operator.get_attr("Tout"))
        yield from (each if isinstance(each, bytes) else b"%d" % each for each in keys.tolist())
    elif operator.type in COMPARISONS and operator.inputs[0].dtype == tf.string:
        for tensor in operator.inputs:
            if (constant := tf.get_static_value(tensor)) is not None:
                yield from constant.reshape(-1).tolist()
