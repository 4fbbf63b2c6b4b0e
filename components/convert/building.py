"""LiteRT models from the signatures of a SavedModel: floating, quantised, or as small as may be.

Traps that this module stands clear of:
- `from_concrete_functions` falls back, silently, to a path that leaves READ_VARIABLE in the
  model (and NaN in its outputs) when saving fails. Here the function is frozen, saved and
  converted from the SavedModel.
- Integer quantisation would move the boundaries of buckets and refuses integers and strings at
  the input, and float16 would round the boundaries. So only what comes after the transform is
  quantised (see `replay.split` and `joining`).
"""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from edgeline.artifacts.models import PREDICT_TRANSFORMED, SERVING, TRANSFORM
from edgeline.artifacts.transformed import TRANSFORMED
from edgeline.components.convert import (
    fallback,
    infinities,
    joining,
    judging,
    layer_errors,
    missing,
    raw_form,
    recipes,
    replay,
    running,
)
from edgeline.components.convert.built import Built
from edgeline.components.convert.dependencies import LOOPS, Types
from edgeline.components.convert.layer_errors import Layer
from edgeline.components.convert.raw_form import RawForm, Signatures
from edgeline.components.convert.replay import Lowered
from edgeline.components.convert.running import Arrays
from edgeline.components.convert.settings import Settings
from edgeline.errors import EdgelineError
from edgeline.formats.packing import compact
from edgeline.formats.quantisation import AUTO, CONVERTER, DYNAMIC, FLOAT, FP16, Quantisation, of

if TYPE_CHECKING:
    import tensorflow as tf

AS_FLOAT = Settings(FLOAT)
# the converter takes lgamma, and what it makes fails for any number of rows; of a switch_case,
# which freezing makes a _SwitchN, it makes an If of a number, and fails without a name
FAILING = ("Lgamma", "_SwitchN")
Tell = Callable[[str], None]


class UnsupportedError(Exception):
    """Operators that LiteRT lacks, by name, with their nodes.

    Attributes:
        types: that it lacks them for, by operator, see `dependencies`; what is not there is lacked
            for all. LiteRT has most operators, but not for all dtypes.
    """

    def __init__(
        self, operators: Mapping[str, Sequence[str]], types: Mapping[str, Types] | None = None
    ) -> None:
        super().__init__(", ".join(operators))
        self.types = types or {}
        self.operators = operators


def build(
    tell: Tell, signatures: Signatures, settings: Settings, rows: Arrays, raw: bool = True
) -> Built:
    """Build the model of a SavedModel's signatures that `settings` ask for.

    Args:
        raw: whether it takes raw features; else it takes those of the transform.

    Others, and what is raised, are as of `build_form`.
    """
    has_transform = signatures.keys() >= {TRANSFORM, PREDICT_TRANSFORMED}
    form = raw_form.raw if raw or not has_transform else raw_form.transformed
    return build_form(tell, form(signatures), settings, rows)


def build_form(tell: Tell, form: RawForm, settings: Settings, rows: Arrays) -> Built:
    """Build the model that `settings` ask for, of what it takes.

    Args:
        tell: is told what comes next, with the operators at hand.
        form: what the model takes; its signatures, without TRANSFORM and PREDICT_TRANSFORMED, are
            a network alone.
        rows: raw features, [rows, ...] each.

    Raises:
        UnsupportedError: LiteRT lacks an operator.
        EdgelineError: a recipe is none, `auto` has no labels, or a network with a loop is to be
            quantised to integers.
    """
    signatures, raw, given = form.signatures, form.takes != TRANSFORMED, form.feed(rows)
    transform, predict = None, signatures[SERVING]
    if signatures.keys() >= {TRANSFORM, PREDICT_TRANSFORMED}:
        transform = signatures[TRANSFORM] if raw else None
        predict = signatures[PREDICT_TRANSFORMED]
    if settings.quantisation == FLOAT:
        signature = signatures[SERVING] if raw else predict
        whole = replay.lower(signature, settings.batch, raw=transform is not None)
        return Built(_litert(tell, whole, settings), whole.replaced, settings.quantisation)
    if settings.quantisation.maker == CONVERTER and not settings.integer:
        return _weights(tell, transform, predict, settings, given)
    # what is scaled before it is rounded to a step is rounded to the same step before
    scaled = settings.io != "float"
    front, network = replay.split(transform, predict, settings.batch, scaled)
    head, taken = None, given
    if front is not None:
        # embeddings read integers, so they are in the front; their weights may be int8
        head = _litert(tell, front, replace(AS_FLOAT, quantisation=DYNAMIC))
        taken = running.call(front.function, given)
    lowered = Counter(front.replaced if front else {}) + Counter(network.replaced)
    behind = None if settings.io != "float" else _carrying(tell, front, network, given)
    parts = Parts(tell, head, _litert(tell, network, AS_FLOAT), taken, settings, behind)
    if settings.quantisation == AUTO:
        return _auto(parts, form, rows, dict(lowered))
    if settings.recipe:
        tail = parts.quantised(settings.recipe, ())
        layers = parts.layers(settings.recipe, tail)
    else:
        if loops := [name for kind in LOOPS for name in network.nodes.get(kind, ())]:
            raise recipes.loop_error(loops[0])  # the converter would crash
        tail = _litert(tell, network, settings, taken, inputs="float" if head else settings.io)
        layers = layer_errors.measure(parts.network, tail, taken)
    return Built(parts.joined(tail), dict(lowered), settings.quantisation, layers)


def floating(tell: Tell, lowered: Lowered) -> bytes:
    """A lowered function as a float LiteRT model.

    Raises:
        UnsupportedError: LiteRT lacks an operator.
    """
    return _litert(tell, lowered, AS_FLOAT)


@dataclass
class Parts:
    """The head of a model and its floating network, to be quantised by recipes.

    Attributes:
        head: what comes before the network, or None.
        rows: what the network takes, [rows, ...] each.
        behind: what carries missing numbers around the quantised network, or None.
    """

    tell: Tell
    head: bytes | None
    network: bytes
    rows: Arrays
    settings: Settings
    behind: bytes | None
    calibrations: dict[str, Mapping[str, object] | None] = field(default_factory=dict)

    def joined(self, tail: bytes) -> bytes:
        tail = _with_missing(tail, self.behind)
        return joining.join(self.head, tail) if self.head else tail

    def quantised(
        self, recipe: recipes.Recipe, kept: Sequence[str], spare: recipes.Recipe | None = None
    ) -> bytes:
        """The network by a recipe, with some layers in the precision of another."""
        integer = self.settings.io != "float"
        whole = recipes.with_io(recipe, integer and not self.head, integer)
        key = repr(recipe)
        if key not in self.calibrations:
            self.tell("calibrating")
            self.calibrations[key] = recipes.calibrate(self.network, whole, self.rows)
        chosen = recipes.keeping(whole, kept, spare)
        self.tell("quantising by a recipe")
        return recipes.quantise(self.network, chosen, self.calibrations[key])

    def layers(self, recipe: recipes.Recipe, tail: bytes) -> list[Layer]:
        """The layers of the network quantised by a recipe, what hurts most first."""
        found = layer_errors.measure(self.network, tail, self.rows)
        names = [layer.name for layer in found if layer.quantised]
        return layer_errors.effects(
            self.network,
            found,
            lambda layer: self.quantised(recipe, [name for name in names if name != layer.name]),
            self.rows,
        )

    def candidate(self, recipe: str, kept: Sequence[str], spare: str) -> bytes:
        """The network by a named recipe, some layers by another."""
        other = recipes.named(spare) if spare else None
        return self.quantised(recipes.named(recipe), kept, other)


def _auto(parts: Parts, form: RawForm, rows: Arrays, lowered: Mapping[str, int]) -> Built:
    assert parts.settings.limit is not None
    parts.tell("evaluating the trained model")
    cloud, judged = judging.judge(form, parts.settings.limit)

    class Maker:
        def fits(self, row: Quantisation) -> bool:
            try:
                recipes.check_fit(parts.network, recipes.named(row.recipe))
            except EdgelineError:
                return False
            return True

        def layers(self, recipe: str) -> Sequence[str]:
            found = parts.layers(recipes.named(recipe), parts.candidate(recipe, (), ""))
            return [layer.name for layer in found if layer.quantised]

        def model(self, row: Quantisation, kept: Sequence[str], spare: str) -> bytes:
            if row.floating:
                how = Settings(row, batch=parts.settings.batch)
                return build_form(parts.tell, form, how, rows).model
            return parts.joined(parts.candidate(row.recipe, kept, spare))

    limit = parts.settings.limit.max_drop
    model, best, spare, candidates = fallback.search(Maker(), judged, limit, parts.tell)
    layers: Sequence[Layer] = ()
    chosen = of(best.quantisation)
    if not chosen.floating:
        tail = parts.candidate(chosen.recipe, best.kept, spare)
        layers = layer_errors.measure(parts.network, tail, parts.rows)
    return Built(model, lowered, chosen, layers, candidates, cloud)


def _weights(
    tell: Tell,
    transform: tf.types.experimental.ConcreteFunction | None,
    predict: tf.types.experimental.ConcreteFunction,
    settings: Settings,
    rows: Arrays,
) -> Built:
    """Weights of the network as float16 or int8, and the transform as it is.

    Float16 boundaries would move rows between buckets, and what quantisation-aware training
    left in the network would have the converter quantise the scaling before it.
    """
    network = replay.lower(predict, settings.batch)
    tail, plain = _litert(tell, network, settings), _litert(tell, network, AS_FLOAT)
    front = None if transform is None else replay.lower(transform, settings.batch, raw=True)
    behind = _carrying(tell, front, network, rows) if settings.quantisation == DYNAMIC else None
    whole = _with_missing(tail, behind)
    if front is None or transform is None:
        layers = layer_errors.measure(plain, tail, rows)
        return Built(whole, network.replaced, settings.quantisation, layers)
    layers = layer_errors.measure(plain, tail, running.call(transform, rows))
    joined = joining.join(_litert(tell, front, AS_FLOAT), whole)
    lowered = dict(Counter(front.replaced) + Counter(network.replaced))
    return Built(joined, lowered, settings.quantisation, layers)


def _carrying(tell: Tell, front: Lowered | None, network: Lowered, rows: Arrays) -> bytes | None:
    """What carries missing numbers around a quantised network, where it needs that."""
    reaching = missing.reaching(front, network, rows)
    return _litert(tell, missing.carrying(network, reaching), AS_FLOAT) if reaching else None


def _with_missing(tail: bytes, behind: bytes | None) -> bytes:
    return joining.behind(tail, behind, missing.INPUT, missing.OUTPUT) if behind else tail


def _litert(
    tell: Tell,
    lowered: Lowered,
    settings: Settings,
    rows: Arrays | None = None,
    inputs: str = "float",
) -> bytes:
    """The bytes of a LiteRT model; `inputs` is the dtype of its inputs, as in `settings.IO`."""
    import tensorflow as tf
    from tensorflow.lite.python.lite import TFLiteSavedModelConverterV2

    quantisation = settings.quantisation
    failing = {name: nodes for name, nodes in lowered.nodes.items() if name in FAILING}
    failing |= lowered.unsaved  # saving would fail: the resource is the trained model's
    if failing:
        types = {
            name: {lowered.types[node] for node in lowered.unsaved[name]}
            for name in lowered.unsaved
        }
        raise UnsupportedError(failing, types)
    tell(f"converting {', '.join(sorted(lowered.nodes.keys() - PLAIN))} to {quantisation.name}")
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(lowered.module, folder, signatures={SERVING: lowered.function})
        # from_saved_model gives the same, but loads it first to look for the signature
        converter = TFLiteSavedModelConverterV2(folder, {"serve"}, [SERVING])
        converter.exclude_conversion_metadata = True  # to add them it is unpacked and packed again
        converter._experimental_disable_per_channel = not settings.per_channel
        converter._experimental_disable_per_channel_quantization_for_dense_layers = (
            not settings.per_channel
        )
        if quantisation != FLOAT:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if quantisation == FP16:
            converter.target_spec.supported_types = [tf.float16]
        if rows is not None:
            kind = tf.lite.OpsSet
            integers = {  # by bits of activations
                8: kind.TFLITE_BUILTINS_INT8,
                16: kind.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8,
            }
            converter.target_spec.supported_ops = [
                integers[quantisation.activations],
                kind.TFLITE_BUILTINS,
            ]
            converter.representative_dataset = lambda: _single_rows(rows)
            types = {"float": tf.float32, "int8": tf.int8, "uint8": tf.uint8}
            converter.inference_input_type = types[inputs]
            converter.inference_output_type = types[settings.io]
        try:
            model = bytes(converter.convert())
            if lowered.infinite:
                return infinities.with_infinities(model)
            return model if quantisation.floating else compact(model)
        except Exception as error:
            operators = unsupported_operators(str(error), lowered.nodes)
            if not operators:
                raise
            types = unsupported_types(str(error))
            meant = {
                name: [node for node in nodes if lowered.types[node] in types.get(name, ())]
                or nodes
                for name, nodes in operators.items()
            }
            raise UnsupportedError(meant, types) from error


def unsupported_operators(
    text: str, nodes: Mapping[str, Sequence[str]]
) -> dict[str, Sequence[str]]:
    """The TensorFlow operators that a converter's message says it cannot convert.

    A string select or number to string (see `lowering`) is left out where another operator
    made it necessary. Lists of tensors (recurrent layers) are not named in the message.

    Args:
        text: the message.
        nodes: node names by operator; the result has those of the operators found.
    """
    found = set(re.findall(r"'tf\.(\w+)' op is neither a custom op nor a flex op", text))
    for line in re.findall(r"TF (?:Select|Custom) ops: (.*)", text):
        found |= {name.strip() for name in line.split(",")}
    if not found and "tensor list ops" in text:
        found = {name for name in nodes if name.startswith("TensorList")}
    found = found - {"AsString", "Select", "SelectV2"} or found
    return {name: nodes.get(name, []) for name in sorted(found)}


def unsupported_types(text: str) -> dict[str, set[frozenset[str]]]:
    """For which types a converter's message says that LiteRT lacks an operator, by operator.

    It has a line such as `tf.RealDiv(tensor<?x1xf64>, tensor<f64>) -> (tensor<?x1xf64>) : {…}`.
    """
    found: dict[str, set[frozenset[str]]] = {}
    for name, tensors in re.findall(r"^\s*tf\.(\w+)(\(.*\) -> .*) : \{", text, re.MULTILINE):
        elements = re.findall(r"tensor<(?:[0-9*?]+x)*!?([\w.]+)", tensors)
        kinds = frozenset(TYPES.get(element, element) for element in elements)
        found.setdefault(name, set()).add(kinds)
    return found


def _single_rows(rows: Arrays) -> Iterator[tuple[str, Arrays]]:
    count = len(next(iter(rows.values())))
    for row in range(count):
        yield SERVING, {name: values[row : row + 1] for name, values in rows.items()}


# TensorFlow's names of dtypes, by the converter's
TYPES = {
    **{f"i{bits}": f"int{bits}" for bits in (8, 16, 32, 64)},
    **{f"ui{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)},
    **{f"f{bits}": f"float{bits}" for bits in (16, 32, 64)},
    "i1": "bool",
    "bf16": "bfloat16",
    "complex": "complex64",
    "tf_type.string": "string",
    "tf_type.resource": "resource",
}
# never the reason of a crash: left out of what is told
PLAIN = {
    *("Const", "Identity", "Reshape", "Shape", "StridedSlice", "Pack", "Cast", "AddV2", "Sub"),
    *("Mul", "RealDiv", "Equal", "NotEqual", "Less", "SelectV2", "ZerosLike", "Sqrt", "NoOp"),
}
