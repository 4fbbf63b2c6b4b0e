"""Lowering: operators that LiteRT lacks, rebuilt from builtins that it has, value for value.

`lower` freezes a signature of a SavedModel and replays its operators, one by one, into a new
function. An operator in `LOWERINGS` is replaced by its entry; every other one is copied. What
no entry takes stays as it is, so that the converter names it.

LiteRT neither selects between strings nor writes a number as a string. Where only a table
reads the result neither is needed, so both stay symbolic (`Choice`, `Decimal`) until something
reads them: `table[where(c, a, b)]` becomes `where(c, table[a], table[b])`.

Tables are rebuilt from their content, in a fixed order and under fixed names: the converter
writes a hash of a table's name, random by default, into the model. LiteRT has tables from
string to int64 and from int64 to string; the others that preprocessing uses are made of these.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

Value = Any  # a tf.Tensor, Table, Choice or Decimal


@dataclass
class Lowered:
    """A function without variables, ready to be saved and converted; the module owns its tables."""

    module: tf.Module
    function: Any  # tf.ConcreteFunction; tensors by name in and out
    replaced: dict[str, int] = field(default_factory=dict)  # how often each entry was used
    nodes: dict[str, list[str]] = field(default_factory=dict)  # node names, by operator
    tables: dict[Any, tf.lookup.StaticHashTable] = field(default_factory=dict)  # by content


def lower(signature: Any) -> Lowered:
    """Rebuild a signature of a loaded SavedModel out of operators that LiteRT has.

    Args:
        signature: one of `tf.saved_model.load(...).signatures`; what was loaded must stay alive.

    Returns:
        A function with the same named inputs and outputs, shapes and dtypes.
    """
    frozen = _freeze(signature)

    def build(lowered: Lowered, inputs: dict[str, Value]) -> dict[str, tf.Tensor]:
        return frozen.replay(lowered, frozen.given(inputs, lowered.tables), frozen.gives)

    return _trace(build, frozen.takes)


def split(transform: Any | None, predict: Any) -> tuple[Lowered, Lowered]:
    """Rebuild a transform and the network behind it, cut where only floating numbers flow.

    Args:
        transform: the signature that makes transformed features; None where they are given.
        predict: the signature that takes transformed features.

    Returns:
        The front (the transform, and embeddings and whatever else reads integers or strings)
        and the network. The network's inputs have the names of the front's outputs, are float,
        and give what `predict` gives.
    """
    first, second = _freeze(transform) if transform else None, _freeze(predict)
    cut = dict(zip(map("cut_{}".format, range(10**6)), second.cut(), strict=False))

    def front(lowered: Lowered, inputs: dict[str, Value]) -> dict[str, tf.Tensor]:
        if first:
            inputs = first.replay(lowered, first.given(inputs, lowered.tables), first.gives)
        return second.replay(lowered, second.given(inputs, lowered.tables), cut)

    def network(lowered: Lowered, inputs: dict[str, Value]) -> dict[str, tf.Tensor]:
        given = {cut[name].name: value for name, value in inputs.items()}
        return second.replay(lowered, given, second.gives)

    floats = {name: tf.TensorSpec(t.shape, t.dtype) for name, t in cut.items()}
    return _trace(front, (first or second).takes), _trace(network, floats)


@dataclass(frozen=True)
class _Frozen:
    """A signature without variables and calls, its tensors by the names of the signature."""

    graph: tf.Graph
    takes: dict[str, tf.TensorSpec]
    gives: dict[str, tf.Tensor]
    handles: dict[str, tf.Tensor]  # by placeholder tensor

    def given(
        self, inputs: dict[str, Value], tables: dict[Any, tf.lookup.StaticHashTable]
    ) -> dict[str, Value]:
        """Values of the placeholders, by tensor name."""
        handles = {name: _Handle(handle, tables) for name, handle in self.handles.items()}
        return {**handles, **{f"{spec.name}:0": inputs[name] for name, spec in self.takes.items()}}

    def cut(self) -> list[tf.Tensor]:
        """The floating tensors that the network takes once nothing reads an integer feature."""
        integer = {f"{s.name}:0" for s in self.takes.values() if not s.dtype.is_floating}
        readers = []
        for operator in self.graph.get_operations():
            if any(tensor.name in integer for tensor in operator.inputs):
                readers.append(operator)
                integer.update(t.name for t in operator.outputs if not t.dtype.is_floating)
        before = _ancestors(readers, set())
        before |= {name.split(":")[0] for name in self.given(dict.fromkeys(self.takes), {})}
        after = _ancestors([tensor.op for tensor in self.gives.values()], before)
        found = {
            tensor.name: tensor
            for operator in self.graph.get_operations()
            if operator.name in after - before
            for tensor in operator.inputs
            if tensor.op.name in before and tensor.op.type != "Const"
        }
        return [found[name] for name in sorted(found)]

    def replay(
        self, lowered: Lowered, given: dict[str, Value], wanted: dict[str, tf.Tensor]
    ) -> dict[str, tf.Tensor]:
        outputs = _replay(self.graph, list(wanted.values()), given, lowered)
        return dict(zip(wanted, outputs, strict=True))


def _freeze(signature: Any) -> _Frozen:
    frozen = convert_variables_to_constants_v2(
        signature, lower_control_flow=False, aggressive_inlining=True
    )
    captured = signature.captured_inputs
    inner = signature.inputs[len(signature.inputs) - len(captured) :]
    left = {tensor.name for tensor in frozen.inputs}  # variables have become constants
    return _Frozen(
        frozen.graph,
        dict(sorted(signature.structured_input_signature[1].items())),
        dict(zip(sorted(signature.structured_outputs), frozen.outputs, strict=True)),
        {t.name: handle for t, handle in zip(inner, captured, strict=True) if t.name in left},
    )


def _trace(
    build: Callable[[Lowered, dict[str, Value]], dict[str, tf.Tensor]],
    takes: dict[str, tf.TensorSpec],
) -> Lowered:
    lowered = Lowered(tf.Module(), None)

    def run(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        lowered.replaced.clear()  # TensorFlow traces twice what makes tables
        lowered.nodes.clear()
        outputs = build(lowered, inputs)
        return {name: tf.identity(value) for name, value in outputs.items()}

    function = tf.function(run, autograph=False)
    specs = {name: tf.TensorSpec(spec.shape, spec.dtype, name) for name, spec in takes.items()}
    lowered.function = function.get_concrete_function(**specs)
    lowered.module.function, lowered.module.tables = function, [*lowered.tables.values()]
    return lowered


@dataclass(frozen=True)
class Choice:
    """`tf.where(condition, then, otherwise)` of strings, not yet computed."""

    condition: tf.Tensor
    then: Value
    otherwise: Value

    def tensor(self) -> tf.Tensor:
        return tf.where(self.condition, _tensor(self.then), _tensor(self.otherwise))


@dataclass(frozen=True)
class Decimal:
    """`tf.strings.as_string(number)` of integers, not yet computed."""

    number: tf.Tensor

    def tensor(self) -> tf.Tensor:
        return tf.strings.as_string(self.number)


def _tensor(value: Value) -> tf.Tensor:
    return value.tensor() if isinstance(value, (Choice, Decimal)) else value


# --- tables -----------------------------------------------------------------------------------


class _Named(tf.lookup.KeyValueTensorInitializer):  # type: ignore[misc]
    """Gives its table a fixed name, where TensorFlow would draw one."""

    def __init__(self, name: str, keys: tf.Tensor, values: tf.Tensor):
        self.fixed_name = name
        super().__init__(keys, values)

    @property
    def _shared_name(self) -> str:
        return self.fixed_name


@dataclass
class _Handle:
    """A resource of the SavedModel; the operators that use it know it to be a table."""

    handle: tf.Tensor
    tables: dict[Any, tf.lookup.StaticHashTable]

    def content(self, key: tf.DType, value: tf.DType) -> tuple[Any, Any]:
        """Keys and values, [n] each, sorted by key."""
        with tf.init_scope():
            keys, values = tf.raw_ops.LookupTableExportV2(
                table_handle=self.handle, Tkeys=key, Tvalues=value
            )
            keys, values = keys.numpy(), values.numpy()
        order = np.argsort(keys, kind="stable")
        return keys[order], values[order]

    def lookup(self, keys: Any, values: Any, default: Any, given: tf.Tensor) -> tf.Tensor:
        content = (tuple(keys.tolist()), tuple(values.tolist()), default)
        if content not in self.tables:
            name = hashlib.sha256(repr(content).encode()).hexdigest()
            with tf.init_scope():
                named = _Named(f"table_{name}", tf.constant(keys), tf.constant(values))
                self.tables[content] = tf.lookup.StaticHashTable(named, default)
        return _reshaped(self.tables[content].lookup(given), given)


def _find(table: _Handle, keys: Value, default: tf.Tensor) -> tf.Tensor | None:
    """What a table of int64 values has for some keys; None where LiteRT has no such table."""
    if isinstance(keys, Choice):
        then, otherwise = (_find(table, k, default) for k in (keys.then, keys.otherwise))
        if then is None or otherwise is None:
            return None
        return tf.where(keys.condition, then, otherwise)
    fallback = tf.get_static_value(default)
    if fallback is None or default.dtype != tf.int64:
        return None
    fallback = int(fallback)
    if isinstance(keys, Decimal):
        names, values = table.content(tf.string, tf.int64)
        canonical = [str(_integer(name)).encode() == name for name in names]
        return _find_number(table, keys.number, names[canonical], values[canonical], fallback)
    if keys.dtype == tf.string:
        names, values = table.content(tf.string, tf.int64)
        if (constant := tf.get_static_value(keys)) is not None and keys.shape.rank == 0:
            known = dict(zip(names, values, strict=True))
            return tf.constant(known.get(constant.item(), fallback), tf.int64)
        return table.lookup(names, values, fallback, keys)
    if keys.dtype == tf.int64:
        numbers, values = table.content(tf.int64, tf.int64)
        names = np.array([str(number).encode() for number in numbers], object)
        return _find_number(table, keys, names, values, fallback)
    return None


def _find_number(
    table: _Handle, keys: tf.Tensor, names: Any, values: Any, default: int
) -> tf.Tensor:
    """int64 to int64 as int64 to string to int64; no number is written as the empty string."""
    numbers = np.array([int(name) for name in names], np.int64)
    if not len(numbers):
        return tf.fill(tf.shape(keys), tf.constant(default, tf.int64))
    named = table.lookup(numbers, names, "", tf.cast(keys, tf.int64))
    return table.lookup(names, values, default, named)


def _reshaped(values: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
    """The converter does not know that a table's answer has the shape of its keys."""
    if keys.shape.rank is not None and keys.shape.as_list().count(None) < 2:
        return tf.reshape(values, [-1 if size is None else size for size in keys.shape])
    return tf.reshape(values, tf.shape(keys))


def _integer(name: bytes) -> int | None:
    try:
        number = int(name)
    except ValueError:
        return None
    return number if -(2**63) <= number < 2**63 else None


# --- the lowered operators ----------------------------------------------------------------------
#
# An entry takes the operator (for its attributes) and its inputs and gives its output, or None
# where there is no exact equivalent.

Lowering = Callable[..., "Value | None"]


def _find_in_table(_: tf.Operation, table: Value, keys: Value, default: tf.Tensor) -> Value:
    return _find(table, keys, default) if isinstance(table, _Handle) else None


def _table_size(operator: tf.Operation, table: Value) -> Value:
    if not isinstance(table, _Handle):
        return None
    with tf.init_scope():
        size = int(tf.raw_ops.LookupTableSizeV2(table_handle=table.handle))
    return tf.constant(size, operator.outputs[0].dtype)


def _hash_bucket(operator: tf.Operation, strings: Value) -> Value:
    """One bucket takes all; LiteRT has no hash for more."""
    if operator.get_attr("num_buckets") != 1:
        return None
    return _zeros(strings)


def _select(operator: tf.Operation, condition: tf.Tensor, then: Value, otherwise: Value) -> Value:
    return Choice(condition, then, otherwise) if operator.outputs[0].dtype == tf.string else None


def _as_string(operator: tf.Operation, number: tf.Tensor) -> Value:
    plain = operator.get_attr("width") == -1 and number.dtype in (tf.int32, tf.int64)
    return Decimal(number) if plain else None


def _reshape(operator: tf.Operation, value: Value, *arguments: tf.Tensor) -> Value:
    """The shape of symbolic strings is that of what they are made of."""

    def again(tensor: tf.Tensor) -> tf.Tensor:
        if operator.type == "Squeeze":
            return tf.squeeze(tensor, operator.get_attr("squeeze_dims") or None)
        if operator.type == "ExpandDims":
            return tf.expand_dims(tensor, *arguments)
        return tf.reshape(tensor, *arguments)

    if isinstance(value, Decimal):
        return Decimal(again(value.number))
    if not isinstance(value, Choice):
        return None
    branches = []
    for branch in (value.then, value.otherwise):
        if isinstance(branch, tf.Tensor) and branch.shape.rank == 0:
            branches.append(branch)
        elif isinstance(branch, tf.Tensor) and _same_shape(branch, value.condition):
            branches.append(again(branch))
        else:
            return None
    return Choice(again(value.condition), *branches)


def _upper_bound(operator: tf.Operation, boundaries: tf.Tensor, values: tf.Tensor) -> Value:
    """How many boundaries a value is not below; all for NaN, as in TensorFlow.

    Counted as all but those above it: the converter makes `>=` of `not <`, which loses NaN. It
    also writes an infinite constant as the largest float; and TensorFlow, not LiteRT, takes
    denormal floats for 0.
    """
    count = tf.shape(boundaries, operator.get_attr("out_type"))[1]
    return count - _count(tf.expand_dims(values, 2), tf.expand_dims(boundaries, 1), operator)


def _lower_bound(operator: tf.Operation, boundaries: tf.Tensor, values: tf.Tensor) -> Value:
    """How many boundaries are below a value; none for NaN, as in TensorFlow."""
    return _count(tf.expand_dims(boundaries, 1), tf.expand_dims(values, 2), operator)


def _absolute(_: tf.Operation, x: tf.Tensor) -> Value:
    return tf.maximum(x, -x) if x.dtype == tf.int64 else None


def _sign(_: tf.Operation, x: tf.Tensor) -> Value:
    one = tf.constant(1, x.dtype)
    return tf.minimum(tf.maximum(x, -one), one) if x.dtype == tf.int64 else None


def _clip(_: tf.Operation, x: tf.Tensor, low: tf.Tensor, high: tf.Tensor) -> Value:
    return tf.minimum(tf.maximum(x, low), high) if x.dtype == tf.int64 else None


LOWERINGS: dict[str, Lowering] = {
    "Abs": _absolute,
    "AsString": _as_string,
    "ClipByValue": _clip,
    "ExpandDims": _reshape,
    "LookupTableFindV2": _find_in_table,
    "LookupTableSizeV2": _table_size,
    "LowerBound": _lower_bound,
    "Reshape": _reshape,
    "Select": _select,
    "SelectV2": _select,
    "Sign": _sign,
    "Squeeze": _reshape,
    "StringToHashBucket": _hash_bucket,
    "StringToHashBucketFast": _hash_bucket,
    "StringToHashBucketStrong": _hash_bucket,
    "UpperBound": _upper_bound,
}


def _count(lower: tf.Tensor, upper: tf.Tensor, operator: tf.Operation) -> tf.Tensor:
    flags = tf.cast(tf.less(lower, upper), operator.get_attr("out_type"))
    return tf.reduce_sum(flags, axis=-1)


def _zeros(value: Value) -> tf.Tensor:
    """int64 zeros of the shape of some strings, without computing the shape: LiteRT's SHAPE and
    FILL are fixed before a table has given its tensor a size."""
    if isinstance(value, Decimal):
        return tf.zeros_like(value.number, tf.int64)
    if isinstance(value, Choice):
        return tf.where(value.condition, _zeros(value.then), _zeros(value.otherwise))
    return tf.cast(tf.not_equal(value, value), tf.int64)


def _same_shape(a: tf.Tensor, b: tf.Tensor) -> bool:
    return a.shape.rank is not None and a.shape.as_list() == b.shape.as_list()


# --- the replay -----------------------------------------------------------------------------------


def _replay(
    graph: tf.Graph, outputs: Sequence[tf.Tensor], given: dict[str, Value], lowered: Lowered
) -> list[tf.Tensor]:
    """Build what `outputs` are made of in the current graph, from `given` tensors by name."""
    library = graph.as_graph_def().library
    if library.function:  # bodies of loops and branches
        tf.graph_util.import_graph_def(tf.compat.v1.GraphDef(library=library), name="")
    values = dict(given)
    known = {name.split(":")[0] for name in given}
    wanted = _ancestors([output.op for output in outputs], known) - known
    for operator in graph.get_operations():
        if operator.name in wanted:
            results = _build(operator, [values[t.name] for t in operator.inputs], lowered)
            values.update(zip((t.name for t in operator.outputs), results, strict=True))
    return [_tensor(values[output.name]) for output in outputs]


def _build(operator: tf.Operation, inputs: list[Value], lowered: Lowered) -> list[Value]:
    if operator.type == "Identity":
        return inputs
    if entry := LOWERINGS.get(operator.type):
        result = entry(operator, *inputs)
        if result is not None:
            lowered.replaced[operator.type] = lowered.replaced.get(operator.type, 0) + 1
            return [result]
    lowered.nodes.setdefault(operator.type, []).append(operator.name)
    tensors = [value.handle if isinstance(value, _Handle) else _tensor(value) for value in inputs]
    return _copy(operator, tensors)


def _copy(operator: tf.Operation, inputs: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    attributes = {
        name: value for name, value in operator.node_def.attr.items() if name != "_output_shapes"
    }
    copy = tf.compat.v1.get_default_graph().create_op(
        operator.type, list(inputs), name=operator.name, attrs=attributes
    )
    return list(copy.outputs)


def _ancestors(operators: Sequence[tf.Operation], known: set[str]) -> set[str]:
    """Names of operators and of all that they read, not looking behind `known` ones."""
    found: set[str] = set()
    waiting = list(operators)
    while waiting:
        operator = waiting.pop()
        if operator.name not in found:
            found.add(operator.name)
            if operator.name not in known:
                waiting.extend(tensor.op for tensor in operator.inputs)
    return found
