"""`edgeline compile-model`: one model, as it is, for several devices."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from edgeline.artifacts import outcomes as requirement_outcomes
from edgeline.artifacts import requirements as asked_for
from edgeline.errors import EdgelineError, UsageError, at_path
from edgeline.formats.quantisation import FLOAT, of
from edgeline.local.compile_request import Request, check_values, find_targets, parse_options
from edgeline.reports import terminal
from edgeline.reports.requirements import line as requirement_line

if TYPE_CHECKING:
    from edgeline.components.compile.report import TargetOutcome
    from edgeline.components.compile.target import Target
    from edgeline.reports.report import Section

IMPORTED = "imported"  # the folder, in scratch, of a model that was not an artifact
RANDOM = (
    "No representative data was given: integer ranges come from random numbers of the input's "
    "shape. Placement and size are right, the answers of the model are NOT; give "
    "--representative with real data for a model that is to be used."
)

JUDGED = (
    "only what the compilers tell is judged here, such as size, memory and mapped share: metrics, "
    "changed decisions and what is measured are judged by a run."
)


@dataclass
class Work:
    """A model as it came, and what it was converted to so far.

    Attributes:
        name: what the user calls it.
        folder: scratch.
        model: the `model/v1` folder, or "".
        edge_model: an `edge_model/v1` or `onnx_model/v1` folder that came, or "".
        source: what `convert` takes: `model`, or `edge_model` of a float LiteRT file, or "".
        representative: as given.
        converted: by quantisation the `edge_model/v1` folder, or why there is none.
        random: whether integer ranges came from random rows.
        location: where an ONNX file is, which targets that take none get as a LiteRT file; or "".
        litert: that, or why there is none; None before a target asks for it.
    """

    name: str
    folder: Path
    representative: str
    model: str = ""
    edge_model: str = ""
    source: str = ""
    converted: dict[str, str | EdgelineError] = field(default_factory=dict)
    random: bool = False
    location: str = ""
    litert: Work | EdgelineError | None = None


def compile_model(request: Request, as_json: bool) -> int:
    """Convert a model as each target needs it, compile it, and print what came.

    Args:
        request: `model` is a SavedModel folder, a .keras, .h5, .tflite or .onnx file, any other
            location that `import_model` takes, or a `model/v1`, `edge_model/v1` or
            `onnx_model/v1` folder; `quantisation` is "" for what each target is best at;
            `representative` is a .npz or .npy file, an `examples/v1` folder, a folder of images
            or ""; `scaling` as in `import_model`; `settings` are `target.option=value`;
            `output` is "" for `<model>-compiled`; `requirements` is a requirements.yaml or "".
        as_json: print JSON instead of a table.

    Returns:
        The exit code: 1 where any target failed; the others are compiled all the same.

    Raises:
        UsageError: a target, setting or file is unknown or not for this model.
        EdgelineError: the model cannot be read.
    """
    from edgeline.components.compile import report

    names = list(dict.fromkeys(request.targets))
    targets, broken = find_targets(names)
    check_values(request)
    options = parse_options(request.settings, targets, broken)
    asked = asked_for.read(request.requirements) if request.requirements else {}
    stem = Path(request.model.rstrip("/")).stem
    folder = Path(request.output or f"{stem or 'model'}-compiled")
    told = terminal.console(sys.stderr)
    with tempfile.TemporaryDirectory() as scratch, _steps(told) as step:
        step("Reading the model")
        work = _read(request, Path(scratch), targets.values())
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise at_path(
                error, f"{folder} cannot be made ({error.strerror}): name another folder with -o."
            ) from error
        outcomes = [
            report.TargetOutcome(name, failure=broken[name])
            if name in broken
            else _outcome(targets[name], request, work, options[name], folder, step, asked)
            for name in names
        ]
        joined = _joined(work, folder, outcomes)
    warnings = (
        [RANDOM] if work.random or (isinstance(work.litert, Work) and work.litert.random) else []
    )
    report.write(folder / "report.html", work.name, outcomes, warnings, joined)
    if as_json:
        print(json.dumps(_json(work.name, folder, outcomes, warnings), indent=1))
    else:
        _print(terminal.console(), folder, outcomes)
    if asked:
        told.print(Text(f"Of {request.requirements}, {JUDGED}"), soft_wrap=True)
        devices = asked_for.parse(asked).devices.items()
        if other := [name for name, each in devices if (each.target or name) not in names]:
            line = f"Nothing is made here for the target of {', '.join(other)}."
            told.print(Text(line), soft_wrap=True)
    for warning in warnings:
        told.print(Text(f"Warning: {warning}", "bold yellow"), soft_wrap=True)
    return int(any(outcome.failure for outcome in outcomes))


def _read(request: Request, scratch: Path, targets: Iterable[Target]) -> Work:
    """The model as an artifact folder: as it is, or imported."""
    from edgeline.artifacts import models, schema_of
    from edgeline.components.import_model.import_model import (
        FLOAT_FILE,
        find_model,
        import_model,
        kind_of,
    )
    from edgeline.components.import_model.wanted import Wanted

    work = Work(request.model, scratch, request.representative)
    folder, schema = request.model, schema_of(request.model)
    if request.scaling and (schema or request.model.endswith((".tflite", ".onnx"))):
        raise UsageError(
            "--scaling is for a SavedModel or a Keras file: leave it out (an ONNX file gets it by "
            "the parameter scaling of the pipeline pretrained)."
        )
    if not schema:
        if Path(request.model).exists():
            _, kind = find_model(Path(request.model), request.model)
            if kind not in ("tflite", "onnx"):
                _import_tensorflow()
        folder = str(scratch / IMPORTED)
        wanted = Wanted(scaling=request.scaling)
        schema = import_model(request.model, folder, wanted=wanted)["edgeline_schema"]
        work.location = request.model if schema == models.ONNX_SCHEMA else ""
    if schema == models.SCHEMA:
        work.model = work.source = folder
    elif schema in (models.EDGE_SCHEMA, models.ONNX_SCHEMA):
        work.edge_model = folder
        found = models.read_edge(folder).metadata
        if kind_of(found) == FLOAT_FILE:
            work.source = folder
        elif work.location and any(map(_needs_litert, targets)):
            pass  # they take what is made of it
        elif request.quantisation not in ("", found["quantisation"]):
            raise UsageError(
                f"--quantisation {request.quantisation}: {request.model} stays as it is, "
                f"{found['quantisation']}: leave it out, or give the model that it was made of."
            )
    else:
        raise UsageError(
            f"{request.model} holds {schema}, but model/v1, edge_model/v1 or onnx_model/v1 "
            "is needed: give a model."
        )
    return work


def _needs_litert(target: Target) -> bool:
    """Whether an ONNX file has to become a LiteRT file for a target."""
    from edgeline.components.compile.target import ONNX, TFLITE

    return TFLITE in target.takes and ONNX not in target.takes


def _for_target(work: Work, target: Target, step: Callable[[str], None]) -> Work:
    """The model as a target takes it: an ONNX file is converted at the first call that asks for it.

    Raises:
        EdgelineError: it does not convert, at this and any later call.
    """
    if not work.location or not _needs_litert(target):
        return work
    if work.litert is None:
        step("Converting ONNX to LiteRT")
        try:
            work.litert = _as_litert(work)
        except EdgelineError as error:
            work.litert = error
    if isinstance(work.litert, EdgelineError):
        raise work.litert
    return work.litert


def _as_litert(work: Work) -> Work:
    from edgeline.components.import_model.import_model import FLOAT_FILE, import_model, kind_of
    from edgeline.components.import_model.wanted import Wanted

    scratch = work.folder / "litert"
    scratch.mkdir()
    folder = str(scratch / IMPORTED)
    found = import_model(work.location, folder, wanted=Wanted(to_litert=True))
    source = folder if kind_of(found) == FLOAT_FILE else ""
    return Work(work.name, scratch, work.representative, edge_model=folder, source=source)


def _import_tensorflow() -> None:
    """Once here instead of in every child, which are forked from this process; silently."""
    kept = os.dup(2)
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), 2)
    try:
        import tensorflow as tf  # noqa: F401
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _outcome(
    target: Target,
    request: Request,
    work: Work,
    options: Mapping[str, str],
    folder: Path,
    step: Callable[[str], None],
    asked: Mapping[str, Any],
) -> TargetOutcome:
    """Compile for one target; a failure is an outcome, too, as is a requirement that is missed."""
    from edgeline.components.compile.compile import compile_edge_model
    from edgeline.components.compile.report import TargetOutcome

    try:
        if fault := target.missing():
            raise EdgelineError(fault)
        work = _for_target(work, target, step)
        edge_model = work.edge_model
        if quantisation := _quantisation(target, request.quantisation, work):
            if quantisation not in work.converted:
                step(f"Converting to {quantisation}")
            edge_model = _converted(work, quantisation)
        step(f"Compiling for {target.name}")
        done = compile_edge_model(
            target.name,
            str(folder / target.name),
            edge_model,
            work.model,
            options,
            name=work.name,
            requirements=asked,
        )
    except EdgelineError as error:
        # the imported model is scratch, of which nobody knows
        failure = str(error).replace(str(work.folder / IMPORTED), work.name)
        return TargetOutcome(target.name, failure=failure)
    return TargetOutcome(target.name, done.metadata, done.placed)


def _quantisation(target: Target, wanted: str, work: Work) -> str:
    """What to convert the model to for a target; "" where it is to be taken as it is.

    A LiteRT file is, where the target takes its form and nothing else is wanted.
    """
    from edgeline.components.compile.target import TFLITE

    if not work.source or TFLITE not in target.takes:
        return ""
    names = [row.name for row in target.quantisations]
    if wanted and wanted not in names:
        raise EdgelineError(
            f"Target {target.name} takes {' or '.join(names)}, not {wanted}: compile for it "
            f"without --quantisation, or with {names[0]}."
        )
    if work.edge_model and wanted in ("", FLOAT.name) and FLOAT in target.quantisations:
        return ""
    return wanted or names[0]


def _converted(work: Work, quantisation: str) -> str:
    """The model in a quantisation, made at the first call.

    Raises:
        EdgelineError: it does not convert, at this and any later call.
    """
    if quantisation not in work.converted:
        try:
            work.converted[quantisation] = _convert(work, quantisation)
        except EdgelineError as error:
            work.converted[quantisation] = error
    found = work.converted[quantisation]
    if isinstance(found, EdgelineError):
        raise found
    return found


def _convert(work: Work, quantisation: str) -> str:
    from edgeline import artifacts
    from edgeline.artifacts import examples, models
    from edgeline.components.compile.rows import random_rows, read_rows
    from edgeline.components.convert.convert import convert, convert_arrays

    output, page = work.folder / quantisation, work.folder / f"{quantisation}.html"
    row = of(quantisation)
    io = "int8" if "int8" in row.io else "float"  # as an accelerator takes it
    given = (str(output), str(page), quantisation)
    if artifacts.schema_of(work.representative) == examples.SCHEMA:
        convert(work.source, work.representative, *given, representative_rows=100, io=io)
        return str(output)
    schema = models.EDGE_SCHEMA if work.edge_model else models.SCHEMA
    features = models.raw_features(artifacts.read(work.source, schema))
    if work.representative:
        rows = read_rows(Path(work.representative), features)
    else:
        rows = random_rows(features)
        work.random = work.random or bool(row.needs)
    convert_arrays(work.source, rows, *given, io=io)
    return str(output)


def _joined(work: Work, folder: Path, outcomes: Sequence[TargetOutcome]) -> list[Section]:
    """What the model card draws of all that was made: sizes by stage, operators by device."""
    from edgeline.components.model_card import card, model_card, stages

    edge_models = [work.edge_model] if work.edge_model else []
    edge_models += [made for made in work.converted.values() if isinstance(made, str)]
    if isinstance(work.litert, Work):
        edge_models += [work.litert.edge_model]
        edge_models += [made for made in work.litert.converted.values() if isinstance(made, str)]
    compiled = [str(folder / outcome.target) for outcome in outcomes if outcome.metadata]
    found = card.read(work.model, edge_models, compiled)
    return [stages.section(found.stages), *model_card.graphs(found)]


@contextmanager
def _steps(told: Console) -> Iterator[Callable[[str], None]]:
    """A function that shows what is being done; each step ends the one before."""
    if not told.is_terminal:
        yield lambda text: told.print(Text(text), soft_wrap=True)
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=told) as progress:

        def step(text: str) -> None:
            for task in progress.tasks:
                progress.update(task.id, total=1, completed=1)
            progress.add_task(text, total=None)

        yield step
        for task in progress.tasks:
            progress.update(task.id, total=1, completed=1)


def _json(
    name: str, folder: Path, outcomes: Sequence[TargetOutcome], warnings: Sequence[str]
) -> dict[str, Any]:
    return {
        "model": name,
        "report": str(folder / "report.html"),
        "warnings": list(warnings),
        "targets": [
            {"target": outcome.target, "failure": outcome.failure}
            if outcome.metadata is None
            else {
                "failure": None,
                "folder": str(folder / outcome.target),
                **outcome.metadata,
            }
            for outcome in outcomes
        ],
    }


def _print(console: Console, folder: Path, outcomes: Sequence[TargetOutcome]) -> None:
    from edgeline.components.compile import report
    from edgeline.reports import report as page

    table = Table(title=f"Compiled into {folder}", title_justify="left")
    for name in ("Target", "Size", "Operators on the accelerator", "Facts"):
        table.add_column(name, justify="right" if name == "Size" else "left")
    for outcome in outcomes:
        if (found := outcome.metadata) is None:
            table.add_row(outcome.target, Text("failed", "red"), "", "")
            continue
        table.add_row(
            outcome.target,
            page.size(found["size"]),
            Text(report.on_accelerator(found), "green" if found["share"] == 1 else ""),
            Text(report.describe(found["facts"])),
        )
    console.print(table)
    for outcome in outcomes:
        for note in (outcome.metadata or {}).get("notes", ()):
            console.print(Text(f"{outcome.target}: {note}"), soft_wrap=True)
        for each in requirement_outcomes.of(outcome.metadata or {}):
            console.print(Text(f"{outcome.target}: {requirement_line(each)}"), soft_wrap=True)
        if outcome.failure:
            line = Text(f"{outcome.target} failed: {outcome.failure}", "red")
            console.print(line, soft_wrap=True)
    console.print(Text(f"Report: {folder / 'report.html'}"), soft_wrap=True)
