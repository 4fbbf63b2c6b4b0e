"""LiteRT itself: the converted model as it is, run on the CPU with XNNPACK."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edgeline.components.compile import placement
from edgeline.components.compile.target import TFLITE, Compiled, Source, Target
from edgeline.errors import EdgelineError
from edgeline.formats import tflite
from edgeline.formats.quantisation import DYNAMIC, FLOAT, FP16, INT8, INT16X8, RECIPES
from edgeline.runtimes import child, interpreter, limits
from edgeline.runtimes.interpreter import EdgeModel

FILE = "model.tflite"


def missing() -> str:
    """What is not installed, and how to get it."""
    if importlib.util.find_spec("ai_edge_litert") or importlib.util.find_spec("tflite_runtime"):
        return ""
    return "No LiteRT interpreter is installed: pip install 'edgeline[serve]'."


def compile_litert(source: Source, folder: Path, _: Mapping[str, str]) -> Compiled:
    """Copy the model and see what XNNPACK takes of it.

    Raises:
        EdgelineError: the interpreter does not take the model.
    """
    assert source.tflite
    model = tflite.read(source.tflite)
    try:
        result = child.call(_xnnpack, source.tflite, memory=limits.room(source.tflite))
    except child.ChildError as error:
        result = error.how
    if isinstance(result, str):
        raise EdgelineError(
            f"LiteRT does not run {source.tflite} ({result}): convert the model again with "
            "builtin operators only."
        )
    taken, partitions = result
    shutil.copyfile(source.tflite, folder / FILE)
    return Compiled(
        model=FILE,
        placed=placement.all_on_cpu(model),
        facts={"xnnpack_operators": taken, "xnnpack_partitions": partitions},
    )


def load(folder: Path, compiled: Compiled) -> EdgeModel:
    """The model in LiteRT's interpreter."""
    return interpreter.load(folder / compiled.model)


def _xnnpack(tell: Callable[[str], None], path: Path) -> tuple[int, int] | str:
    """How many operators XNNPACK runs, in how many pieces; or why LiteRT takes no such model.

    The interpreter tells what goes into a piece and comes out, but not what is in it.
    """
    tell("loading the model")
    runtime, _ = interpreter.runtime()
    try:
        loaded = runtime(model_path=str(path), num_threads=1)
        loaded.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        return (str(error).strip().splitlines() or ["no reason given"])[0].rstrip(".")
    pieces = [op for op in loaded._get_ops_details() if op["op_name"] == "DELEGATE"]
    graph = tflite.read(path).subgraphs[0]
    return sum(len(_inside(graph, piece)) for piece in pieces), len(pieces)


def _inside(graph: tflite.Subgraph, piece: Mapping[str, Any]) -> set[int]:
    """The operators of a piece: those that its outputs come from, back to its inputs."""
    maker = {index: operator for operator in graph.operators for index in operator.outputs}
    given = {int(index) for index in piece["inputs"]}
    wanted = [int(index) for index in piece["outputs"]]
    found: set[int] = set()
    while wanted:
        operator = maker.get(wanted.pop())
        if operator is None or operator.index in found:
            continue
        found.add(operator.index)
        wanted += [index for index in operator.inputs if index not in given]
    return found


targets = (
    Target(
        name="litert",
        summary="LiteRT on a CPU with XNNPACK: Raspberry Pi, Android, iOS, x86",
        takes=(TFLITE,),
        quantisations=(INT8, DYNAMIC, FP16, FLOAT, INT16X8, *RECIPES),
        missing=missing,
        compile=compile_litert,
        load=load,
    ),
)
