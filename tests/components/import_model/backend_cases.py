"""The onnx package's own backend cases, each with inputs and the outputs that are right: what
becomes of one that is imported as LiteRT.

| outcome      | what                                                                            |
|--------------|---------------------------------------------------------------------------------|
| right        | imported, and the LiteRT file's answers are those of the case                   |
| refused      | not imported, with a sentence                                                   |
| not answered | imported, but onnxruntime or LiteRT fails on the case's rows, and so no answer   |
| wrong        | imported, but not the answers of the case, or of the ONNX file, on its rows     |
"""

from __future__ import annotations

import contextlib
import importlib
import shutil
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeline.components.import_model import onnx_converter
from edgeline.components.import_model.import_model import import_model
from edgeline.components.import_model.wanted import Wanted
from edgeline.errors import EdgelineError
from edgeline.runtimes import child, interpreter, isolated, original

RIGHT, REFUSED, NOT_ANSWERED, WRONG = "right", "refused", "not answered", "wrong"
FOLDERS = ("simple", "light", "pytorch-operator", "pytorch-converted")
CLOSE, SHARE = 1e-5, 1e-3  # as onnx's own runner, and a float's rounding beside the largest value


@dataclass(frozen=True)
class OnnxCase:
    """A model with rows and the answers that are right."""

    name: str
    model: Any
    inputs: Sequence[Any]
    outputs: Sequence[Any]
    share: float = SHARE


@dataclass(frozen=True)
class CaseOutcome:
    """What became of a case, and why."""

    name: str
    outcome: str
    reason: str = ""


def node_cases(operators: Sequence[str] = ()) -> list[OnnxCase]:
    """Those of single operators, made by onnx; of some modules of `onnx.backend.test.case.node`."""
    from onnx.backend.test.case import node

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if operators:
            for operator in operators:
                importlib.import_module(f"{node.__name__}.{operator}")
            found = node._NodeTestCases
        else:
            found = node.collect_testcases()
    return [
        OnnxCase(case.name, case.model, *case.data_sets[0], max(SHARE, case.rtol)) for case in found
    ]


def file_cases() -> Iterator[OnnxCase]:
    """Those that the onnx package has as files: small graphs, networks of PyTorch, light models."""
    import onnx
    from onnx import numpy_helper

    data = Path(onnx.__file__).parent / "backend/test/data"

    def tensors(folder: Path, kind: str) -> list[Any]:
        found = []
        for number in range(len(list(folder.glob(f"{kind}_*.pb")))):
            tensor = onnx.TensorProto.FromString((folder / f"{kind}_{number}.pb").read_bytes())
            found.append(numpy_helper.to_array(tensor))
        return found

    for kind in FOLDERS:
        for path in sorted((data / kind).glob("*/model.onnx")):
            rows = path.parent / "test_data_set_0"
            with contextlib.suppress(Exception):  # rows of sequences, which are no tensors
                yield OnnxCase(
                    path.parent.name, onnx.load(path), tensors(rows, "input"),
                    tensors(rows, "output"),
                )  # fmt: skip
    for path in sorted((data / "light").glob("*.onnx")):
        model = onnx.load(path)
        tensor = onnx.TensorProto.FromString(
            path.with_name(f"{path.stem}_output_0.pb").read_bytes()
        )
        sizes = [size.dim_value for size in model.graph.input[0].type.tensor_type.shape.dim]
        # as onnx's own runner fills them
        count = int(np.prod(sizes))
        rows_ = (np.arange(count) / count).reshape(sizes).astype(np.float32)
        yield OnnxCase(path.stem, model, [rows_], [numpy_helper.to_array(tensor)])


def outcome(case: OnnxCase, folder: Path) -> CaseOutcome:
    """Import a case and ask what came of it; the folder is made, and removed again."""
    import onnx

    from edgeline import artifacts
    from edgeline.artifacts import models
    from edgeline.artifacts.bundle import Signature

    folder.mkdir(parents=True)
    try:
        source, out = folder / "model.onnx", folder / "out"
        source.write_bytes(case.model.SerializeToString())
        import_model(str(source), str(out), wanted=Wanted(to_litert=True))
        model = artifacts.read(out, models.EDGE_SCHEMA)
        origin = model.metadata["origin"]
        came = Signature.from_json(origin["described"])
        loaded = onnx.load(source)
        constants = {each.name for each in loaded.graph.initializer}
        names = [each.name for each in loaded.graph.input if each.name not in constants]
        ours = {name: to for to, name in origin["inputs"].items()}
        rows = {
            ours[name]: np.asarray(array) for name, array in zip(names, case.inputs, strict=True)
        }
        file = models.edge_model_path(model)
        edge = isolated.model(file, interpreter.load, file)
        source = model.path / origin["file"]
        answers = isolated.model(source, original.onnx_file, source, came, origin)
        try:
            wanted = answers(rows)
        except EdgelineError as error:
            return CaseOutcome(case.name, NOT_ANSWERED, f"onnxruntime does not run it: {error}")
        try:
            given = edge(
                original.as_converted(rows, edge.signature.inputs, origin["channels_last"])
            )
        except EdgelineError as error:
            return CaseOutcome(case.name, NOT_ANSWERED, str(error))
    except EdgelineError as error:
        return CaseOutcome(case.name, REFUSED, str(error))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for name in origin["answers_last"]:
        given[name] = np.moveaxis(given[name], -1, 1)
    gives = {name: to for to, name in origin["outputs"].items()}
    ordered = [gives[each.name] for each in loaded.graph.output]
    apart = [name for name in ordered if not _alike(given[name], wanted[name], SHARE)]
    if apart:
        return CaseOutcome(case.name, WRONG, f"differs from the ONNX file in {apart[0]}")
    for name, expected in zip(ordered, case.outputs, strict=True):
        if not _alike(given[name], np.asarray(expected), case.share):
            return CaseOutcome(case.name, WRONG, f"{name} is not what the case gives")
    return CaseOutcome(case.name, RIGHT, origin["converter"])


@contextlib.contextmanager
def many(folder: Path) -> Iterator[None]:
    """For many cases that nobody made to do harm: onnx2tf starts once for all, and again where it
    has ended; files are read and the ONNX file is asked in this process. LiteRT has its own, since
    some of what onnx2tf makes crashes it."""
    kept: list[Any] = []
    start, call, isolate = onnx_converter.started, child.call, isolated.model

    @contextlib.contextmanager
    def started(model: Path, _: Path) -> Iterator[Any]:
        if not kept:
            running = start(model, folder)
            kept.extend((running, running.__enter__()))
        try:
            yield kept[1]
        except EdgelineError:  # it may have ended
            kept[0].__exit__(None, None, None)
            kept.clear()
            raise

    def here(path: Path, load: Any, *arguments: object) -> Any:
        if load is original.onnx_file:
            return load(*arguments)
        return isolate(path, load, *arguments)

    def at_once(function: Any, *arguments: object, memory: int) -> Any:  # noqa: ARG001
        return function(len, *arguments)

    onnx_converter.started, child.call, isolated.model = started, at_once, here
    try:
        yield
    finally:
        onnx_converter.started, child.call, isolated.model = start, call, isolate
        if kept:
            kept[0].__exit__(None, None, None)


def _alike(given: Any, wanted: Any, share: float) -> bool:
    if given.shape != wanted.shape:
        return False
    if wanted.dtype.kind in "iub" or given.dtype.kind in "iub":
        return bool(np.array_equal(given, wanted))
    if wanted.dtype.kind not in "f":
        return False
    with np.errstate(invalid="ignore", over="ignore"):
        real = wanted.astype(np.float64)
        finite = np.abs(real[np.isfinite(real)])
        close = CLOSE * max(1.0, float(finite.max(initial=0.0)))
        return bool(np.allclose(given.astype(np.float64), real, share, close, equal_nan=True))
