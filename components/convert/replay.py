"""Replay a signature of a SavedModel, operator by operator, into a function that LiteRT can have.

The signature is frozen (variables become constants, calls are inlined) and its operators are
built again in a new function. An operator in `lowering.LOWERINGS`, `integers.INTEGERS` or
`extremes.NUMBERS` is replaced by its entry; every other one is copied. What no entry takes stays
as it is, so that the converter names it. What only training reads stays behind: custom gradients,
which hold on to tensors of the graph that they were traced in, and what stops a gradient.

Large constants become variables again: a constant lies in the graph's description, of which
saving and converting keep some twenty copies at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf
from tensorflow.core.framework.function_pb2 import FunctionDef
from tensorflow.python.framework.function_def_to_graph import function_def_to_graph

from edgeline.components.convert import extremes, infinities, integers
from edgeline.components.convert.dependencies import LOOPS, ancestors, types_of
from edgeline.components.convert.folding import copied
from edgeline.components.convert.freezing import Frozen, freeze
from edgeline.components.convert.lowering import (
    LOWERINGS,
    Handle,
    Lowering,
    Ratio,
    Value,
    materialised,
)
from edgeline.formats.dtypes import Array

# give what they take, value by value; where they differ from nothing, it is in training
PASSED = ("Identity", "IdentityN", "StopGradient", "PreventGradient")
# where an operator takes the shape of a list's elements
LISTS = {"TensorListReserve": 0, "TensorListFromTensor": 1, "TensorListStack": 1}
UNCHANGED = ("Const", "Placeholder", *PASSED)  # give nothing that could differ
RATIOS = ("Cast", "RealDiv")  # whose entries know integers that became float64
NUMBERS = (tf.bool, tf.float32, tf.int32, tf.int64)
ALL = {**LOWERINGS, **integers.INTEGERS, **extremes.NUMBERS}


@dataclass
class Lowered:
    """A function ready to be saved and converted; the module owns its tables and weights."""

    module: tf.Module
    function: tf.types.experimental.ConcreteFunction  # tensors by name in and out
    replaced: dict[str, int] = field(default_factory=dict)  # how often each entry was used
    nodes: dict[str, list[str]] = field(default_factory=dict)  # node names, by operator
    types: dict[str, frozenset[str]] = field(default_factory=dict)  # of nodes, see `dependencies`
    tables: dict[object, tf.lookup.StaticHashTable] = field(default_factory=dict)  # by content
    weights: list[tf.Variable] = field(default_factory=list)
    inputs: dict[str, str] = field(default_factory=dict)  # names by those of their nodes
    entries: Mapping[str, Lowering] = field(default_factory=dict)  # what is rebuilt, and how
    batch: int = 0  # rows at once; 0 for any number
    unsaved: dict[str, list[str]] = field(default_factory=dict)  # nodes that read a resource as is
    infinite: bool = False  # whether it has infinite constants, which the converter does not write


def lower(
    signature: tf.types.experimental.ConcreteFunction, batch: int = 0, raw: bool = False
) -> Lowered:
    """Rebuild a signature of a loaded SavedModel out of operators that LiteRT has.

    Args:
        signature: one of `tf.saved_model.load(...).signatures`; what was loaded must stay alive.
        batch: the first dimension of each input; 0 leaves it as it is.
        raw: whether it takes raw features, whose floats may be denormal.

    Returns:
        A function with the same named inputs and outputs, shapes and dtypes.
    """
    frozen = freeze(signature)

    def build(lowered: Lowered, inputs: dict[str, Value]) -> dict[str, tf.Tensor]:
        return _replay(frozen, frozen.gives, frozen.given(inputs, lowered.tables), lowered)

    return _trace(build, frozen.takes, batch, raw=raw)


def split(
    transform: tf.types.experimental.ConcreteFunction | None,
    predict: tf.types.experimental.ConcreteFunction,
    batch: int = 0,
    scaled: bool = False,
) -> tuple[Lowered | None, Lowered]:
    """Rebuild a transform and the network behind it, cut where only floating numbers flow.

    Args:
        transform: the signature that makes transformed features; None where they are given.
        predict: the signature that takes transformed features.
        batch: the first dimension of each input; 0 leaves it as it is.
        scaled: whether a transform that only scales and shifts belongs to the network.

    Returns:
        The front (the transform, and embeddings and whatever else reads integers or strings)
        and the network. The network's inputs have the names of the front's outputs, are float,
        and give what `predict` gives. The front is None where the network can take what comes:
        floating features that no transform changes.
    """
    first, second = freeze(transform) if transform else None, freeze(predict)

    def whole(lowered: Lowered, inputs: dict[str, Value]) -> dict[str, tf.Tensor]:
        if first:
            inputs = _replay(first, first.gives, first.given(inputs, lowered.tables), lowered)
        return _replay(second, second.gives, second.given(inputs, lowered.tables), lowered)

    floating = all(spec.dtype.is_floating for spec in second.takes.values())
    if floating and not second.tests and (first is None or first.passes(scaled)):
        return None, _trace(whole, (first or second).takes, batch, LOWERINGS)
    cut = dict(zip(map("cut_{}".format, range(10**6)), second.cut(), strict=False))

    def front(lowered: Lowered, inputs: dict[str, Value]) -> dict[str, tf.Tensor]:
        if first:
            inputs = _replay(first, first.gives, first.given(inputs, lowered.tables), lowered)
        return _replay(second, cut, second.given(inputs, lowered.tables), lowered)

    def network(lowered: Lowered, inputs: dict[str, Value]) -> dict[str, tf.Tensor]:
        given = {cut[name].name: value for name, value in inputs.items()}
        return _replay(second, second.gives, given, lowered)

    floats = {name: tf.TensorSpec(t.shape, t.dtype) for name, t in cut.items()}
    # what is quantised has neither NaN nor infinity
    return (
        _trace(front, (first or second).takes, batch, raw=first is not None),
        _trace(network, floats, batch, LOWERINGS),
    )


def beginning_at(
    frozen: Frozen, names: Mapping[str, str], takes: dict[str, tf.TensorSpec]
) -> Lowered:
    """The part of a signature behind some of its tensors, its operators as they are.

    Args:
        frozen: what it is a part of.
        names: of new inputs, by the names of the tensors that these take the place of.
        takes: the new inputs, and those of the signature that are still read.
    """

    def build(lowered: Lowered, inputs: dict[str, Value]) -> dict[str, tf.Tensor]:
        given: dict[str, Value] = {
            name: Handle(handle, lowered.tables) for name, handle in frozen.handles.items()
        }
        own = {f"{frozen.takes[name].name}:0": name for name in takes.keys() & frozen.takes.keys()}
        given |= {tensor: inputs[name] for tensor, name in {**own, **names}.items()}
        return _replay(frozen, frozen.gives, given, lowered)

    return _trace(build, takes, 0, {})


@dataclass(frozen=True)
class ExposedTensor:
    """A tensor of a signature.

    Attributes:
        name: there.
        operator: that gives it.
        makes: the outputs that it has a part in.
        row_bytes: of one row of it.
    """

    name: str
    operator: str
    makes: Sequence[str]
    row_bytes: int


@dataclass(frozen=True)
class Exposed:
    """A signature with its tensors as outputs, by keys that sort as they are computed.

    `cloud` has them of the operators as they are, `edge` of those that LiteRT has.
    """

    tensors: dict[str, ExposedTensor]
    cloud: Lowered
    edge: Lowered


def expose(signature: tf.types.experimental.ConcreteFunction, raw: bool = False) -> Exposed:
    """Rebuild a signature so that each of its tensors of numbers is an output, but for scalars.

    Args:
        signature: one of `tf.saved_model.load(...).signatures`; what was loaded must stay alive.
        raw: whether it takes raw features, whose floats may be denormal.
    """
    frozen = freeze(signature)
    before = {name: ancestors([tensor.op]) for name, tensor in frozen.gives.items()}
    wanted: dict[str, tf.Tensor] = {}
    tensors: dict[str, ExposedTensor] = {}
    for operator in frozen.graph.get_operations():
        makes = [name for name, found in before.items() if operator.name in found]
        for tensor in operator.outputs if makes and operator.type not in UNCHANGED else ():
            if tensor.dtype in NUMBERS and tensor.shape.rank:
                key = f"tensor_{len(wanted):05}"
                size = math.prod(size or 1 for size in tensor.shape[1:]) * tensor.dtype.size
                wanted[key] = tensor
                tensors[key] = ExposedTensor(operator.name, operator.type, makes, size)

    def build(lowered: Lowered, inputs: dict[str, Value]) -> dict[str, tf.Tensor]:
        return _replay(frozen, wanted, frozen.given(inputs, lowered.tables), lowered)

    cloud = _trace(build, frozen.takes, 0, {})
    return Exposed(tensors, cloud, _trace(build, frozen.takes, 0, raw=raw))


def _trace(
    build: Callable[[Lowered, dict[str, Value]], dict[str, tf.Tensor]],
    takes: dict[str, tf.TensorSpec],
    batch: int,
    entries: Mapping[str, Lowering] = ALL,
    raw: bool = False,
) -> Lowered:
    lowered = Lowered(tf.Module(), None, entries=entries, batch=batch)

    def run(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        lowered.replaced.clear()  # TensorFlow traces twice what makes tables
        lowered.nodes.clear()
        lowered.unsaved.clear()
        lowered.weights.clear()
        lowered.inputs = {tensor.op.name: name for name, tensor in inputs.items()}
        if raw:
            inputs = {
                name: extremes.Unflushed(tensor) if tensor.dtype == tf.float32 else tensor
                for name, tensor in inputs.items()
            }
        outputs = build(lowered, inputs)
        return {name: tf.identity(value) for name, value in outputs.items()}

    function = tf.function(run, autograph=False)
    specs = {}
    for name, spec in takes.items():
        shape = [batch, *spec.shape[1:]] if batch else spec.shape
        specs[name] = tf.TensorSpec(shape, spec.dtype, name)
    lowered.function = function.get_concrete_function(**specs)
    # not the function itself: saving it would trace it once more
    lowered.module.tables = [*lowered.tables.values()]
    lowered.module.weights = lowered.weights
    return lowered


def _replay(
    frozen: Frozen, wanted: Mapping[str, tf.Tensor], given: dict[str, Value], lowered: Lowered
) -> dict[str, tf.Tensor]:
    """Build what is `wanted` in the current graph, from `given` tensors by name."""
    if bodies := _without_gradients(frozen.graph.as_graph_def().library.function):
        library = {"function": bodies}
        tf.graph_util.import_graph_def(tf.compat.v1.GraphDef(library=library), name="")
    if lowered.entries is ALL:
        lowered.infinite |= infinities.has_infinities(frozen.graph, frozen.constants)
    values = dict(given)
    known = {name.split(":")[0] for name in given}
    needed = ancestors([output.op for output in wanted.values()], known) - known
    for operator in frozen.graph.get_operations():
        if operator.name not in needed:
            continue
        if operator.name in frozen.weights:
            weight = frozen.weights[operator.name]
            lowered.weights.append(weight)
            values[operator.outputs[0].name] = weight.read_value()
        elif operator.name in frozen.constants:
            values[operator.outputs[0].name] = _constant(frozen.constants[operator.name], lowered)
        else:
            results = _build(operator, [values[t.name] for t in operator.inputs], lowered)
            values.update(zip((t.name for t in operator.outputs), results, strict=True))
    return {name: materialised(_flushed(values[output.name])) for name, output in wanted.items()}


def _build(operator: tf.Operation, inputs: list[Value], lowered: Lowered) -> list[Value]:
    if operator.type in PASSED:
        return inputs
    *side_by_side, axis = inputs or [None]
    if operator.type == "ConcatV2" and all(isinstance(v, extremes.Unflushed) for v in side_by_side):
        # once for all of them: of a table's thousands of columns each would be four operators
        lowered.nodes.setdefault(operator.type, []).append(operator.name)
        (joined,) = copied(operator, [*(value.given for value in side_by_side), axis])
        return [extremes.Unflushed(joined)]
    inputs = list(map(_flushed, inputs))
    if operator.type not in RATIOS:
        inputs = [materialised(value) if isinstance(value, Ratio) else value for value in inputs]
    if entry := lowered.entries.get(operator.type):
        result = entry(operator, *inputs)
        if result is not None:
            lowered.replaced[operator.type] = lowered.replaced.get(operator.type, 0) + 1
            return [result]
    if lowered.infinite and operator.type == "Const" and operator.outputs[0].dtype == tf.float32:
        return [_constant(tf.make_ndarray(operator.get_attr("value")), lowered)]
    lowered.nodes.setdefault(operator.type, []).append(operator.name)
    lowered.types[operator.name] = types_of(operator)
    if any(isinstance(value, Handle) for value in inputs):
        lowered.unsaved.setdefault(operator.type, []).append(operator.name)
    tensors = [
        value.handle if isinstance(value, Handle) else materialised(value) for value in inputs
    ]
    if operator.type in LOOPS and lowered.batch:
        return _traced_again(operator, tensors)
    if operator.type in LISTS and lowered.batch:
        place = LISTS[operator.type]
        tensors[place] = _of_rows(tensors[place], lowered.batch)
    return copied(operator, tensors)


def _flushed(value: Value) -> Value:
    return value.flushed if isinstance(value, extremes.Unflushed) else value


def _constant(value: Array, lowered: Lowered) -> tf.Tensor:
    if lowered.infinite and value.dtype == np.float32:
        value = infinities.below_largest(value)
    return tf.constant(value)


def _of_rows(shape: tf.Tensor, batch: int) -> tf.Tensor:
    """The shape of a list's elements, in which the number of rows is the one that is not known."""
    sizes = tf.get_static_value(shape)
    if sizes is None or np.count_nonzero(sizes == -1) != 1:
        return shape
    return tf.constant(np.where(sizes == -1, batch, sizes), shape.dtype)


def _traced_again(operator: tf.Operation, inputs: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """A loop whose body is traced for the shapes that it is given, as recurrent layers need it.

    TensorFlow traces a body for any number of rows, and the converter takes lists of tensors,
    in which steps are gathered, of known shapes alone.
    """
    library = operator.graph.as_graph_def().library
    bodies = {body.signature.name: body for body in library.function}

    def run(attribute: str) -> Callable[..., list[tf.Tensor]]:
        body = bodies[operator.get_attr(attribute).name]
        traced = function_def_to_graph(body, [tensor.shape for tensor in inputs])

        def call(*given: tf.Tensor) -> list[tf.Tensor]:
            names = {t.name: value for t, value in zip(traced.inputs, given, strict=True)}
            outputs = [tensor.name for tensor in traced.outputs]
            return list(
                tf.graph_util.import_graph_def(
                    traced.as_graph_def(), input_map=names, return_elements=outputs, name=""
                )
            )

        return call

    condition, body = run("cond"), run("body")

    def step(*given: tf.Tensor) -> list[tf.Tensor]:
        results = body(*given)
        for result, tensor in zip(results, inputs, strict=True):
            result.set_shape(tensor.shape)  # what goes round keeps its shape
        return results

    return list(
        tf.while_loop(lambda *given: condition(*given)[0], step, list(inputs), name=operator.name)
    )


def _without_gradients(functions: Sequence[FunctionDef]) -> list[FunctionDef]:
    """Bodies of loops, branches and calls that stayed calls (FunctionDefs), for inference."""
    for function in functions:
        for node in function.node_def:
            node.attr.pop("_gradient_op_type", None)
    return list(functions)
