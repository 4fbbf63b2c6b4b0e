"""What an edge model takes: raw features, and transformed ones where the transform is not in it.

An operator of the transform that LiteRT lacks concerns only the features that it has a part in.
The edge model takes these as the transform gives them and all others raw, so what is asked of
whoever sends rows is as little as can be.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeline.artifacts.features import MISSING, Feature
from edgeline.artifacts.models import PREDICT_TRANSFORMED, SERVING, TRANSFORM
from edgeline.artifacts.transformed import MIXED, RAW, SHOWN, TRANSFORMED, Cause
from edgeline.components.convert import running
from edgeline.components.convert.running import Arrays
from edgeline.formats.signature_names import original, safe

if TYPE_CHECKING:
    import tensorflow as tf

PREFIX = "transformed_"  # of an input where a raw one has its name
ADVICE = {  # by the beginning of an operator's name
    "StringToHashBucket": "give compute_and_apply_vocabulary one out-of-vocabulary bucket",
    "TensorList": "set batch to 1, or give the recurrent layers unroll=True",
}

TIMES = "parse_datetime"  # in the names of nodes that `edgeline.preprocessing` makes

Nodes = Mapping[str, Sequence[str]]  # by operator
Signatures = Mapping[str, "tf.types.experimental.ConcreteFunction"]


@dataclass(frozen=True)
class Lack:
    """An operator that LiteRT lacks.

    Attributes:
        nodes: that are it, the network's too.
        reads: raw features that the transform applies it to.
        makes: transformed features that it has a part in.
    """

    nodes: Sequence[str]
    reads: Sequence[str] = ()
    makes: Sequence[str] = ()


Lacks = Mapping[str, Lack]  # by operator


@dataclass(frozen=True)
class RawForm:
    """What an edge model takes, and the signatures that it is built of, all under their names.

    Attributes:
        takes: RAW, MIXED or TRANSFORMED.
        signatures: as `building.build` takes them: SERVING takes what the model takes.
        features: its inputs.
        feed: raw features to these, [rows, ...] each.
    """

    takes: str
    signatures: Signatures
    features: Sequence[Feature]
    feed: Callable[[Arrays], Arrays]


def raw(signatures: Signatures) -> RawForm:
    """A model that takes raw features alone, or is a network alone."""
    return RawForm(RAW, signatures, _features(signatures[SERVING]), lambda rows: rows)


def transformed(signatures: Signatures) -> RawForm:
    """A model that takes transformed features alone."""

    def feed(rows: Arrays) -> Arrays:
        return running.call(signatures[TRANSFORM], rows)

    return RawForm(TRANSFORMED, signatures, _features(signatures[PREDICT_TRANSFORMED]), feed)


def mixed(signatures: Signatures, outside: Collection[str]) -> RawForm:
    """A model that takes some features of the transform as they are, and makes the others itself.

    Args:
        signatures: of a SavedModel as in `edgeline.artifacts.models`, which must stay alive.
        outside: names of the transformed features that it takes.

    Returns:
        What it is built of; `transformed` where nothing raw is left.
    """
    import tensorflow as tf

    from edgeline.components.convert import dependencies, replay

    transform, predict = signatures[TRANSFORM], signatures[PREDICT_TRANSFORMED]
    every = {feature.name: feature for feature in _features(transform)}
    made = {feature.name: feature for feature in _features(predict)}
    kept = dependencies.made_of(
        replay.lower(transform, raw=True).function, made.keys() - set(outside)
    )
    if not kept:
        return transformed(signatures)
    given = [_renamed(made[name], kept) for name in sorted(outside)]
    taken = sorted([*(every[name] for name in kept), *given], key=lambda feature: feature.name)

    def make(inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        rows = tf.shape(next(iter(inputs.values())))[0]
        # what is made of these alone is not built: nothing reads it
        whole = {
            name: inputs[name] if name in kept else tf.fill([rows, *feature.shape], _gap(feature))
            for name, feature in every.items()
        }
        return {**transform(**whole), **{f.transformed: inputs[f.name] for f in given}}

    def traced(function: Callable[[Mapping[str, tf.Tensor]], Mapping[str, tf.Tensor]]) -> Any:
        def call(**inputs: tf.Tensor) -> Mapping[str, tf.Tensor]:
            return function(inputs)

        specs = {
            f.name: tf.TensorSpec([None, *f.shape], tf.dtypes.as_dtype(f.dtype), f.name)
            for f in taken
        }
        return tf.function(call, autograph=False).get_concrete_function(**specs)

    def feed(rows: Arrays) -> Arrays:
        answer = running.call(transform, rows)
        return {f.name: answer[f.transformed] if f.transformed else rows[f.name] for f in taken}

    built = {
        **signatures,
        TRANSFORM: traced(make),
        SERVING: traced(lambda inputs: predict(**make(inputs))),
    }
    return RawForm(MIXED, built, taken, feed)


def without(signatures: Signatures, form: RawForm, found: Lacks) -> RawForm:
    """The next form to try where one could not be built for what LiteRT lacks."""
    outside = {name for lack in found.values() for name in lack.makes}
    before = {feature.transformed for feature in form.features if feature.transformed}
    every = {feature.name for feature in _features(signatures[PREDICT_TRANSFORMED])}
    if outside in (before, every):
        return transformed(signatures)
    return mixed(signatures, outside)


def lacks(transform: tf.types.experimental.ConcreteFunction, operators: Nodes) -> dict[str, Lack]:
    """What operators of a transform read and make; of those that it has not, nothing."""
    from edgeline.components.convert import dependencies, replay

    function = replay.lower(transform, raw=True).function
    return {
        name: Lack(nodes, dependencies.reads(function, name), dependencies.makes(function, name))
        for name, nodes in operators.items()
    }


def causes(takes: str, found: Lacks) -> list[Cause]:
    """Why an edge model takes transformed features, as fields."""
    if takes == RAW:
        return []
    return [
        Cause(tuple(lack.reads), name, makes=tuple(lack.makes) if takes == MIXED else ())
        for name, lack in sorted(found.items())
    ]


def advice(found: Lacks, otherwise: str) -> str:
    """What to do about operators that LiteRT lacks."""
    if any(TIMES in node for lack in found.values() for node in lack.nodes):
        return "give the column the type timestamp in column_types, so that ingest reads the times"
    return next(
        (
            text
            for beginning, text in ADVICE.items()
            if any(name.startswith(beginning) for name in found)
        ),
        otherwise,
    )


def named(found: Lacks) -> str:
    """Operators with the first node of each."""
    return ", ".join(
        f"{name} (node {lack.nodes[0]})" if lack.nodes else name
        for name, lack in sorted(found.items())
    )


def refusal(found: Lacks, where: str) -> str:
    """Why a model that must take raw features is not made, and what to do.

    Args:
        found: not empty.
        where: the parameter that asks for raw features.
    """
    makes = sorted({name for lack in found.values() for name in lack.makes})
    reads = sorted({name for lack in found.values() for name in lack.reads})
    kind = "feature" if len(makes) == 1 else "features"
    made = f"{kind} {_listed(makes)}" if makes else kind
    raw = f" out of {_listed(reads)}" if reads else ""
    way = advice(found, "make it of other operators in preprocessing_fn")
    return (
        f"The transform makes {made}{raw} with {named(found)}, for which LiteRT has no exact "
        f"equivalent, so no edge model can take raw features for it: {way}, or set {where} to "
        "false for a model to which it is sent transformed."
    )


def _listed(names: Sequence[str]) -> str:
    shown = [repr(name) for name in names[:SHOWN]]
    if len(names) > SHOWN:
        shown.append(f"{len(names) - SHOWN:,} others")
    return ", ".join(shown)


def _features(signature: tf.types.experimental.ConcreteFunction) -> list[Feature]:
    specs = signature.structured_input_signature[1]
    return [
        Feature(name, spec.dtype.name, tuple(spec.shape[1:]))
        for name, spec in sorted(specs.items())
    ]


def _renamed(feature: Feature, others: Collection[str]) -> Feature:
    """A transformed feature as an input that is called like none of the others."""
    name = feature.name
    while name.lower() in {other.lower() for other in others}:
        name = safe(PREFIX + original(name))
    return Feature(name, feature.dtype, feature.shape, feature.name)


def _gap(feature: Feature) -> tf.Tensor:
    import tensorflow as tf

    return tf.constant(MISSING[feature.dtype], tf.dtypes.as_dtype(feature.dtype))
