"""ONNX files in onnxruntime, with one thread, as functions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edgeline.artifacts.bundle import Signature, Tensor
from edgeline.errors import EdgelineError
from edgeline.extras import install_hint
from edgeline.runtimes import limits
from edgeline.runtimes.interpreter import Arrays, EdgeModel


def session(file: Path, signature: Signature, optimised: bool = True) -> EdgeModel:
    """An ONNX file in onnxruntime, with one thread, as a function.

    Args:
        optimised: let onnxruntime change the graph; otherwise each operator runs as it stands.

    Raises:
        EdgelineError: onnxruntime is not installed or cannot load it.
    """
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise EdgelineError(install_hint(error) + ".") from None

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    try:
        runtime = onnxruntime.InferenceSession(
            str(file), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime's own types have no common base but this
        raise EdgelineError(
            f"{file} is not a model that onnxruntime can run ({line(error)}): compile it again."
        ) from error
    outputs = [tensor.name for tensor in signature.outputs]
    strings = {tensor.name for tensor in signature.inputs if tensor.dtype == "string"}

    def invoke(arrays: Arrays) -> Arrays:
        feed = {name: _text(array) if name in strings else array for name, array in arrays.items()}
        try:
            answers = runtime.run(outputs, feed)
        except Exception as error:
            raise EdgelineError(
                f"The ONNX model failed on this input ({line(error)}): check its values."
            ) from error
        return dict(zip(outputs, answers, strict=True))

    return EdgeModel(signature, invoke)


def given(file: Path) -> EdgeModel:
    """An ONNX file from elsewhere in onnxruntime; it has no quantised inputs or outputs.

    Raises:
        EdgelineError: it is damaged, or onnxruntime cannot load it.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        signature = signature_of(onnx.load(file, load_external_data=False))
    except (DecodeError, KeyError) as error:  # KeyError: a dtype that nobody knows
        raise EdgelineError(
            f"{file} is not a whole ONNX model ({line(error)}): export or fetch it again."
        ) from error
    return session(file, signature)


def line(error: BaseException) -> str:
    """The first line of what a library raised, or that it was refused memory."""
    if limits.lacked_memory(str(error)):
        return "out of memory"  # onnxruntime says so behind long names of C++
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    return (lines or [type(error).__name__])[0][:300].rstrip(".")


def signature_of(model: Any) -> Signature:
    """Inputs and outputs of an `onnx.ModelProto`, -1 for a size that is free."""
    import onnx

    def tensors(values: Any) -> tuple[Tensor, ...]:
        found = []
        for value in values:
            kind = value.type.tensor_type
            dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
            shape = tuple(dim.dim_value or -1 for dim in kind.shape.dim)
            name = "string" if dtype.kind in "OU" else dtype.name
            found.append(Tensor(value.name, name, shape))
        return tuple(found)

    constants = {value.name for value in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    return Signature(tensors(inputs), tensors(model.graph.output))


def _text(array: Any) -> object:
    text = np.empty(array.size, object)
    text[:] = [value.decode(errors="replace") for value in array.flat]
    return text.reshape(array.shape)
