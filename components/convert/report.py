"""The report of a conversion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from edgeline.artifacts import host_operations, outcomes, transformed
from edgeline.artifacts.bundle import Signature, Tensor
from edgeline.artifacts.host_operations import HostOperations
from edgeline.components.convert import candidates_report, layers_report
from edgeline.components.convert.settings import Limit
from edgeline.formats.operators import OperatorKind
from edgeline.reports import report, requirements

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from edgeline.components.convert.built import Built

ROUNDING = 1e-5  # as of verify: a difference up to it is that of float32 through a network


def write(
    path: str | Path,
    metadata: Mapping[str, Any],
    contract: Signature,
    operators: Sequence[OperatorKind],
    built: Built,
    limit: Limit | None,
) -> None:
    """Write sizes, difference, contract, layers and operators of an edge model as a page."""
    constants = sum(row.constants for row in operators)
    quantised = sum(row.quantised_constants for row in operators)
    raw = metadata["takes"] == transformed.RAW
    source, other = _source(metadata)
    largest = max((d["max"] for d in metadata["difference"].values()), default=0.0)
    facts = [
        report.Fact("edge model", report.size(metadata["size"])),
        report.Fact(source, report.size(metadata["source_size"])),
        report.Fact("takes", transformed.words(metadata["takes"]), good=raw),
        report.Fact("quantisation", metadata["quantisation"]),
        report.Fact("constants quantised", f"{quantised / max(constants, 1):.0%}"),
        report.Fact(f"largest difference from {other}", report.number(float(largest), 2)),
    ]
    met = outcomes.of(metadata)
    facts += requirements.fact(met)
    sections = requirements.section(met)
    if metadata["because"]:
        sections.append(
            report.Section("Why transformed features", report.text(metadata["because"]))
        )
    if operations := host_operations.of(metadata):
        sections.append(_host_operations(operations))
    if built.candidates:
        sections += candidates_report.sections(built.candidates, built.cloud, limit)
    sections += [
        report.Section("Size", report.figure(_sizes(metadata, constants))),
        report.Section(
            "Inputs and outputs", _contract(contract), "A batch of -1 is any number of rows."
        ),
        report.Section(f"Difference from {other}", *_difference(metadata)),
        *layers_report.sections(built.layers),
        report.Section("Operators", _operators(operators)),
        report.Section("Lowered operators", *_lowered(metadata)),
    ]
    report.write(path, "Conversion", facts, sections)


def _host_operations(operations: HostOperations) -> report.Section:
    """What is computed before the file, a row for each input that it gives."""
    rows = [
        (name, ", ".join(operations.read_for(name)), ", ".join(operations.only([each]).named))
        for each in operations.inputs
        if (name := each.name) in operations.gives
    ]
    table = report.table(("input of the file", "made of", "by"), rows)
    return report.Section("Host operations", table, host_operations.sentence(operations))


def _source(metadata: Mapping[str, Any]) -> tuple[str, str]:
    """What was converted, and where it answers."""
    if metadata.get("origin", {}).get("kind") == "tflite":
        return "imported LiteRT file", "the imported file"
    return "SavedModel", "the cloud"


def _sizes(metadata: Mapping[str, Any], constants: int) -> Figure:
    from matplotlib.figure import Figure

    sizes = {
        _source(metadata)[0]: metadata["source_size"],
        "edge model": metadata["size"],
        "of it constants": constants,
    }
    figure = Figure(figsize=(7, 1.8))
    axes = figure.subplots()
    bars = axes.barh(
        list(sizes), list(sizes.values()), color=[report.GREY, report.BLUE, report.GREEN]
    )
    axes.bar_label(bars, [report.size(size) for size in sizes.values()], padding=4)
    axes.invert_yaxis()
    axes.set_xticks([])
    axes.margins(x=0.15)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    return figure


def _contract(contract: Signature) -> Markup:
    def row(side: str, tensor: Tensor) -> list[object]:
        shape = " × ".join(map(str, tensor.shape))
        return [side, tensor.name, tensor.dtype, shape, tensor.scale, tensor.zero_point]

    rows = [row("input", t) for t in contract.inputs] + [row("output", t) for t in contract.outputs]
    return report.table(["", "name", "dtype", "shape", "scale", "zero point"], rows)


def _difference(metadata: Mapping[str, Any]) -> tuple[Markup, str]:
    found = sorted(metadata["difference"].items(), key=lambda each: (-each[1]["max"], each[0]))
    rows = [[name, d["max"], d["mean"]] for name, d in found if d["max"] > ROUNDING]
    alike = [[name, d["max"], d["mean"]] for name, d in found if d["max"] <= ROUNDING]
    taken = metadata["representative"]
    split = f" of split {taken['split']}" if taken["split"] else ""
    note = (
        f"On {report.number(taken['rows'])} representative rows{split}, "
        "both models run on the same raw rows."
    )
    head, parts = ["output", "largest", "mean"], []
    if rows:
        parts.append(report.table(head, rows))
    if alike:
        told = f"{report.number(len(alike))} that differ by rounding alone"
        fold = Markup("<details><summary>{}</summary>{}</details>")
        parts.append(
            fold.format(told, report.table(head, alike)) if rows else report.table(head, alike)
        )
    return Markup("").join(parts), note + " The largest difference first."


def _operators(operators: Sequence[OperatorKind]) -> Markup:
    total = max(sum(row.constants for row in operators), 1)
    rows = [
        [
            row.name,
            row.count,
            report.size(row.constants),
            report.bar(row.constants / total),
            f"{row.quantised_constants / row.constants:.0%}" if row.constants else None,
            ", ".join(row.gives),
        ]
        for row in operators
    ]
    return report.table(["operator", "count", "constants", "", "quantised", "gives"], rows)


def _lowered(metadata: Mapping[str, Any]) -> tuple[Markup, str]:
    if not metadata["lowered"]:
        return report.text("None: LiteRT has every operator of the model."), ""
    note = "Operators that LiteRT lacks, rebuilt from its builtins with the same values."
    return report.table(["TensorFlow operator", "nodes"], list(metadata["lowered"].items())), note
