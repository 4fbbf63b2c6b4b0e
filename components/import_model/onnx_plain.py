"""An ONNX file as a converter gets it: its own functions in place, sizes fixed, plain names.

What no LiteRT file can be is refused here, before a converter sees it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeline.artifacts.bundle import Signature
from edgeline.components.import_model import onnx_file
from edgeline.errors import EdgelineError

DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")
MOST_FILLED = 256 << 20  # bytes, at 8 a number, of weights that are one value throughout
RECURRENT = ("LSTM", "GRU", "RNN")
NOT_FINITE = ("IsNaN", "IsInf")
MOST_BOUNDS = 12  # the largest are left out
RANDOM = (
    *("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike"),
    *("RandomUniform", "RandomUniformLike"),
)


@dataclass(frozen=True)
class PlainOnnx:
    """A model with plain names.

    Attributes:
        model: the file.
        single: the same for one row, where the batch is open; else b"".
        signature: its inputs and outputs under our names, with the sizes that are fixed now.
        takes, gives: its names by ours.
        asks_finite: whether it asks its values for NaN or infinity.
        recurrent: whether it has layers that LiteRT computes with a state.
        casts: whether it makes whole numbers of more than 31 bits of other numbers.
        bounds: whole numbers at which it may behave otherwise: sizes of tables, constants.
    """

    model: bytes
    single: bytes
    signature: Signature
    takes: Mapping[str, str]
    gives: Mapping[str, str]
    asks_finite: bool
    recurrent: bool
    casts: bool
    bounds: tuple[int, ...]


def plain(data: bytes, signature: Signature, input_shape: Sequence[int], name: str) -> PlainOnnx:
    """A model under our names, with those of inputs and outputs made plain for a converter.

    Args:
        data: a valid model of `onnx_file.describe`.
        signature: its own.
        input_shape: of a row of the sole input, in the file's order, where sizes are open; or ().
        name: what the user calls the file.

    Raises:
        EdgelineError: it takes strings, has open sizes behind the batch, draws random numbers, or
            operators that nobody but their maker knows.
    """
    import onnx

    model = onnx.load_from_string(data)
    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    nodes = list(_nodes(model.graph))
    if foreign := sorted({f"{n.domain}.{n.op_type}" for n in nodes if n.domain not in DOMAINS}):
        raise EdgelineError(
            f"{name} uses {', '.join(foreign[:5])}, of which only its maker knows the meaning: "
            "export it with ONNX's own operators."
        )
    if drawn := sorted({node.op_type for node in nodes if node.op_type in RANDOM}):
        raise EdgelineError(
            f"{name} draws random numbers ({', '.join(drawn)}), so no two answers of it can be "
            "compared: export it for inference."
        )
    _settle_constants(model.graph)
    model.ir_version = max(model.ir_version, 4)  # before, weights had to be inputs, too
    _check_rows(signature, name)
    _fix_sizes(model, signature, input_shape, name)
    takes = _plain_names([tensor.name for tensor in signature.inputs], "edgeline_input")
    gives = _plain_names([tensor.name for tensor in signature.outputs], "edgeline_output")
    onnx_file.rename(model.graph, {**takes, **gives})
    inputs = [entry for entry in model.graph.input if entry.name in takes.values()]
    ours = {plain: name for name, plain in (*takes.items(), *gives.items())}
    fixed = Signature(
        onnx_file.described(inputs, ours), onnx_file.described(model.graph.output, ours)
    )
    nodes = list(_nodes(model.graph))
    kinds = {node.op_type for node in nodes}
    bounds = _bounds(model.graph, nodes)
    del model.graph.value_info[:]  # of sizes that were open
    whole = model.SerializeToString(deterministic=True)
    single = _single(model, takes) if fixed.inputs[0].shape[0] < 0 else b""
    return PlainOnnx(
        whole,
        single,
        fixed,
        takes,
        gives,
        bool(kinds & {*NOT_FINITE}),
        bool(kinds & {*RECURRENT}),
        any(_to_long(node) for node in nodes),
        bounds,
    )


def _to_long(node: Any) -> bool:
    from onnx import TensorProto

    long = (TensorProto.INT64, TensorProto.UINT64, TensorProto.UINT32)
    return node.op_type == "Cast" and any(each.i in long for each in node.attribute)


def _bounds(graph: Any, nodes: Iterable[Any]) -> tuple[int, ...]:
    """Sizes of tables that are looked up in, and whole constants, as of Clip, OneHot and Equal."""
    from onnx import numpy_helper

    stored = {entry.name: entry for entry in graph.initializer}
    found: set[int] = set()
    for node in nodes:
        for each in node.attribute:
            if node.op_type == "Constant" and each.name == "value":
                stored[node.output[0]] = each.t
        if node.op_type.startswith(("Gather", "Scatter")) and (table := stored.get(node.input[0])):
            found |= {int(size) for size in table.dims}
    for entry in stored.values():
        if math.prod(entry.dims) == 1:
            value = numpy_helper.to_array(entry).reshape(()).item()
            if isinstance(value, int | float) and abs(value) < 1 << 31 and value == int(value):
                found.add(abs(int(value)))
    return tuple(sorted(found - {0, 1}))[:MOST_BOUNDS]


def _settle_constants(graph: Any) -> None:
    """Weights are no inputs, as they are in old files, and none is filled in while the model runs.

    A converter takes an operator's weights where they are stored, and only there.
    """
    from onnx import numpy_helper

    stored = {entry.name: entry for entry in graph.initializer}
    inputs = [entry for entry in graph.input if entry.name not in stored]
    del graph.input[:]
    graph.input.extend(inputs)
    kept, room = [], MOST_FILLED
    for node in graph.node:
        shape = stored.get(node.input[0]) if node.op_type == "ConstantOfShape" else None
        sizes = [] if shape is None else numpy_helper.to_array(shape).tolist()
        count = math.prod(sizes)
        if shape is None or not 0 < count * 8 <= room:
            kept.append(node)
            continue
        given = [numpy_helper.to_array(each.t) for each in node.attribute]
        value = given[0].reshape(()) if given else np.float32(0)
        room -= count * 8
        filled = np.full(sizes, value, value.dtype)
        graph.initializer.append(numpy_helper.from_array(filled, node.output[0]))
    del graph.node[:]
    graph.node.extend(kept)


def _check_rows(signature: Signature, name: str) -> None:
    """Refuses inputs that are not rows, one after the other, of which a model takes several."""
    if not signature.inputs:
        raise EdgelineError(f"{name} takes no input, so it predicts nothing: export it with one.")
    first = signature.inputs[0]
    for tensor in signature.inputs:
        if not tensor.shape or not tensor.shape[0] or tensor.shape[0] != first.shape[0]:
            sizes = " and ".join(
                f"{each.name!r} of shape {list(each.shape)}"
                for each in ((tensor,) if tensor == first else (first, tensor))
            )
            raise EdgelineError(
                f"{name} takes {sizes}, which are not rows of one batch: export it with the batch "
                "first in each input."
            )


def _fix_sizes(model: Any, signature: Signature, input_shape: Sequence[int], name: str) -> None:
    """Gives the sole input a row's shape, where it is open, and refuses other open sizes."""
    inputs = {tensor.name: tensor for tensor in signature.inputs}
    for entry in model.graph.input:
        if (tensor := inputs.get(entry.name)) is None:
            continue
        if tensor.dtype == "string":
            raise EdgelineError(
                f"Input {tensor.name!r} of {name} takes strings, which onnx2tf does not convert: "
                "leave to_litert out and take it as the ONNX model that it is."
            )
        if not input_shape and min(tensor.shape[1:], default=1) >= 0:
            continue
        if len(inputs) > 1 or not input_shape:
            way = "export it with fixed sizes behind the batch"
            way += "" if len(inputs) > 1 else ", or give them as input_shape, in the file's order"
            raise EdgelineError(
                f"Input {tensor.name!r} of {name} has the open shape {list(tensor.shape)}: {way}."
            )
        row = tensor.shape[1:]
        if len(row) != len(input_shape) or any(
            size not in (-1, wanted) for size, wanted in zip(row, input_shape, strict=False)
        ):
            raise EdgelineError(
                f"input_shape is {list(input_shape)}, but a row of {tensor.name!r} of {name} is "
                f"{list(row)}, -1 where it is open: keep its fixed sizes and their order."
            )
        for size, wanted in zip(entry.type.tensor_type.shape.dim[1:], input_shape, strict=True):
            size.dim_value = wanted


def _single(model: Any, takes: Mapping[str, str]) -> bytes:
    """The model for one row; changes it."""
    inputs = [entry for entry in model.graph.input if entry.name in takes.values()]
    named = {entry.type.tensor_type.shape.dim[0].dim_param for entry in inputs} - {""}
    for entry in inputs:
        entry.type.tensor_type.shape.dim[0].dim_value = 1
    for entry in [*inputs, *model.graph.output]:
        for size in entry.type.tensor_type.shape.dim:
            if size.dim_param in named:
                size.dim_value = 1
    found: bytes = model.SerializeToString(deterministic=True)
    return found


def _plain_names(names: Iterable[str], stem: str) -> dict[str, str]:
    return {name: f"{stem}_{place}" for place, name in enumerate(names)}


def _nodes(graph: Any) -> Iterable[Any]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _nodes(inner)
