"""Compile an edge model for a target, and say where each operator will run.

`compiled_model/v1` holds `files/` as the target's compiler left it, `signature.json`,
`placement.json` (every operator with its device and, on the CPU, the compiler's reason) and
`compile.log`. Its metadata: `target`, `model` (the file that the device loads), `quantisation`,
`size`, `operators`, `on_accelerator`, `share`, `facts`, `notes`, `limits`, `options`, and
`source_digest`, that of the model it was made of; and that model's `host_operations`, where it is
made of a LiteRT file that takes what these give: the signature then is what is sent to the two.
"""

from __future__ import annotations

import json
import signal
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

from edgeline import artifacts
from edgeline.artifacts import device_outcomes, host_operations, models, outcomes, write_json
from edgeline.artifacts import requirements as asked_for
from edgeline.artifacts.bundle import Signature
from edgeline.artifacts.features import Feature
from edgeline.components.check import edgetpu_placement
from edgeline.components.compile import placement, report
from edgeline.components.compile import target as target_
from edgeline.components.compile.fixed_shapes import fix_shapes
from edgeline.components.compile.target import (
    ONNX,
    SAVED_MODEL,
    TFLITE,
    Compiled,
    Placed,
    Source,
    Target,
)
from edgeline.errors import EdgelineError, UsageError, did_you_mean
from edgeline.formats import quantisation, tflite
from edgeline.runtimes import child, isolated, limits
from edgeline.runtimes.host.program import hosted, sent
from edgeline.runtimes.interpreter import EdgeModel

SCHEMA = "compiled_model/v1"
FILES, SIGNATURE, PLACEMENT, LOG = "files", "signature.json", "placement.json", "compile.log"
FORMS = {SAVED_MODEL: "a SavedModel", TFLITE: "a LiteRT model", ONNX: "an ONNX model"}


@dataclass(frozen=True)
class CompiledModel:
    """The metadata of a compiled model, where its operators run, numbers for the metrics."""

    metadata: dict[str, object]
    placed: tuple[Placed, ...]
    metrics: dict[str, float]


@dataclass(frozen=True)
class Given:
    """A model as it came: its forms, the digest of its folders, and what is known of it.

    `name` stands for its files in messages.
    """

    source: Source
    digest: str
    about: Mapping[str, object]
    name: str


def compile_edge_model(
    target: str,
    compiled_model_path: str,
    edge_model_path: str = "",
    model_path: str = "",
    options: Mapping[str, object] | None = None,
    compilation_report_path: str = "",
    time_limit: int = 900,
    name: str = "",
    required: bool = True,
    requirements: Mapping[str, Any] | None = None,
) -> CompiledModel:
    """Compile a model for one target and write a `compiled_model/v1` folder.

    Args:
        target: its name, one of `target.names()`.
        edge_model_path: an `edge_model/v1` or `onnx_model/v1` folder, or "".
        model_path: the `model/v1` folder it was made of, for targets that take a SavedModel, or "".
        options: settings of the target by name.
        compilation_report_path: the HTML page to write, or "".
        time_limit: seconds that the compiler may take.
        name: what messages call the model; by default its path.
        required: whether a compiler that is not installed is an error, and a requirement that is
            not met; else the folder says so (`missing` in its metadata, which holds no model then,
            or `requirements`), and verify does not approve it.
        requirements: see `edgeline.artifacts.requirements`; what came of those that the compiler
            tells is in the metadata.

    Raises:
        EdgelineError: the target or an option is unknown, the compiler is not installed, the
            model has a form or quantisation that the target does not take, the compiler
            fails, does nothing or takes too long, or what it made does not meet a requirement.
            Nothing is written.
    """
    found = target_.find(target)
    settings = options_of(found, options or {})
    wanted = asked_for.parse(requirements or {})
    fault = found.missing()
    if fault and required:
        raise EdgelineError(fault)
    given = read_models(edge_model_path, model_path, name)
    if fault:
        return _missing(found, given, fault, compiled_model_path, compilation_report_path)
    source = fitting(found, given)
    with (
        artifacts.writing(compiled_model_path, SCHEMA) as draft,
        tempfile.TemporaryDirectory() as work,
    ):
        (draft.path / FILES).mkdir()
        with _sentences(found, given, source, Path(work)):
            if source.tflite:  # what this process reads below, a child has read before
                isolated.call(source.tflite, _readable, source.tflite)
            with _deadline(found.name, time_limit):
                if found.fixed_shapes and source.tflite:
                    source = replace(source, tflite=_fixed(source.tflite, Path(work)))
                compiled = found.compile(source, draft.path / FILES, settings)
        size = _size(draft.path / FILES / compiled.model)
        if not size:
            raise EdgelineError(f"The compiler of {found.name} made nothing of {given.name}.")
        size = int(compiled.facts.get("size_bytes", size))  # of several files together
        metadata = _metadata(found, given, source, settings, compiled, size)
        devices = wanted.of_target(found.name, str(metadata["quantisation"]))
        met = device_outcomes.of_compiled(devices, metadata, found.load is not None)
        if required and (unmet := outcomes.first_failure(met)):
            raise EdgelineError(
                f"{given.name} compiled for {found.name} does not meet the requirements: {unmet} "
                "Make the model smaller or otherwise, or ask for less."
            )
        if met:
            metadata[asked_for.NAME] = [each.to_json() for each in met]
        signature = _signature(draft.path, source)
        if operations := host_operations.of(metadata):
            features = [Feature.from_json(each) for each in metadata["features"]]
            signature = sent(signature, operations, features)
        write_json(draft.path / SIGNATURE, signature.to_json())
        write_json(draft.path / PLACEMENT, [asdict(operator) for operator in compiled.placed])
        (draft.path / LOG).write_text(_without_paths(compiled.log, draft.path, Path(work)))
        draft.metadata.update(metadata)
    result = CompiledModel(
        {"edgeline_schema": SCHEMA, **metadata},
        compiled.placed,
        {"size_bytes": size, "share_on_accelerator": compiled.share}
        | {key: value for key, value in compiled.facts.items() if not isinstance(value, str)},
    )
    if compilation_report_path:
        report.write(
            compilation_report_path,
            given.name,
            [report.TargetOutcome(target, result.metadata, result.placed)],
        )
    return result


def _missing(
    found: Target, given: Given, fault: str, compiled_model_path: str, compilation_report_path: str
) -> CompiledModel:
    """What is written in place of a compiled model where the compiler is not there."""
    metadata = {
        "target": found.name,
        "missing": fault,
        "size": 0,
        "source_digest": given.digest,
    }
    with artifacts.writing(compiled_model_path, SCHEMA) as draft:
        draft.metadata.update(metadata)
    if compilation_report_path:
        outcome = report.TargetOutcome(found.name, failure=fault)
        report.write(compilation_report_path, given.name, [outcome])
    return CompiledModel({"edgeline_schema": SCHEMA, **metadata}, (), {})


def load_compiled(folder: str | Path) -> EdgeModel:
    """A compiled model as a function, in the target's own runtime.

    Raises:
        EdgelineError: the folder is damaged, the runtime is not installed, or only the device
            runs it.
    """
    artifact = artifacts.read(folder, SCHEMA)
    if "missing" in artifact.metadata:
        raise EdgelineError(f"{folder} holds no compiled model: {artifact.metadata['missing']}")
    found = target_.find(artifact.metadata["target"])
    if found.load is None:
        raise EdgelineError(
            f"{folder} is compiled for {found.name}, which only the device runs: verify the edge "
            "model that it was made of, or run it on the device."
        )
    if fault := found.missing():
        raise EdgelineError(fault)
    placed = json.loads((artifact.path / PLACEMENT).read_text())
    compiled = Compiled(
        model=Path(artifact.metadata["model"]).relative_to(FILES).as_posix(),
        placed=tuple(Placed(**operator) for operator in placed),
        facts=artifact.metadata["facts"],
        notes=tuple(artifact.metadata["notes"]),
    )
    file = found.load(artifact.path / FILES, compiled)
    features = [Feature.from_json(each) for each in artifact.metadata["features"] or ()]
    return hosted(file, host_operations.of(artifact.metadata), features)


def options_of(found: Target, given: Mapping[str, object]) -> dict[str, str]:
    """Every option of a target with its value as text, the default where none is given.

    Raises:
        UsageError: there is no such option, or it cannot have that value.
    """
    defaults = {option.name: option.default for option in found.options}
    if unknown := sorted(given.keys() - defaults.keys()):
        hint = did_you_mean(unknown[0], defaults, "It has")
        raise UsageError(f"Target {found.name} has no option {unknown[0]!r}. {hint}")
    texts = {name: str(value) for name, value in given.items()}
    flags = {name: text.lower() for name, text in texts.items() if text in ("True", "False")}
    options = {**defaults, **texts, **flags}
    for option in found.options:
        if option.choices and (value := options[option.name]) not in option.choices:
            raise UsageError(
                f"Option {option.name} of target {found.name} is {value!r}. "
                f"{did_you_mean(value, option.choices)}"
            )
    return options


def read_models(edge_model_path: str, model_path: str, name: str = "") -> Given:
    """The forms of a model that are at hand.

    Raises:
        EdgelineError: none is given, or a folder is damaged or holds something else.
    """
    if not edge_model_path and not model_path:
        raise EdgelineError("No model is given: connect edge_model, or model.")
    about: dict[str, object] = {}
    source, digests = Source(), []
    if model_path:
        trained = artifacts.read(model_path, models.SCHEMA)
        source = replace(source, saved_model=models.saved_model_path(trained))
        about, digests = dict(trained.metadata), [trained.digest]
    if edge_model_path:
        edge = models.read_edge(edge_model_path)
        path, row = models.edge_model_path(edge), quantisation.of(edge.metadata["quantisation"])
        if edge.schema == models.ONNX_SCHEMA:
            source = replace(source, onnx=path, quantisation=row)
        else:
            source = replace(source, tflite=path, quantisation=row)
        about, digests = {**about, **edge.metadata}, [*digests, edge.digest]
    return Given(source, " ".join(digests), about, name or edge_model_path or model_path)


def fitting(found: Target, given: Given) -> Source:
    """The forms of a model that a target takes.

    Raises:
        EdgelineError: it takes none of them; the sentence says what to convert.
    """
    source = given.source
    has: dict[str, Path | None] = {
        SAVED_MODEL: source.saved_model,
        TFLITE: source.tflite,
        ONNX: source.onnx,
    }
    quantised_right = source.quantisation in found.quantisations
    usable = {
        form: path
        for form, path in has.items()
        if path and form in found.takes and (form != TFLITE or quantised_right)
    }
    if usable:
        return Source(
            usable.get(SAVED_MODEL), usable.get(TFLITE), usable.get(ONNX), source.quantisation
        )
    if source.tflite and TFLITE in found.takes:
        raise EdgelineError(
            f"Target {found.name} takes a LiteRT model of quantisation "
            f"{' or '.join(row.name for row in found.quantisations)}, but {given.name} is "
            f"{source.quantisation.name}: convert it with "
            f"quantisation='{found.quantisations[0].name}'."
        )
    takes = " or ".join(FORMS[form] for form in found.takes)
    held = " and ".join(FORMS[form] for form, path in has.items() if path)
    raise EdgelineError(
        f"Target {found.name} takes {takes}, but {given.name} is {held}: "
        + ("convert it first." if source.saved_model else "give the model that it was made of.")
    )


def _metadata(
    found: Target,
    given: Given,
    source: Source,
    settings: Mapping[str, str],
    compiled: Compiled,
    size: int,
) -> dict[str, Any]:
    on = sum(operator.device != "cpu" for operator in compiled.placed)
    metadata: dict[str, Any] = {
        "target": found.name,
        "model": f"{FILES}/{compiled.model}",
        "quantisation": compiled.facts.get("quantisation", source.quantisation.name),
        "size": size,
        "operators": len(compiled.placed),
        "on_accelerator": on,
        "share": compiled.share,
        "facts": dict(compiled.facts),
        "notes": list(compiled.notes),
        "limits": found.limits,
        "options": {name: value for name, value in settings.items() if value},
        "source_digest": given.digest,
        "source_size": _size(source.tflite or source.onnx or source.saved_model or Path()),
    }
    for name in ("features", "labels", "task", "takes"):
        metadata[name] = given.about.get(name)
    if source.tflite and host_operations.KEY in given.about:  # a SavedModel reads text itself
        metadata[host_operations.KEY] = given.about[host_operations.KEY]
    if found.name == edgetpu_placement.TARGET and source.tflite:
        predicted = edgetpu_placement.place(
            tflite.read(source.tflite),
            multiple_subgraphs=settings.get("multiple_subgraphs") == "true",
        )
        metadata["predicted"] = {
            "on_accelerator": predicted.mapped,
            "left_on_cpu": predicted.left_on_cpu,
        }
    left = Counter(entry.operator for entry in compiled.placed if entry.device == "cpu")
    metadata["left_on_cpu"] = dict(sorted(left.items()))
    return metadata


def _fixed(path: Path, work: Path) -> Path:
    try:
        result: Path | EdgelineError = child.call(
            _fix, path, work / "model.tflite", memory=limits.room(path)
        )
    except child.ChildError as error:
        raise EdgelineError(
            f"LiteRT {error.how} with a batch of 1 of {path}: convert the model again."
        ) from error
    if isinstance(result, EdgelineError):
        raise result
    return result


def _readable(tell: Callable[[str], None], path: Path) -> None:
    tell("read")
    tflite.read(path)


def _fix(tell: Callable[[str], None], path: Path, output: Path) -> Path | EdgelineError:
    tell("fixing the batch")
    try:
        return fix_shapes(path, output)
    except EdgelineError as error:
        return error


def _signature(draft: Path, source: Source) -> Signature:
    """The target's own, where its compiler changed names or types; else the model's."""
    own = draft / FILES / SIGNATURE
    if own.is_file():
        return Signature.from_json(json.loads(own.read_text()))
    if source.tflite:
        return placement.signature_of(tflite.read(source.tflite))
    return Signature((), ())


@contextmanager
def _sentences(found: Target, given: Given, source: Source, work: Path) -> Iterator[None]:
    """Errors of a compiler, with the model called what the user calls it."""
    paths = [work / "model.tflite", source.tflite, source.onnx, source.saved_model]
    try:
        yield
    except EdgelineError as error:
        text = str(error)
        for path in filter(None, paths):
            text = text.replace(str(path), given.name)
        raise EdgelineError(text) from error
    except Exception as error:  # a compiler may be another package's
        raise EdgelineError(
            f"The compiler of {found.name} failed on {given.name} "
            f"({type(error).__name__}: {str(error)[:300].rstrip('.')}): "
            "build the model from other operators, or compile for another target."
        ) from error


@contextmanager
def _deadline(name: str, seconds: int) -> Iterator[None]:
    """End what runs with a sentence after some seconds; only a main thread can be told."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(_number: int, _frame: FrameType | None) -> None:
        raise EdgelineError(
            f"The compiler of {name} exceeded {seconds} s: give a larger time_limit."
        )

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _without_paths(log: str, *folders: Path) -> str:
    """A log without the places of this machine, so that equal input gives equal output."""
    for folder in (*folders, Path(sys.prefix)):
        log = log.replace(str(folder), "…")
    return log


def _size(path: Path) -> int:
    """Bytes of a file, or of all in a folder; 0 where there is neither."""
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size if path.is_file() else 0
