"""Cutting a transform where text ends: host operations before, the edge model behind.

LiteRT has no operator that reads the bytes of a string. Operators that do, and all that they are
made of, become host operations (see `edgeline.artifacts.host_operations`), as far as each of them
is known to be computed exactly there. What they give, numbers, or strings that a vocabulary's
table reads, is an input of the edge model. What stays in the graph is converted as ever, so what
a table's content bounds is still a table in the model.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from edgeline.artifacts.features import Feature
from edgeline.artifacts.host_operations import CONST, VERSION, HostOperations, HostStep
from edgeline.components.convert import replay
from edgeline.components.convert.dependencies import ancestors
from edgeline.components.convert.freezing import freeze
from edgeline.formats.signature_names import original
from edgeline.runtimes.host import arrays
from edgeline.runtimes.host.elements import UnfitError
from edgeline.runtimes.host.program import OPERATIONS, TEXT

MOST_VALUES = 1000  # of a constant in a manifest
PREFIX = "host_"  # of an input whose name a feature has
PATTERNS = {  # with constant inputs these are operators with attributes
    "RegexReplace": ("StaticRegexReplace", ("pattern", "rewrite")),
    "RegexFullMatch": ("StaticRegexFullMatch", ("pattern",)),
}
HASHES = ("StringToHashBucket", "StringToHashBucketFast", "StringToHashBucketStrong")
TAKEN = ("string", "int64", "int32", "float32", "bool")  # by an edge model
ELEMENTWISE = (
    *("AddV2", "AsString", "Cast", "Equal", "Greater", "GreaterEqual", "Identity", "IsNan"),
    *("Less", "LessEqual", "LogicalAnd", "LogicalNot", "LogicalOr", "Maximum", "Minimum", "Mul"),
    *("NotEqual", "RegexFullMatch", "RegexReplace", "Select", "SelectV2", "StaticRegexFullMatch"),
    *("StaticRegexReplace", "StringJoin", "StringLength", "StringLower", "StringStrip"),
    *("StringToNumber", "StringUpper", "Sub", "Substr", "ZerosLike", *HASHES),
)


@dataclass(frozen=True)
class Hosted:
    """A transform whose text is read before it.

    Attributes:
        lowered: what is left of it, and what this needs to stay alive.
        operations: that make of raw features what is left takes.
    """

    lowered: replay.Lowered
    operations: HostOperations

    @property
    def transform(self) -> tf.types.experimental.ConcreteFunction:
        """What is left, to transformed features."""
        return self.lowered.function


def cut(transform: tf.types.experimental.ConcreteFunction) -> Hosted | None:
    """Take the operators that read text out of a transform.

    Args:
        transform: raw features, as named tensors, to transformed ones; what it was loaded with must
            stay alive.

    Returns:
        None where there are none, or none that can be host operations.
    """
    if not _may_read_text(transform.graph):
        return None
    frozen = freeze(transform)
    plan = _Plan(frozen.graph, list(frozen.gives.values()))
    while plan.wrong():
        plan = _Plan(frozen.graph, list(frozen.gives.values()), plan.banned)
    if not plan.given:
        return None
    names = _names(plan.given, [*frozen.takes, *frozen.gives])
    known = [tensor.op.name for tensor in plan.given]
    left = ancestors([tensor.op for tensor in frozen.gives.values()], known)
    kept = {name: spec for name, spec in frozen.takes.items() if spec.name in left - {*known}}
    specs = {
        **kept,
        **{names[t.name]: tf.TensorSpec(t.shape, t.dtype, names[t.name]) for t in plan.given},
    }
    takes = dict(sorted(specs.items()))
    lowered = replay.beginning_at(frozen, {t.name: names[t.name] for t in plan.given}, takes)
    inputs = tuple(
        Feature(name, spec.dtype.name, tuple(spec.shape[1:])) for name, spec in takes.items()
    )
    features = {f"{spec.name}:0": name for name, spec in frozen.takes.items()}
    steps = tuple(_steps(plan, {**features, **names}))
    return Hosted(lowered, HostOperations(VERSION, steps, inputs).only(inputs))


class _Plan:
    """What is computed before the edge model.

    Attributes:
        banned: names of operators that are not to be.
        computed: operators, in the order of the graph.
        given: tensors of these that the edge model takes.
    """

    def __init__(
        self, graph: tf.Graph, gives: Sequence[tf.Tensor], banned: frozenset[str] = frozenset()
    ) -> None:
        self.banned = banned
        wanted = ancestors([tensor.op for tensor in gives])
        operators = [each for each in graph.get_operations() if each.name in wanted]
        able: set[str] = set()
        core: list[tf.Operation] = []
        read: set[str] = set()  # that have a core operator before them
        for operator in operators:
            if operator.name in banned or not _able(operator, able):
                continue
            able.add(operator.name)
            after = any(tensor.op.name in read for tensor in operator.inputs)
            if _reads_text(operator.node_def) or (after and _stays(operator)):
                core.append(operator)
                after = True
            if after:
                read.add(operator.name)
        before = ancestors(core)
        self.computed = [each for each in operators if each.name in before]
        outputs = {tensor.name for tensor in gives}
        users = [each for each in operators if each.name not in before]
        outputs |= {tensor.name for user in users for tensor in user.inputs}
        self.given = [
            tensor
            for operator in self.computed
            if operator.name in read
            for tensor in operator.outputs
            if tensor.name in outputs
        ]
        self._by_row = _by_row(self.computed)

    def wrong(self) -> bool:
        """Whether the edge model cannot take a tensor; then its operator is banned."""
        bad = {tensor.op.name for tensor in self.given if not self._can_be_taken(tensor)}
        self.banned |= bad
        return bool(bad)

    def _can_be_taken(self, tensor: tf.Tensor) -> bool:
        shape = tensor.shape
        return (
            tensor.op.name in self._by_row
            and tensor.dtype.name in TAKEN
            and shape.rank is not None
            and shape.rank > 0
            and None not in shape.as_list()[1:]
        )


def _may_read_text(graph: tf.Graph) -> bool:
    """Whether a graph or a function of it has an operator that reads text.

    Asked before the graph is frozen, which takes seconds where there are thousands of columns.
    """
    definition = graph.as_graph_def()
    bodies = (body.node_def for body in definition.library.function)
    return any(map(_reads_text, itertools.chain(definition.node, *bodies)))


def _reads_text(node: tf.compat.v1.NodeDef) -> bool:
    """Whether LiteRT lacks it and it is not made into a table by `lowering`."""
    if node.op in HASHES:
        return bool(node.attr["num_buckets"].i != 1)
    if node.op == "AsString":
        kinds = (tf.int32.as_datatype_enum, tf.int64.as_datatype_enum)
        return node.attr["T"].type not in kinds or node.attr["width"].i != -1
    if node.op in ("ConcatV2", "RaggedTensorToTensor"):
        return bool(node.attr["T"].type == tf.string.as_datatype_enum)
    return node.op in TEXT or node.op in PATTERNS


def _stays(operator: tf.Operation) -> bool:
    """Whether what comes of text is still text, or a number that no edge model takes."""
    text = any(tensor.dtype == tf.string for tensor in operator.outputs)
    wide = any(tensor.dtype == tf.float64 for tensor in operator.inputs)
    return text or wide


def _able(operator: tf.Operation, able: set[str]) -> bool:
    """Whether an operator can be a host operation, behind others that can."""
    if operator.type == "Placeholder":
        return True
    if not all(tensor.op.name in able for tensor in operator.inputs):
        return False
    tensors = (*operator.inputs, *operator.outputs)
    if any(tensor.dtype.name not in arrays.DTYPES for tensor in tensors):
        return False
    step = _step(operator, {})
    if step is None or step.operator not in OPERATIONS:
        return False
    try:
        OPERATIONS[step.operator](dict(step.attributes))
    except (UnfitError, ValueError, TypeError, KeyError):
        return False
    if operator.type == "ReduceJoin":
        axes = _constant(operator.inputs[1])
        return axes is not None and axes.size == 1
    if operator.type == "StringSplitV2":
        sign = _constant(operator.inputs[1])
        spaces = operator.get_attr("maxsplit") >= 0 and (sign is None or not sign.item())
        return not spaces
    if operator.type == "Substr" and operator.get_attr("unit") == b"UTF8_CHAR":
        places = [_constant(tensor) for tensor in operator.inputs[1:]]
        return all(place is not None and (place >= 0).all() for place in places)
    return True


def _by_row(operators: Sequence[tf.Operation]) -> set[str]:
    """Names of operators whose output has a row for each row of the features, of it alone."""
    found: set[str] = set()
    for operator in operators:
        first, *others = [tensor.op.name in found for tensor in operator.inputs] or [False]
        kept = operator.type == "Placeholder"
        if operator.type == "RaggedTensorToTensor":
            source, size = operator.inputs[1].op, _constant(operator.inputs[0])
            of_rows = source.type == "StringSplitV2" and source.inputs[0].op.name in found
            kept = of_rows and size is not None and int(size.reshape(-1)[0]) == -1
        if operator.type in ELEMENTWISE:
            # what is not a column of rows must be the same for all of them
            rank = operator.outputs[0].shape.rank
            kept = any(tensor.op.name in found for tensor in operator.inputs) and all(
                tensor.op.name in found or _same_for_all(tensor, rank) for tensor in operator.inputs
            )
        elif operator.type in ("ExpandDims", "Squeeze", "Reshape") and first:
            given, made = (t.shape for t in (operator.inputs[0], operator.outputs[0]))
            kept = _sizes(given) is not None and _sizes(given) == _sizes(made)
        elif operator.type == "StridedSlice" and first:
            kept = _whole_rows(operator)
        elif operator.type == "ReduceJoin" and first:
            kept = int(_constant(operator.inputs[1]).item()) % operator.inputs[0].shape.rank != 0
        elif operator.type == "ConcatV2":
            axis, rank = _constant(operator.inputs[-1]), operator.outputs[0].shape.rank
            kept = all((first, *others[:-1])) and axis is not None and bool(rank)
            kept = kept and int(axis.item()) % rank != 0
        elif operator.type == "Pack":
            rank = operator.outputs[0].shape.rank
            kept = all((first, *others)) and bool(rank) and operator.get_attr("axis") % rank != 0
        if kept:
            found.add(operator.name)
    return found


def _same_for_all(tensor: tf.Tensor, rank: int | None) -> bool:
    shape = tensor.shape
    if shape.rank is None or rank is None:
        return False
    return bool(shape.rank < rank or (shape.rank == rank and shape.as_list()[0] == 1))


def _sizes(shape: tf.TensorShape) -> int | None:
    """Elements of a row; None where the first dimension is not the one that is open."""
    if not shape.rank or shape.as_list()[0] is not None or None in shape.as_list()[1:]:
        return None
    return math.prod(map(int, shape.as_list()[1:]))


def _whole_rows(operator: tf.Operation) -> bool:
    """Whether a slice leaves the first dimension as it is."""
    begin, end, shrink = (
        operator.get_attr(f"{name}_mask") & 1 for name in ("begin", "end", "shrink_axis")
    )
    first, strides = _constant(operator.inputs[1]), _constant(operator.inputs[3])
    starts = begin or (first is not None and first.size and first[0] == 0)
    return bool(starts and end and not shrink and strides is not None and strides[0] == 1)


def _steps(plan: _Plan, names: Mapping[str, str]) -> list[HostStep]:
    known = dict(names)
    taken = {*names.values()}
    constants: dict[str, str] = {}
    steps = []
    for operator in plan.computed:
        if operator.type == "Placeholder":
            continue
        if operator.type == "Identity" and operator.outputs[0].name not in known:
            known[operator.outputs[0].name] = known[operator.inputs[0].name]
            continue
        for tensor in operator.outputs:
            if tensor.name not in known:
                known[tensor.name] = _free(_plain(tensor), taken)
                taken.add(known[tensor.name])
        step = _step(operator, known)
        assert step is not None
        if step.operator == CONST:  # many are alike
            first = constants.setdefault(repr(step.attributes), step.gives[0])
            if first != step.gives[0]:
                known[operator.outputs[0].name] = first
                continue
        steps.append(step)
    return steps


def _step(operator: tf.Operation, names: Mapping[str, str]) -> HostStep | None:
    """An operator as a step; None where its attributes cannot be told in a manifest."""
    takes = [names.get(tensor.name, tensor.name) for tensor in operator.inputs]
    gives = tuple(names.get(tensor.name, tensor.name) for tensor in operator.outputs)
    if operator.type == "Const":
        values = tf.make_ndarray(operator.get_attr("value"))
        if values.size > MOST_VALUES or operator.outputs[0].dtype.name not in arrays.DTYPES:
            return None
        listed = _texts(values.reshape(-1).tolist())
        if listed is None or not all(map(_told, listed)):
            return None
        attributes = {
            "dtype": operator.outputs[0].dtype.name,
            "shape": [*values.shape],
            "values": listed,
        }
        return HostStep(CONST, (), gives, attributes)
    attributes = {}
    for name in operator.node_def.attr:
        if name.startswith("_") or name in ("N", "Tidx", "Index", "Tpaddings"):
            continue
        attributes[name] = value = _value(operator.get_attr(name))
        if value is None:
            return None
    kind = operator.type
    if kind in PATTERNS:
        kind, told = PATTERNS[kind]
        for name, tensor in zip(told, operator.inputs[1:], strict=True):
            constant = _constant(tensor)
            texts = None if constant is None else _texts([constant.item()])
            if texts is None:
                return None
            attributes[name] = texts[0]
        takes = takes[:1]
    return HostStep(kind, tuple(takes), gives, attributes)


def _value(value: Any) -> Any:
    """An attribute as JSON; None where it is of a kind that no host operation has."""
    if isinstance(value, tf.DType):
        return value.name
    if isinstance(value, bytes):
        texts = _texts([value])
        return texts[0] if texts else None
    if isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, list):
        found = [_value(each) for each in value]
        return None if None in found else found
    return None


def _texts(values: list[Any]) -> list[Any] | None:
    """Values with bytes as text; None where some are not UTF-8."""
    try:
        return [value.decode() if isinstance(value, bytes) else value for value in values]
    except UnicodeDecodeError:
        return None


def _told(value: object) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def _constant(tensor: tf.Tensor) -> Any:
    value = tf.get_static_value(tensor)
    return None if value is None else np.asarray(value)


def _names(tensors: Sequence[tf.Tensor], taken: Sequence[str]) -> dict[str, str]:
    """Names of the edge model's inputs, by tensor, none of which a feature has."""
    used, found = {*taken}, {}
    for tensor in tensors:
        found[tensor.name] = _free(_plain(tensor), used)
        used.add(found[tensor.name])
    return found


def _plain(tensor: tf.Tensor) -> str:
    own = re.sub(r"(Stateful)?PartitionedCall(_\d+)?/", "", tensor.op.name)  # of loading
    scopes = re.sub(r"[^A-Za-z0-9_]+", "_", own).strip("_")
    return scopes + (f"_{tensor.value_index}" if tensor.value_index else "")


def _free(name: str, taken: set[str]) -> str:
    """A name that no other is, either in a signature, which makes letters small, or in a file."""
    used = {other.lower() for each in taken for other in (each, original(each))}
    while {name.lower(), original(name).lower()} & used or not re.match(r"[A-Za-z]", name):
        name = PREFIX + name
    return name
