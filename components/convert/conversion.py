"""Convert a SavedModel to LiteRT and compare the two. Runs in a child process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from edgeline.artifacts import differences
from edgeline.artifacts.bundle import Signature
from edgeline.artifacts.features import Feature
from edgeline.artifacts.host_operations import HostOperations
from edgeline.artifacts.models import SERVING, TRANSFORM
from edgeline.artifacts.transformed import TRANSFORMED
from edgeline.components.convert import column_names, raw_form, running
from edgeline.components.convert.built import Built
from edgeline.components.convert.raw_form import Lack, Lacks, RawForm
from edgeline.components.convert.running import Arrays
from edgeline.components.convert.settings import Settings
from edgeline.errors import first_line
from edgeline.formats.signature_names import as_taken, by_original
from edgeline.runtimes.host.program import sent


@dataclass(frozen=True)
class Conversion:
    """A converted model and what it answered beside the cloud's.

    `lacks` has the operators for which all or part of the transform could not be converted, or
    nothing at all (then `built` is None). `takes` is one of `edgeline.artifacts.transformed`.
    `cloud` and `edge` are outputs by name on the representative rows; where these differ by more
    than the quantisation allows, `origin` says in which tensor that begins. `features` and
    `signature` are what is sent to the model; `operations` are computed of it before its file.
    """

    built: Built | None
    takes: str
    features: Sequence[Feature]
    signature: Signature | None
    cloud: Arrays
    edge: Arrays
    lacks: Lacks = field(default_factory=dict)
    origin: str = ""
    operations: HostOperations | None = None


def convert(
    tell: Callable[[str], None], saved_model: str, rows: Arrays, settings: Settings
) -> Conversion:
    """Convert `serving_default`, with as much of the transform as converts (see `raw_form`).

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

    from edgeline.components.convert.building import UnsupportedError, build_form

    tf.get_logger().setLevel("ERROR")
    tell("loading the SavedModel")
    signatures = (loaded := tf.saved_model.load(saved_model)).signatures
    # under its own names until the model is built
    rows = as_taken(signatures[SERVING].structured_input_signature[1], rows)
    cloud = running.call(signatures[SERVING], rows)
    form = raw_form.hosted(signatures)
    hosted = form.hosted
    lacks: dict[str, Lack] = {}
    while True:
        try:
            built = build_form(tell, form, settings, rows)
            break
        except UnsupportedError as error:
            if TRANSFORM not in signatures or form.takes == TRANSFORMED:
                found = {name: Lack(nodes) for name, nodes in error.operators.items()}
                return Conversion(None, form.takes, [], None, by_original(cloud), {}, found)
            more = raw_form.lacks(signatures[TRANSFORM], error.operators, hosted, error.types)
            lacks = raw_form.together(lacks, more)
            form = raw_form.without(signatures, form, lacks)
    tell("running the converted model")
    edge, given = running.load(built.model), form.feed(rows)
    running.answers(edge, {name: values[:1] for name, values in given.items()})
    answers = running.answers(edge, given)
    origin = _origin(tell, form, built, rows, cloud, answers)
    del loaded  # until here the signatures lived on its variables
    named = replace(built, model=column_names.model(built.model))
    features = sorted(map(column_names.feature, form.features), key=lambda feature: feature.name)
    signature = running.load(named.model).signature
    operations = form.operations
    if operations is not None:
        operations = column_names.operations(operations)
        signature = sent(signature, operations, features)
    return Conversion(
        named,
        form.takes,
        features,
        signature,
        by_original(cloud),
        by_original(answers),
        column_names.lacks(lacks),
        origin,
        operations,
    )


def _origin(
    tell: Callable[[str], None],
    form: RawForm,
    built: Built,
    rows: Arrays,
    cloud: Arrays,
    answers: Arrays,
) -> str:
    """In which tensor answers that differ too much begin to do so, in a sentence; "" otherwise."""
    from edgeline.components.convert import locating

    alike = [name for name in cloud if name in answers and cloud[name].shape == answers[name].shape]
    found = [differences.gap(answers[name], cloud[name]).of_range for name in alike]
    if all(map(built.quantisation.allows, found)):
        return ""
    apart = [differences.difference(answers[name], cloud[name]) for name in alike]
    worst = np.max([each.reshape(len(each), -1).max(axis=1) for each in apart], axis=0)
    tell("looking for the tensor that differs")
    try:
        origin = locating.first(tell, form, rows, worst)
    except Exception as error:  # a converter's of any kind: that the answers differ is what counts
        return f"the tensor in which that begins was not found ({first_line(error)})"
    if origin:
        return origin.sentence()
    if built.quantisation.floating:
        return "no tensor differs alone, so LiteRT means something else by several at once"
    return "no tensor of the float model differs, so it comes of the quantisation"
