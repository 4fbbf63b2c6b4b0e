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
from edgeline.artifacts.host_operations import HostOperations
from edgeline.artifacts.models import PREDICT_TRANSFORMED, SERVING, TRANSFORM
from edgeline.artifacts.transformed import MIXED, RAW, SHOWN, TRANSFORMED, Cause
from edgeline.components.convert import running
from edgeline.components.convert.running import Arrays
from edgeline.formats.signature_names import original, safe
from edgeline.runtimes.host.program import Program

if TYPE_CHECKING:
    import tensorflow as tf

    from edgeline.components.convert.dependencies import Types
    from edgeline.components.convert.hosting import Hosted

PREFIX = "transformed_"  # of an input where a raw one has its name
ADVICE = {  # by the beginning of an operator's name
    "_SwitchN": "choose with tf.where instead of tf.switch_case",
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
        features: what is sent to it.
        feed: raw features to what its file takes, [rows, ...] each.
        hosted: the transform without what reads text, where that is computed before the file.
    """

    takes: str
    signatures: Signatures
    features: Sequence[Feature]
    feed: Callable[[Arrays], Arrays]
    hosted: Hosted | None = None

    @property
    def operations(self) -> HostOperations | None:
        """What is computed of the raw features among these before the model's file."""
        if self.hosted is None:
            return None
        return self.hosted.operations.only(_features(self.signatures[SERVING]))


def raw(signatures: Signatures) -> RawForm:
    """A model that takes raw features alone, or is a network alone."""
    return RawForm(RAW, signatures, _features(signatures[SERVING]), lambda rows: rows)


def hosted(signatures: Signatures) -> RawForm:
    """A model that takes raw features; of text it is given what host operations make of it.

    It is that of `raw` where there is nothing to compute before it.
    """
    from edgeline.components.convert import hosting

    if not signatures.keys() >= {TRANSFORM, PREDICT_TRANSFORMED}:
        return raw(signatures)
    if (found := hosting.cut(signatures[TRANSFORM])) is None:
        return raw(signatures)
    transform, predict = found.transform, signatures[PREDICT_TRANSFORMED]
    built = {
        **signatures,
        TRANSFORM: transform,
        SERVING: _traced(lambda inputs: predict(**transform(**inputs)), _features(transform)),
    }
    sent = _sent(found.operations, _features(signatures[TRANSFORM]))
    return RawForm(RAW, built, sent, Program(found.operations), found)


def transformed(signatures: Signatures) -> RawForm:
    """A model that takes transformed features alone."""

    def feed(rows: Arrays) -> Arrays:
        return running.call(signatures[TRANSFORM], rows)

    return RawForm(TRANSFORMED, signatures, _features(signatures[PREDICT_TRANSFORMED]), feed)


def mixed(
    signatures: Signatures, outside: Collection[str], hosted: Hosted | None = None
) -> RawForm:
    """A model that takes some features of the transform as they are, and makes the others itself.

    Args:
        signatures: of a SavedModel as in `edgeline.artifacts.models`, which must stay alive.
        outside: names of the transformed features that it takes.
        hosted: the transform without what reads text, where that is computed before.

    Returns:
        What it is built of; `transformed` where nothing raw is left.
    """
    import tensorflow as tf

    from edgeline.components.convert import dependencies, replay

    transform, predict = signatures[TRANSFORM], signatures[PREDICT_TRANSFORMED]
    known = {feature.name: feature for feature in _features(transform)}
    compute: Callable[[Arrays], Arrays] = dict
    if hosted is not None:
        transform, compute = hosted.transform, Program(hosted.operations)
    every = {feature.name: feature for feature in _features(transform)}
    made = {feature.name: feature for feature in _features(predict)}
    kept = dependencies.made_of(
        replay.lower(transform, raw=True).function, made.keys() - set(outside)
    )
    if not kept:
        return transformed(signatures)
    read = hosted.operations.only([every[name] for name in kept]).reads if hosted else ()
    given = [_renamed(made[name], {*kept, *read}) for name in sorted(outside)]
    taken = sorted([*(every[name] for name in kept), *given], key=lambda feature: feature.name)

    def make(inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        rows = tf.shape(next(iter(inputs.values())))[0]
        # what is made of these alone is not built: nothing reads it
        whole = {
            name: inputs[name] if name in kept else tf.fill([rows, *feature.shape], _gap(feature))
            for name, feature in every.items()
        }
        return {**transform(**whole), **{f.transformed: inputs[f.name] for f in given}}

    def feed(rows: Arrays) -> Arrays:
        whole = {**rows, **compute(rows)}
        answer = running.call(transform, whole)
        return {f.name: answer[f.transformed] if f.transformed else whole[f.name] for f in taken}

    built = {
        **signatures,
        TRANSFORM: _traced(make, taken),
        SERVING: _traced(lambda inputs: predict(**make(inputs)), taken),
    }
    if hosted is None:
        return RawForm(MIXED, built, taken, feed)
    operations = hosted.operations.only(taken)
    if not operations.gives:
        return RawForm(MIXED, built, taken, feed)
    return RawForm(MIXED, built, _sent(operations, list(known.values())), feed, hosted)


def without(signatures: Signatures, form: RawForm, found: Lacks) -> RawForm:
    """The next form to try where one could not be built for what LiteRT lacks."""
    outside = {name for lack in found.values() for name in lack.makes}
    before = {feature.transformed for feature in form.features if feature.transformed}
    every = {feature.name for feature in _features(signatures[PREDICT_TRANSFORMED])}
    if outside in (before, every):
        return transformed(signatures)
    return mixed(signatures, outside, form.hosted)


def lacks(
    transform: tf.types.experimental.ConcreteFunction,
    operators: Nodes,
    hosted: Hosted | None = None,
    types: Mapping[str, Types] | None = None,
) -> dict[str, Lack]:
    """What operators of a transform read and make; of those that it lacks, nothing.

    Args:
        hosted: the same without what reads text, where that is computed before.
        types: for which each is lacked, see `building.UnsupportedError`.
    """
    from edgeline.components.convert import dependencies, replay

    function = replay.lower(hosted.transform if hosted else transform, raw=True).function
    meant = types or {}

    def raw_of(names: Sequence[str]) -> Sequence[str]:
        if hosted is None:
            return names
        return sorted({raw for name in names for raw in hosted.operations.read_for(name)})

    return {
        name: Lack(
            nodes,
            raw_of(dependencies.reads(function, name, meant.get(name, ()))),
            dependencies.makes(function, name, meant.get(name, ())),
        )
        for name, nodes in operators.items()
    }


def together(found: Lacks, more: Lacks) -> dict[str, Lack]:
    """What was lacked before, and what is lacked in what was tried next."""
    both = {**found, **more}
    for name in found.keys() & more.keys():
        first, second = found[name], more[name]
        both[name] = Lack(
            [*dict.fromkeys([*first.nodes, *second.nodes])],
            sorted({*first.reads, *second.reads}),
            sorted({*first.makes, *second.makes}),
        )
    return both


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


def _sent(operations: HostOperations, raw: Sequence[Feature]) -> list[Feature]:
    """What is sent to a model with host operations: all that it takes but what is computed."""
    passed = [each for each in operations.inputs if each.name not in operations.gives]
    known = {each.name for each in passed}
    read = [each for each in raw if each.name in operations.reads and each.name not in known]
    return sorted([*passed, *read], key=lambda feature: feature.name)


def _traced(
    function: Callable[[Mapping[str, tf.Tensor]], Mapping[str, tf.Tensor]],
    takes: Sequence[Feature],
) -> Any:
    import tensorflow as tf

    def call(**inputs: tf.Tensor) -> Mapping[str, tf.Tensor]:
        return function(inputs)

    specs = {
        f.name: tf.TensorSpec([None, *f.shape], tf.dtypes.as_dtype(f.dtype), f.name) for f in takes
    }
    return tf.function(call, autograph=False).get_concrete_function(**specs)


def _renamed(feature: Feature, others: Collection[str]) -> Feature:
    """A transformed feature as an input that is called like none of the others."""
    name = feature.name
    while name.lower() in {other.lower() for other in others}:
        name = safe(PREFIX + original(name))
    return Feature(name, feature.dtype, feature.shape, feature.name)


def _gap(feature: Feature) -> tf.Tensor:
    import tensorflow as tf

    return tf.constant(MISSING[feature.dtype], tf.dtypes.as_dtype(feature.dtype))
