"""LiteRT for microcontrollers: the model as a C array and the memory that it needs.

The smallest arena is found by running the model in tflite-micro's own interpreter.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from edgeline.components.compile import placement
from edgeline.components.compile.target import TFLITE, Compiled, Option, Source, Target
from edgeline.errors import EdgelineError
from edgeline.formats import tflite
from edgeline.formats.quantisation import FLOAT, INT8, INT16X8
from edgeline.runtimes import child, limits
from edgeline.runtimes.child import ChildError
from edgeline.runtimes.interpreter import Arrays, EdgeModel

FILE = "model.tflite"
ALIGNMENT = 16  # bytes, of the array and the arena: what tflite-micro asks for
LARGEST_ARENA = 256 << 20
SMALLEST_ARENA = 1024
WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "BATCH_MATMUL")


def missing() -> str:
    """What is not installed, and how to get it."""
    if importlib.util.find_spec("tflite_micro"):
        return ""
    return "tflite-micro is not installed: pip install 'edgeline[tflite-micro]'."


def compile_tflite_micro(source: Source, folder: Path, options: Mapping[str, str]) -> Compiled:
    """Find the arena's size, and write `<name>.cc` and `<name>.h` beside the model.

    Raises:
        EdgelineError: tflite-micro does not run the model, or `name` is not a C name.
    """
    assert source.tflite
    name = options.get("name", "model")
    if not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
        raise EdgelineError(f"tflite-micro.name is {name!r}: give a name as C has them.")
    model = tflite.read(source.tflite)
    _refuse(model)
    shutil.copyfile(source.tflite, folder / FILE)
    data = source.tflite.read_bytes()
    arena = _smallest_arena(model, data)
    operators = sorted({operator.name for graph in model.subgraphs for operator in graph.operators})
    (folder / f"{name}.h").write_text(_header(name, len(data), arena, operators))
    (folder / f"{name}.cc").write_text(_array(name, data))
    return Compiled(
        model=FILE,
        placed=placement.all_on_cpu(model),
        facts={"arena_bytes": arena, "flash_bytes": len(data), "operator_kinds": len(operators)},
        notes=("The arena was found with 64-bit pointers; on a 32-bit core the model needs less.",),
    )


def load(folder: Path, compiled: Compiled) -> EdgeModel:
    """The model in tflite-micro's interpreter, one row at a time."""
    model = tflite.read(folder / compiled.model)
    graph = model.subgraphs[0]
    signature = placement.signature_of(model)
    names = _places(model)
    inputs = {name: graph.inputs.index(index) for name, index in names[0].items()}
    outputs = {name: graph.outputs.index(index) for name, index in names[1].items()}
    arena = int(compiled.facts["arena_bytes"])
    interpreter = _interpreter((folder / compiled.model).read_bytes(), arena)

    def invoke(arrays: Arrays) -> Arrays:
        for name, index in inputs.items():
            interpreter.set_input(arrays[name], index)
        try:
            interpreter.invoke()
        except RuntimeError as error:
            raise EdgelineError(
                f"tflite-micro failed on this input ({error}): compile the model again."
            ) from error
        return {name: np.array(interpreter.get_output(place)) for name, place in outputs.items()}

    return EdgeModel(signature, invoke)


def _refuse(model: tflite.Model) -> None:
    """Name the forms of quantisation that tflite-micro has no kernels for."""
    graph = model.subgraphs[0]
    for operator in graph.operators:
        if operator.name not in WEIGHTED or len(operator.inputs) < 2:
            continue
        data, weights = (graph.tensors[index].dtype for index in operator.inputs[:2])
        if data == "UINT8":
            raise EdgelineError(
                f"{model.path} is quantised to uint8 as TensorFlow 1 did, for which tflite-micro "
                f"has no {operator.name}: convert the model again with quantisation='int8'."
            )
        if data == "FLOAT32" and weights == "INT8":
            raise EdgelineError(
                f"{model.path} has int8 weights and float activations (dynamic range), for which "
                f"tflite-micro has no {operator.name}: convert it with quantisation='int8'."
            )


def _smallest_arena(model: tflite.Model, data: bytes) -> int:
    """Bytes of the smallest arena in which the model runs, a multiple of `ALIGNMENT`.

    An arena that is too small makes tflite-micro fail, and sometimes crash: so a child looks,
    and where it crashes, what it was trying was too small and another goes on from there.
    """
    fault = _in_child(_try, data, LARGEST_ARENA, False)
    low, high = SMALLEST_ARENA, LARGEST_ARENA
    while not fault:
        try:
            high = child.call(_search, data, low, high, memory=_room(data))
        except ChildError as error:
            tried = [int(number) for number in error.doing.split() if number.isdigit()]
            if len(tried) != 2 or tried[0] <= low:
                fault = f"the interpreter {error.how}"
            else:
                low, high = tried
            continue
        fault = _in_child(_try, data, high, True)
        break
    if fault:
        raise EdgelineError(
            f"tflite-micro does not run {model.path} ({fault}): build the model from operators "
            "that it has, or give it a smaller input."
        )
    return high


def _search(tell: Callable[[str], None], data: bytes, low: int, high: int) -> int:
    """Bisect between an arena that is too small and one that is large enough."""
    while high - low > ALIGNMENT:
        middle = (low + high) // 2 // ALIGNMENT * ALIGNMENT
        tell(f"{middle} {high}")
        if _fault(data, middle, run=False):
            low = middle
        else:
            high = middle
    return high


def _in_child(function: Callable[..., str], data: bytes, *arguments: Any) -> str:
    try:
        fault: str = child.call(function, data, *arguments, memory=_room(data))
    except ChildError as error:
        return f"the interpreter {error.how}"
    return fault


def _room(data: bytes) -> int:
    """Bytes that a child may take: twice the arena, and what a runtime may take of the model."""
    return limits.room() + limits.RUNTIME_FILES * len(data) + 2 * LARGEST_ARENA


def _try(tell: Callable[[str], None], data: bytes, arena: int, run: bool) -> str:
    tell(f"{'running' if run else 'setting up'} the model in {arena:,} bytes")
    return _fault(data, arena, run)


def _fault(data: bytes, arena: int, run: bool) -> str:
    """Why the model cannot be set up in an arena, and run once if wanted, or ""."""
    with _native_output() as lines:
        try:
            interpreter = _interpreter(data, arena)
            if run:
                interpreter.invoke()
        except RuntimeError as error:
            return str((lines() or [str(error)])[0]).rstrip(".")
    return ""


def _interpreter(data: bytes, arena: int) -> Any:
    from tflite_micro import runtime

    return runtime.Interpreter.from_bytes(data, arena_size=arena)


@contextmanager
def _native_output() -> Iterator[Any]:
    """What native code prints to stderr; tflite-micro's exceptions do not say what is wrong."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as stream:
        os.dup2(stream.fileno(), 2)

        def lines() -> list[str]:
            stream.seek(0)
            return stream.read().decode(errors="replace").strip().splitlines()

        try:
            yield lines
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _places(model: tflite.Model) -> tuple[Mapping[str, int], Mapping[str, int]]:
    if model.signatures:
        _, inputs, outputs = next(iter(model.signatures.values()))
        return inputs, outputs
    graph = model.subgraphs[0]
    return (
        {graph.tensors[index].name: index for index in graph.inputs},
        {graph.tensors[index].name: index for index in graph.outputs},
    )


def _header(name: str, length: int, arena: int, operators: list[str]) -> str:
    listed = "".join(f"//   {operator}\n" for operator in operators)
    return f"""\
// A model for tflite-micro, written by edgeline. Operators to register, {len(operators)}:
{listed}
#ifndef EDGELINE_{name.upper()}_H_
#define EDGELINE_{name.upper()}_H_

#include <cstddef>

extern const unsigned char {name}_data[];
constexpr std::size_t {name}_length = {length};
constexpr std::size_t {name}_arena_size = {arena};  // bytes, to be aligned to {ALIGNMENT}
constexpr int {name}_operator_count = {len(operators)};  // of MicroMutableOpResolver

#endif  // EDGELINE_{name.upper()}_H_
"""


def _array(name: str, data: bytes) -> str:
    numbers = [f"{byte:#04x}," for byte in range(256)]
    rows = (
        "    " + " ".join(numbers[byte] for byte in data[start : start + 12])
        for start in range(0, len(data), 12)
    )
    body = "\n".join(rows)
    return (
        f'#include "{name}.h"\n\n'
        f"alignas({ALIGNMENT}) const unsigned char {name}_data[] = {{\n{body}\n}};\n"
    )


targets = (
    Target(
        name="tflite-micro",
        summary="microcontrollers with LiteRT for Microcontrollers: a C array, the arena's size",
        takes=(TFLITE,),
        quantisations=(INT8, INT16X8, FLOAT),
        missing=missing,
        compile=compile_tflite_micro,
        load=load,
        options=(Option("name", "model", "The name of the C array and its files."),),
        limits="Memory is measured on this machine; firmware adds its own.",
        fixed_shapes=True,
        facts=("arena_bytes", "flash_bytes"),
    ),
)
