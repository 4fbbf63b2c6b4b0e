"""A signature of a SavedModel without variables and calls, and what its operators tell."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

import tensorflow as tf
from tensorflow.python.eager import context, wrap_function
from tensorflow.python.framework import convert_to_constants

from edgeline.components.convert.dependencies import ancestors
from edgeline.components.convert.folding import folded
from edgeline.components.convert.lowering import Handle, Value
from edgeline.formats.dtypes import Array

SAME = ("Identity", "Reshape", "ExpandDims", "Squeeze", "EnsureShape")  # values as they came
LINEAR = ("AddV2", "Sub", "Mul")
# what a network computes with, rather than prepares
WEIGHTED = ("MatMul", "BatchMatMulV2", "Einsum", "Conv2D", "DepthwiseConv2dNative", "Conv3D")
WEIGHT_BYTES = 1 << 16  # from here on a constant is a variable


@dataclass(frozen=True)
class Frozen:
    """A signature without variables and calls, its tensors by the names of the signature."""

    graph: tf.Graph
    takes: dict[str, tf.TensorSpec]
    gives: dict[str, tf.Tensor]
    handles: dict[str, tf.Tensor]  # by placeholder tensor
    weights: dict[str, tf.Variable]  # by node name of the constant

    @functools.cached_property
    def constants(self) -> dict[str, Array]:
        """What is computed of constants alone, by node name."""
        return folded(self.graph)

    @functools.cached_property
    def tests(self) -> list[tf.Operation]:
        """Tests for missing values of what came in, which integers could not answer."""
        return [
            operator
            for operator in self.graph.get_operations()
            if _is_test(operator)
            and not any(
                self.graph.get_operation_by_name(name).type in WEIGHTED
                for name in ancestors([operator])
            )
        ]

    def given(
        self, inputs: dict[str, Value], tables: dict[object, tf.lookup.StaticHashTable]
    ) -> dict[str, Value]:
        """Values of the placeholders, by tensor name."""
        handles = {name: Handle(handle, tables) for name, handle in self.handles.items()}
        return {**handles, **{f"{spec.name}:0": inputs[name] for name, spec in self.takes.items()}}

    def cut(self) -> list[tf.Tensor]:
        """The floating tensors that the network takes once nothing reads an integer feature, or
        asks whether a feature is missing."""
        integer = {f"{s.name}:0" for s in self.takes.values() if not s.dtype.is_floating}
        integer |= {operator.outputs[0].name for operator in self.tests}
        readers = [*self.tests]
        for operator in self.graph.get_operations():
            if any(tensor.name in integer for tensor in operator.inputs):
                readers.append(operator)
                integer.update(t.name for t in operator.outputs if not t.dtype.is_floating)
        before = ancestors(readers)
        before |= {name.split(":")[0] for name in self.given(dict.fromkeys(self.takes), {})}
        after = ancestors([tensor.op for tensor in self.gives.values()], before)
        found = {
            tensor.name: tensor
            for operator in self.graph.get_operations()
            if operator.name in after - before
            for tensor in operator.inputs
            if tensor.op.name in before and tensor.op.type != "Const"
        }
        return [found[name] for name in sorted(found)]

    def passes(self, scaled: bool) -> bool:
        """Whether all outputs are inputs as they came, or (`scaled`) times and plus constants."""
        constant: set[str] = set()
        passed = {f"{spec.name}:0" for spec in self.takes.values() if spec.dtype.is_floating}
        for operator in self.graph.get_operations():
            given = [tensor.name for tensor in operator.inputs]
            gives = {tensor.name for tensor in operator.outputs}
            varying = [place for place, name in enumerate(given) if name not in constant]
            if operator.type == "Shape" or (not varying and operator.type != "Placeholder"):
                constant |= gives
            elif [name for name in given if name in passed] == [given[i] for i in varying] and (
                (operator.type in SAME and varying == [0])
                or (scaled and operator.type in LINEAR and len(varying) == 1)
                or (scaled and operator.type == "RealDiv" and varying == [0])
            ):
                passed |= gives
        return all(tensor.name in passed for tensor in self.gives.values())


def _is_test(operator: tf.Operation) -> bool:
    itself = operator.type in ("Equal", "NotEqual") and operator.inputs[0] is operator.inputs[1]
    return itself or operator.type in ("IsNan", "IsFinite", "IsInf")


def freeze(signature: tf.types.experimental.ConcreteFunction) -> Frozen:
    """A signature without variables and calls; what was loaded with it must stay alive."""
    graph, left = _without_variables(signature)
    captured = signature.captured_inputs
    inner = signature.inputs[len(signature.inputs) - len(captured) :]
    specs = sorted(signature.structured_input_signature[1].items())
    # a specification has the name in small letters
    takes = {
        name: tf.TensorSpec(spec.shape, spec.dtype, tensor.op.name)
        for (name, spec), tensor in zip(specs, signature.inputs, strict=False)
    }
    gives = [graph.get_tensor_by_name(tensor.name) for tensor in signature.outputs]
    return Frozen(
        graph,
        takes,
        dict(zip(sorted(signature.structured_outputs), gives, strict=True)),
        {t.name: handle for t, handle in zip(inner, captured, strict=True) if t.name in left},
        _weights(graph),
    )


def _without_variables(
    signature: tf.types.experimental.ConcreteFunction,
) -> tuple[tf.Graph, set[str]]:
    """The graph of `convert_variables_to_constants_v2`, and the names of the inputs that are left.

    TensorFlow makes a function of it besides, which nobody calls here: copying the operators once
    more takes longer than all else on a table of 2,000 columns.
    """
    data = convert_to_constants._FunctionConverterDataInEager(
        func=signature, lower_control_flow=False, aggressive_inlining=True
    )
    definition, places = convert_to_constants._replace_variables_by_constants(data)
    captured = signature.graph.internal_captures
    constant = {captured[place].name for place in places}  # what were variables
    left = [tensor for tensor in signature.inputs if tensor.name not in constant]
    kept = [tensor.op.name for tensor in (*left, *signature.outputs)]
    needed = tf.compat.v1.graph_util.extract_sub_graph(definition, kept)
    for function in needed.library.function:  # those that were there have variables
        if context.context().has_function(function.signature.name):
            context.context().remove_function(function.signature.name)
    graph = wrap_function.wrap_function(
        functools.partial(tf.import_graph_def, needed, name=""), []
    ).graph
    for tensor in left:  # a scalar's shape is lost on the way
        graph.get_tensor_by_name(tensor.name).set_shape(tensor.shape)
    return graph, {tensor.name for tensor in left}


def _weights(graph: tf.Graph) -> dict[str, tf.Variable]:
    found = {}
    for operator in graph.get_operations():
        if operator.type == "Const" and operator.outputs[0].dtype == tf.float32:
            value = operator.get_attr("value")
            if value.ByteSize() >= WEIGHT_BYTES:
                name = re.sub(r"[^A-Za-z0-9_.]", "_", operator.name)
                found[operator.name] = tf.Variable(
                    tf.make_ndarray(value), trainable=False, name=name
                )
    return found
