"""Convert a SavedModel to LiteRT and compare the two. Runs in a child process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from edgeline.artifacts.bundle import Signature
from edgeline.artifacts.features import Feature
from edgeline.artifacts.models import PREDICT_TRANSFORMED, SERVING, TRANSFORM
from edgeline.artifacts.transformed import TRANSFORMED
from edgeline.components.convert import running
from edgeline.components.convert.built import Built
from edgeline.components.convert.running import Arrays
from edgeline.components.convert.settings import Settings


@dataclass(frozen=True)
class Conversion:
    """A converted model and what it answered beside the cloud's.

    `unsupported` is not None where the transform could not be converted, or nothing at all
    (then `built` is None): TensorFlow operators with the nodes that use them; `reads` has the
    raw features that each of these operators is applied to.
    `cloud` and `edge` are outputs by name on the representative rows.
    """

    built: Built | None
    takes: str
    features: Sequence[Feature]
    signature: Signature | None
    unsupported: Mapping[str, Sequence[str]] | None
    cloud: Arrays
    edge: Arrays
    reads: Mapping[str, Sequence[str]] = field(default_factory=dict)


def convert(
    tell: Callable[[str], None], saved_model: str, rows: Arrays, settings: Settings
) -> Conversion:
    """Convert `serving_default`, or `predict_transformed` where the transform does not convert.

    A SavedModel without these two others is a network alone, which takes what it is given.

    Args:
        tell: is told what comes next, with the operators at hand.
        saved_model: a SavedModel as in `edgeline.artifacts.models`.
        rows: representative raw features, [rows, ...] each.
        settings: see there.

    Raises:
        EdgelineError: a recipe is none, or `auto` has no labels to judge by.
        Exception: whatever the converter raises that is not about an operator.
    """
    import tensorflow as tf

    from edgeline.components.convert.building import UnsupportedError, build

    tf.get_logger().setLevel("ERROR")
    tell("loading the SavedModel")
    signatures = (loaded := tf.saved_model.load(saved_model)).signatures
    cloud = running.call(signatures[SERVING], rows)
    takes, unsupported, features = "raw", None, rows
    reads: Mapping[str, Sequence[str]] = {}
    try:
        built = build(tell, signatures, settings, rows, raw=True)
    except UnsupportedError as error:
        if TRANSFORM not in signatures:
            return Conversion(None, takes, [], None, error.operators, cloud, {})
        takes, unsupported, reads = TRANSFORMED, error.operators, error.reads
        features = running.call(signatures[TRANSFORM], rows)
        try:
            built = build(tell, signatures, settings, features, raw=False)
        except UnsupportedError as error:
            return Conversion(None, takes, [], None, error.operators, cloud, {})
    tell("running the converted model")
    edge = running.load(built.model)
    running.answers(edge, {name: values[:1] for name, values in features.items()})
    specs = signatures[SERVING if takes == "raw" else PREDICT_TRANSFORMED]
    described = [
        Feature(name, spec.dtype.name, tuple(spec.shape[1:]))
        for name, spec in sorted(specs.structured_input_signature[1].items())
    ]
    answers = running.answers(edge, features)
    del loaded  # until here the signatures lived on its variables
    return Conversion(built, takes, described, edge.signature, unsupported, cloud, answers, reads)
