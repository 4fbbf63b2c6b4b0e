"""Host operations, computed: raw features to what the file of an edge model takes.

`OPERATIONS` is the list of TensorFlow's operators that are computed beside a model. Each gives the
values that TensorFlow's gives, bit for bit, and refuses the elements on which that raises.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from edgeline.artifacts.bundle import Signature, Tensor
from edgeline.artifacts.features import Feature
from edgeline.artifacts.host_operations import CONST, VERSION, HostOperations, HostStep
from edgeline.errors import EdgelineError
from edgeline.formats.dtypes import Array
from edgeline.runtimes.host import arrays, numbers, text
from edgeline.runtimes.host.elements import (
    Attributes,
    HostFunction,
    RefusedElementError,
    UnfitError,
)
from edgeline.runtimes.interpreter import EdgeModel, RowError, quantise

Arrays = Mapping[str, Array]
SHOWN = 40  # characters of a value that is refused

# what LiteRT lacks of text
TEXT: dict[str, Callable[[Attributes], HostFunction]] = {
    "AsString": numbers.as_string,
    "ReduceJoin": text.reduce_join,
    "StaticRegexFullMatch": text.full_match,
    "StaticRegexReplace": text.replace,
    "StringJoin": text.join,
    "StringLength": text.length,
    "StringLower": text.lower,
    "StringSplitV2": text.split,
    "StringStrip": text.strip,
    "StringToHashBucket": text.hash_bucket,
    "StringToHashBucketFast": text.fingerprint_bucket,
    "StringToHashBucketStrong": text.siphash_bucket,
    "StringToNumber": numbers.to_number,
    "StringUpper": text.upper,
    "Substr": text.substr,
}
# what stands between these
BETWEEN: dict[str, Callable[[Attributes], HostFunction]] = {
    "AddV2": arrays.whole(np.add),
    "Cast": arrays.cast,
    "ConcatV2": arrays.typed(arrays.concat),
    "Const": arrays.constant,
    "Equal": arrays.typed(np.equal),
    "ExpandDims": arrays.plain(arrays.expand),
    "Fill": arrays.plain(arrays.fill),
    "Greater": arrays.typed(np.greater),
    "GreaterEqual": arrays.typed(np.greater_equal),
    "Identity": arrays.plain(lambda values: values),
    "IsNan": arrays.plain(np.isnan),
    "Less": arrays.typed(np.less),
    "LessEqual": arrays.typed(np.less_equal),
    "LogicalAnd": arrays.plain(np.logical_and),
    "LogicalNot": arrays.plain(np.logical_not),
    "LogicalOr": arrays.plain(np.logical_or),
    "Maximum": arrays.whole(np.maximum),
    "Minimum": arrays.whole(np.minimum),
    "Mul": arrays.whole(np.multiply),
    "NotEqual": arrays.typed(np.not_equal),
    "Pack": arrays.pack,
    "RaggedTensorToTensor": arrays.ragged_to_dense,
    "Reshape": arrays.plain(lambda values, size: values.reshape(tuple(size.tolist()))),
    "Select": arrays.old_select,
    "SelectV2": arrays.select,
    "Shape": arrays.shape,
    "Squeeze": arrays.squeeze,
    "StridedSlice": arrays.strided_slice,
    "Sub": arrays.whole(np.subtract),
    "ZerosLike": arrays.zeros_like,
}
OPERATIONS = {**TEXT, **BETWEEN}


class Program:
    """Host operations, ready to compute: call it with features [rows, ...] by name.

    Args:
        file: the inputs of the model's file; to those that have a scale results are quantised.

    Raises:
        EdgelineError: this version does not know an operator or what it is asked to do.
    """

    def __init__(self, declared: HostOperations, file: Sequence[Tensor] = ()) -> None:
        if declared.version != VERSION:
            raise EdgelineError(
                f"The model needs host operations of version {declared.version}, and this is "
                f"version {VERSION}: update edgeline on this machine."
            )
        self.declared = declared
        self._quantised = tuple(each for each in file if each.name in declared.gives)
        wanted = {each.name: each for each in declared.inputs}
        for tensor in file:
            if tensor.name not in wanted or tensor.shape[1:] != wanted[tensor.name].shape:
                raise EdgelineError(
                    f"The model's file takes {tensor.name!r} of shape {list(tensor.shape)}, which "
                    "its host operations do not say: publish the model again."
                )
        ready = [(step, _ready(step)) for step in declared.steps]
        self._steps = [(step, operation) for step, operation in ready if step.operator != CONST]
        self._constants = {
            name: operation()
            for step, operation in ready
            if step.operator == CONST
            for name in step.gives
        }
        known = set(declared.reads)
        for step in declared.steps:
            if missing := [name for name in step.takes if name not in known]:
                raise EdgelineError(
                    f"The host operation {step.operator} reads {missing[0]!r}, which is computed "
                    "after it: publish the model again."
                )
            known |= {*step.gives}

    def __call__(self, given: Arrays) -> dict[str, Array]:
        """What the model's file takes.

        Raises:
            RowError: TensorFlow raises on a row.
            EdgelineError: a step cannot be computed at all.
        """
        values = {**self._constants, **given}
        for step, operation in self._steps:
            try:
                found = operation(*(values[name] for name in step.takes))
            except RefusedElementError as error:
                raise self._refusal(step, values, error) from error
            except (ValueError, TypeError, IndexError, OverflowError) as error:
                raise EdgelineError(
                    f"The host operation {step.operator} of {self._named(step)} cannot be computed "
                    f"({error}): check what is given for it, or publish the model again."
                ) from error
            outputs = found if isinstance(found, tuple) else (found,)
            values.update(zip(step.gives, map(np.asarray, outputs), strict=True))
        made = {feature.name: values[feature.name] for feature in self.declared.inputs}
        return quantise(made, self._quantised)

    def _refusal(self, step: HostStep, values: Arrays, error: RefusedElementError) -> RowError:
        size = np.broadcast_shapes(*(np.shape(values[name]) for name in step.takes))
        row = error.place // max(int(np.prod(size[1:])), 1) if size else 0
        shown = error.value
        if isinstance(shown, bytes):
            shown = shown.decode(errors="backslashreplace")
            shown = shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}…"
        return RowError(
            row,
            f"{step.operator} of {self._named(step)} refuses {shown!r}, since {error}: give "
            "another value, or ask for the others without it.",
        )

    def _named(self, step: HostStep) -> str:
        return ", ".join(map(repr, self.declared.read_for(step.gives[0])))


def hosted(
    model: EdgeModel, declared: HostOperations | None, takes: Sequence[Feature]
) -> EdgeModel:
    """An edge model with its host operations before it, which takes what people send.

    Args:
        model: the file alone.
        declared: None where it needs none: then the model itself.
        takes: the features that people send.

    Raises:
        EdgelineError: as `Program`.
    """
    if declared is None:
        return model
    invoke = _Hosted(Program(declared, model.signature.inputs), model.invoke)
    return EdgeModel(sent(model.signature, declared, takes), invoke)


def sent(file: Signature, declared: HostOperations, takes: Sequence[Feature]) -> Signature:
    """The signature of a file with host operations before it: what people send."""
    own = {tensor.name: tensor for tensor in file.inputs}
    batch = file.inputs[0].shape[0] if file.inputs and file.inputs[0].shape else -1
    computed = set(declared.gives)
    return Signature(
        tuple(
            own[feature.name]
            if feature.name in own and feature.name not in computed
            else Tensor(feature.name, feature.dtype, (batch, *feature.shape))
            for feature in takes
        ),
        file.outputs,
    )


class _Hosted:
    """A bare model behind its host operations; what else it says of itself stays."""

    def __init__(self, program: Program, invoke: Callable[[Arrays], Arrays]) -> None:
        self._program, self._invoke = program, invoke
        if hasattr(invoke, "pid"):
            self.pid = invoke.pid

    def __call__(self, given: Arrays) -> Arrays:
        begin = time.perf_counter()
        computed = self._program(given)
        spent = time.perf_counter() - begin
        answer = self._invoke(computed)
        if hasattr(self._invoke, "seconds"):
            self.seconds = self._invoke.seconds + spent
        return answer


def _ready(step: HostStep) -> HostFunction:
    if step.operator not in OPERATIONS:
        raise EdgelineError(
            f"The model needs the host operation {step.operator!r}, which this version does not "
            "know: update edgeline on this machine."
        )
    try:
        return OPERATIONS[step.operator](dict(step.attributes))
    except (UnfitError, ValueError, TypeError, KeyError) as error:
        raise EdgelineError(
            f"The model needs the host operation {step.operator}, but this version does not know "
            f"what it means here ({error}): update edgeline on this machine, or publish the model "
            "again."
        ) from error
