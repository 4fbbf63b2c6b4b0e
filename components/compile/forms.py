"""The forms of a model for compilers: their signature, rows to try them on, and a safe place.

A compiler's output is compared with its source on made-up rows that the source can take.
`sandboxed` runs what may crash in a child process and turns its end into a sentence. What is public
is what a target of another package needs beside `target`.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeline.artifacts import differences, write_json
from edgeline.artifacts.bundle import Signature, Tensor
from edgeline.artifacts.differences import Gap
from edgeline.artifacts.features import MISSING
from edgeline.errors import EdgelineError
from edgeline.extras import extra_of
from edgeline.formats import tflite
from edgeline.formats.dtypes import Array
from edgeline.formats.quantisation import Quantisation
from edgeline.formats.signature_names import as_taken, by_original
from edgeline.runtimes import child, interpreter
from edgeline.runtimes.interpreter import SERVING, Arrays, EdgeModel
from edgeline.runtimes.limits import converter_room

if TYPE_CHECKING:
    import tensorflow as tf

__all__ = [
    "Arrays",
    "EdgeModel",
    "Signature",
    "Tell",
    "Tensor",
    "converter_room",
    "difference",
    "flag",
    "litert",
    "read_signature",
    "require_equal",
    "sample",
    "sandboxed",
    "tflite_names",
    "write_signature",
]

Tell = Callable[[str], None]  # says what comes next

SIGNATURE = "signature.json"
ROWS, SEED = 16, 20
STRINGS = (b"", b"no such category", b"Cash")


def missing(*packages: str) -> str:
    """The first of some packages that is not installed and what installs it, or ""."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            hint = f"pip install 'edgeline[{extra_of(package)}]'"
            return f"Package {package} is not installed: {hint}"
    return ""


def sandboxed(what: str, memory: int, function: Callable[..., object], *arguments: object) -> Any:
    """Call `function(tell, *arguments)` in a child process and return what it returns.

    Args:
        what: the compiler's name, for errors.
        memory: bytes that the child may take, as `limits.converter_room` says.

    Raises:
        EdgelineError: as raised in the child, or the child crashed, hung or failed.
    """
    try:
        result = child.call(_kept, function, *arguments, memory=memory)
    except child.ChildError as error:
        raise EdgelineError(
            f"{what} {error.how} while {error.doing}{_reason(error.log)}: build the model from "
            "other operators, or compile for another target."
        ) from error
    if isinstance(result, EdgelineError):
        raise result
    return result


def tflite_names(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Tensors of the inputs and of the outputs of a LiteRT file, to their signature's names.

    A file without signatures has only the names of its tensors.
    """
    model = tflite.read(path)
    subgraph, inputs, outputs = model.signatures.get(SERVING, (0, None, None))
    graph = model.subgraphs[subgraph]

    def named(tensors: Sequence[int], names: Mapping[str, int] | None) -> dict[str, str]:
        if names is None:
            return {graph.tensors[index].name: graph.tensors[index].name for index in tensors}
        return {graph.tensors[index].name: name for name, index in names.items()}

    return named(graph.inputs, inputs), named(graph.outputs, outputs)


def litert(path: Path) -> EdgeModel:
    """A LiteRT file as a function; one without a signature has its tensors' names.

    Raises:
        EdgelineError: it cannot be loaded.
    """
    if SERVING in tflite.read(path).signatures:
        return interpreter.load(path)
    interpreter_class, _ = interpreter.runtime()
    try:
        runtime = interpreter_class(model_path=str(path), num_threads=1)
        runtime.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise EdgelineError(f"{path} is not a model that LiteRT can run ({error}).") from error
    inputs, outputs = runtime.get_input_details(), runtime.get_output_details()
    signature = Signature(
        tuple(interpreter.describe_tensor(detail["name"], detail) for detail in inputs),
        tuple(interpreter.describe_tensor(detail["name"], detail) for detail in outputs),
    )

    def invoke(arrays: Arrays) -> Arrays:
        for detail in inputs:
            runtime.set_tensor(detail["index"], arrays[detail["name"]])
        runtime.invoke()
        return {detail["name"]: runtime.get_tensor(detail["index"]) for detail in outputs}

    return EdgeModel(signature, invoke)


def saved_model(function: tf.types.experimental.ConcreteFunction, loaded: tf.Module) -> EdgeModel:
    """A signature of a loaded SavedModel as a function on numpy arrays, by columns' names."""
    import tensorflow as tf

    specs = function.structured_input_signature[1]

    def tensor(name: str, spec: tf.TensorSpec) -> Tensor:
        shape = (-1 if size is None else int(size) for size in spec.shape)
        return Tensor(name, spec.dtype.name, tuple(shape))

    def invoke(arrays: Arrays, _: object = loaded) -> Arrays:  # whose variables must live
        given = as_taken(specs, arrays)
        tensors = {name: tf.constant(given[name], spec.dtype) for name, spec in specs.items()}
        answer = by_original(function(**tensors))
        return {name: np.asarray(value.numpy()) for name, value in answer.items()}

    takes, gives = by_original(specs), by_original(function.structured_outputs)
    signature = Signature(
        tuple(tensor(name, spec) for name, spec in sorted(takes.items())),
        tuple(tensor(name, spec) for name, spec in sorted(gives.items())),
    )
    return EdgeModel(signature, invoke)


def load_saved_model(path: Path) -> EdgeModel:
    """The signature `serving_default` of a SavedModel as a function on numpy arrays.

    Raises:
        EdgelineError: it has no such signature.
    """
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    if SERVING not in loaded.signatures:
        raise EdgelineError(f"{path} has no signature {SERVING!r}: export it with one.")
    return saved_model(loaded.signatures[SERVING], loaded)


def sample(
    signature: Signature, strings: Sequence[bytes] = STRINGS, gaps: bool = False
) -> dict[str, Any]:
    """Rows that a model can take: whole range where quantised, -1 to 1, 0 or 1, some strings.

    With `gaps`, as in raw features, the last row of each input has its marker of a missing
    value (see `edgeline.artifacts.features`) where the model takes more than one input.
    """
    random = np.random.default_rng(SEED)
    fixed = signature.inputs[0].shape[0]
    rows = ROWS if fixed < 0 else fixed * max(1, ROWS // fixed)
    found = {}
    for tensor in signature.inputs:
        shape = (rows, *(abs(size) for size in tensor.shape[1:]))
        values = found[tensor.name] = _values(random, tensor, shape, strings)
        if gaps and len(signature.inputs) > 1:
            values[-1] = MISSING.get(tensor.dtype, values[-1])
    return found


def difference(source: EdgeModel, compiled: EdgeModel, arrays: Arrays) -> Gap:
    """The largest difference of two models on some rows, in real values, over all outputs.

    Raises:
        EdgelineError: the outputs have other names or shapes, or one is not finite where the
            other is.
    """
    return gap(source, arrays, compiled, arrays)


def gap(source: EdgeModel, rows: Arrays, compiled: EdgeModel, arrays: Arrays) -> Gap:
    """As `difference`, where the compiled model stores the same rows in another way."""
    expected = interpreter.dequantise(source(rows), source.signature.outputs)
    answer = interpreter.dequantise(compiled(arrays), compiled.signature.outputs)
    for name, wanted in expected.items():
        given = answer.get(name)
        if given is None or given.shape != wanted.shape:
            found = "absent" if given is None else f"of shape {list(given.shape)}"
            raise EdgelineError(
                f"Output {name!r} of the compiled model is {found}, not of shape "
                f"{list(wanted.shape)} as in the source: the compiler changed it."
            )
    gaps = differences.gaps(answer, expected)
    for name, each in gaps.items():
        if not np.isfinite(each.max):
            raise EdgelineError(
                f"Output {name!r} of the compiled model is NaN or infinite where that of the "
                "source is not: the compiler changed it."
            )
    whole = gaps.values()
    return Gap(
        max(each.max for each in whole),
        max(each.mean for each in whole),
        max(each.of_range for each in whole),
    )


def require_equal(found: Gap, quantisation: Quantisation, what: str) -> None:
    """Refuse a compiled model that is another function than its source.

    Raises:
        EdgelineError: it differs by more.
    """
    limit = quantisation.compiled_difference
    if not found.of_range <= limit:
        raise EdgelineError(
            f"{what} gives other answers than its source: the largest difference on made-up "
            f"rows is {found.of_range:.3g} of an output's largest value, above {limit:g}, so an "
            "operator means something else there."
        )


def write_signature(folder: Path, signature: Signature) -> None:
    """Write `signature.json` as in an `edge_model/v1` folder."""
    write_json(folder / SIGNATURE, signature.to_json())


def read_signature(folder: Path) -> Signature:
    """Read what `write_signature` wrote.

    Raises:
        EdgelineError: it is missing or damaged.
    """
    try:
        return Signature.from_json(json.loads((folder / SIGNATURE).read_text()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EdgelineError(
            f"{folder / SIGNATURE} is missing or damaged ({error}): compile the model again."
        ) from error


def flag(options: Mapping[str, str], name: str) -> bool:
    """An option that is `true` or `false`.

    Raises:
        EdgelineError: it is neither.
    """
    if options[name] not in ("true", "false"):
        raise EdgelineError(f"Option {name} is {options[name]!r}: give true or false.")
    return options[name] == "true"


def _values(
    random: np.random.Generator, tensor: Tensor, shape: tuple[int, ...], strings: Sequence[bytes]
) -> Array:
    if tensor.dtype == "string":
        words = np.empty(len(strings), object)
        words[:] = strings
        return np.asarray(random.choice(words, shape), object)
    if tensor.scale is not None:
        bounds = np.iinfo(tensor.dtype)
        return random.integers(bounds.min, bounds.max, shape, tensor.dtype, endpoint=True)
    if np.dtype(tensor.dtype).kind == "f":
        return random.uniform(-1, 1, shape).astype(tensor.dtype)
    return random.integers(0, 1, shape, endpoint=True).astype(tensor.dtype)


def _kept(tell: Callable[[str], None], function: Callable[..., object], *arguments: Any) -> object:
    try:
        return function(tell, *arguments)
    except EdgelineError as error:
        return error  # as a value: an exception would lose its type on the way


def _reason(log: str) -> str:
    """What was said last, in brackets."""
    lines = [line.strip() for line in log.splitlines() if not child.NO_GPU.search(line)]
    errors = [line for line in lines if "Error" in line or "rror:" in line or "failed" in line]
    return f" ({errors[-1][:300].rstrip('.:')})" if errors else ""
