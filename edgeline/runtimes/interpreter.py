"""An edge model as a function on numpy arrays.

`load` is the seam to a runtime: it reads a model file and returns an `EdgeModel`, which is a
signature and a function. Another runtime is another such function. LiteRT comes from
ai-edge-litert, or from tflite-runtime on devices that have no wheel of it. Needs neither
TensorFlow nor kfp nor pyarrow.

Input is checked before the runtime sees it, so bad input is refused in one sentence that
names it and never reaches native code.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeline.artifacts.bundle import Signature, Tensor
from edgeline.errors import EdgelineError, first_line
from edgeline.formats.dtypes import Array
from edgeline.runtimes import inputs
from edgeline.runtimes.pieces import pieces

SERVING = "serving_default"
LEAST_SCALE = 8e-9  # TensorFlow's quantiser takes 0 alone for -1e-6 to 1e-6: of int8, 2e-6 / 255

Arrays = Mapping[str, Array]


class RowError(EdgelineError):
    """One row of a call is refused.

    Attributes:
        row: of the call, from 0.
        why: a sentence about it.
    """

    def __init__(self, row: int, why: str) -> None:
        super().__init__(f"Instance {row} (from 0): {why}")
        self.row, self.why = row, why


class CrashError(EdgelineError):
    """A model crashed its runtime, or went beyond a limit, on rows that it should answer.

    Attributes:
        model: its file or folder.
        how: a phrase, such as "was killed by SIGSEGV".
        rows: among which the row is, of the call; None where nobody knows.
        where: what the rows are of, behind a blank; "" of a call.
    """

    def __init__(
        self,
        model: object,
        how: str,
        rows: range | None = None,
        way_out: str = "convert it again, with other operators or another quantisation",
        where: str = "",
    ) -> None:
        named = f"rows {rows[0]:,} to {rows[-1]:,} (from 0)" if rows else "good rows"
        super().__init__(f"{model} {how} on {named}{where}: {way_out}.")
        self.model, self.how, self.rows, self.way_out = model, how, rows, way_out

    def among(self, rows: range, where: str = "") -> CrashError:
        """The same, with the rows numbered as the caller has them."""
        return CrashError(self.model, self.how, rows, self.way_out, where)


@dataclass(frozen=True)
class EdgeModel:
    """A loaded model: call it with named arrays [rows, ...], get named arrays [rows, ...].

    Not safe for threads: give each its own.

    Attributes:
        signature: the model's inputs and outputs. Arrays have exactly these dtypes; strings
            are object arrays of bytes. For a quantised tensor see `quantise`.
        invoke: the bare model: one batch, all inputs, nothing checked.
    """

    signature: Signature
    invoke: Callable[[Arrays], Arrays]

    def __call__(self, arrays: Arrays) -> dict[str, Array]:
        """Check the input and run the model on it, in pieces where there are many rows.

        Raises:
            EdgelineError: an input is missing, unknown or of the wrong kind, dtype, rank or
                shape, or the runtime fails on it.
        """
        check(arrays, self.signature)
        given = {tensor.name: arrays[tensor.name] for tensor in self.signature.inputs}
        fixed = self.signature.inputs[0].shape[0]
        answers, start = [], 0
        for piece, count in pieces(given, fixed):
            try:
                answers.append(self._answer(piece, count))
            except RowError as error:
                raise RowError(start + error.row, error.why) from error
            except CrashError as error:
                raise error.among(range(start, start + count)) from error
            start += count
        if len(answers) == 1:
            return answers[0]
        return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}

    def _answer(self, piece: Arrays, count: int) -> dict[str, Array]:
        given = len(next(iter(piece.values())))
        answer = self.invoke(piece)
        for name, array in answer.items():
            if array.ndim == 0 or len(array) != given:
                raise EdgelineError(
                    f"Output {name!r} of the edge model has shape {list(array.shape)} for {given} "
                    "rows of input: convert the model with the batch as first dimension."
                )
        return {name: array[:count] for name, array in answer.items()}


def load(path: str | Path) -> EdgeModel:
    """Load a LiteRT model with one thread.

    Raises:
        EdgelineError: the file is missing or damaged, has no signature `serving_default`, or
            no runtime is installed.
    """
    interpreter_class, _ = runtime()
    if not Path(path).is_file():
        raise EdgelineError(f"{path} is missing: convert the model or fetch the bundle again.")
    interpreter = None
    try:
        interpreter = interpreter_class(model_path=str(path), num_threads=1)
        interpreter.allocate_tensors()
        runner = interpreter.get_signature_runner(SERVING)
    except Exception as error:  # what a damaged model makes a runtime raise is of any kind
        raise _dead_layer(interpreter, error) or EdgelineError(
            f"{path} is not a model that LiteRT can run ({first_line(error)}): convert it again."
        ) from error
    signature = Signature(
        inputs=_tensors(runner.get_input_details()), outputs=_tensors(runner.get_output_details())
    )
    for tensor in signature.inputs:
        if not tensor.shape or tensor.shape[0] != signature.inputs[0].shape[0]:
            raise EdgelineError(
                f"Input {tensor.name!r} of {path} has shape {list(tensor.shape)}, which does not "
                "begin with the batch of the others: convert it with the batch first."
            )

    def invoke(arrays: Arrays) -> Arrays:
        try:
            answer: Arrays = runner(**arrays)
        except (ValueError, RuntimeError, MemoryError) as error:
            raise _dead_layer(interpreter, error) or EdgelineError(
                f"The edge model failed on this input ({first_line(error)}): "
                "check its values against the training data."
            ) from error
        return answer

    return EdgeModel(signature, invoke)


def check(arrays: Arrays, signature: Signature) -> int:
    """Check that arrays are what a model takes, strings included, and count their rows.

    Raises:
        EdgelineError: as `inputs.check` and `inputs.check_strings`, or they are not dicts.
    """
    if not isinstance(arrays, Mapping):
        raise EdgelineError(f"Inputs come as a {type(arrays).__name__}: give a dict of arrays.")
    rows = inputs.check(arrays, signature)
    inputs.check_strings(arrays, signature)
    return rows


def quantise(arrays: Arrays, tensors: tuple[Tensor, ...]) -> dict[str, Array]:
    """Real values as a quantised model stores them: round(real / scale) + zero point, clipped.

    Arrays of tensors without a scale stay as they are.

    Raises:
        EdgelineError: a value is NaN, which a quantised tensor cannot hold.
    """
    scales = {tensor.name: tensor for tensor in tensors if tensor.scale is not None}
    return {
        name: _quantise(array, scales[name]) if name in scales else array
        for name, array in arrays.items()
    }


def dequantise(arrays: Arrays, tensors: tuple[Tensor, ...]) -> dict[str, Array]:
    """The real values of stored ones, float32: scale * (stored - zero point)."""
    scales = {tensor.name: tensor for tensor in tensors if tensor.scale is not None}
    return {
        name: _dequantise(array, scales[name]) if name in scales else array
        for name, array in arrays.items()
    }


def runtime() -> tuple[Any, Any]:
    """The interpreter's class and its loader of delegates, of ai-edge-litert or tflite-runtime.

    Raises:
        EdgelineError: neither is installed.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter, load_delegate
    except ImportError:
        try:
            from tflite_runtime.interpreter import Interpreter, load_delegate
        except ImportError:
            raise EdgelineError(
                "No LiteRT interpreter is installed: pip install 'edgeline[serve]'."
            ) from None
    return Interpreter, load_delegate


def runtime_version() -> str:
    """Name and version of the interpreter that `runtime` gives; empty where there is none."""
    try:
        name = str(runtime()[0].__module__).partition(".")[0]
    except EdgelineError:
        return ""
    return f"{name} {getattr(sys.modules[name], '__version__', '')}"


def describe_tensor(name: str, detail: Mapping[str, Any]) -> Tensor:
    """What the interpreter says of an input or output, under its name in the signature."""
    shape = detail["shape_signature"] if len(detail["shape_signature"]) else detail["shape"]
    dtype = np.dtype(detail["dtype"])
    scale, zero_point = detail["quantization"]
    return Tensor(
        name=name,
        dtype="string" if dtype.kind in "SUO" else dtype.name,
        shape=tuple(int(size) for size in shape),
        scale=float(scale) or None,
        zero_point=int(zero_point) if scale else None,
    )


def _dead_layer(interpreter: Any, error: Exception) -> EdgelineError | None:
    """Why XNNPACK does not run a model with a layer that was 0 throughout the calibration.

    It refuses input scale * weights' scale / output scale of 256 and more. None of other failures.
    """
    if interpreter is None or "XNNPACK" not in str(error):
        return None
    for detail in interpreter.get_tensor_details():
        if detail["dtype"] is np.int8 and 0 < detail["quantization"][0] <= LEAST_SCALE:
            return EdgelineError(
                f"LiteRT cannot run the edge model ({first_line(error)}): its int8 layer "
                f"{detail['name']!r} was 0 for all rows that its range was taken from, as in a "
                "network that has diverged. Train with a smaller learning rate, or convert with "
                "quantisation float."
            )
    return None


def _quantise(array: Array, tensor: Tensor) -> Array:
    real = np.asarray(array, np.float64)
    if np.isnan(real).any():
        raise EdgelineError(
            f"Input {tensor.name!r} has a NaN, which {tensor.dtype} cannot hold: fill it first."
        )
    bounds = np.iinfo(tensor.dtype)
    stored = np.round(real / (tensor.scale or 1.0)) + (tensor.zero_point or 0)
    return np.clip(stored, bounds.min, bounds.max).astype(tensor.dtype)


def _dequantise(array: Array, tensor: Tensor) -> Array:
    shifted = np.asarray(array, np.float64) - (tensor.zero_point or 0)
    return np.asarray((tensor.scale or 1.0) * shifted, np.float32)


def _tensors(details: Mapping[str, Mapping[str, object]]) -> tuple[Tensor, ...]:
    return tuple(describe_tensor(name, details[name]) for name in sorted(details))
