"""The page of one model: its sizes, where its operators run, how good and how fast it is where."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from markupsafe import Markup

from edgeline.artifacts import declared_card, example_weights, outcomes, transformed, windows
from edgeline.artifacts.outcomes import RequirementOutcome
from edgeline.components.check import report as check_report
from edgeline.components.compile import fixed_shapes, target
from edgeline.components.compile import report as compile_report
from edgeline.components.compile.target import Placed
from edgeline.components.convert import layers_report
from edgeline.components.model_card import card as cards
from edgeline.components.model_card import needs, operator_graph, stages, targets
from edgeline.components.model_card.card import Card, NamedCompiledModel, PredictedPlacement
from edgeline.components.model_card.operator_graph import Spot
from edgeline.formats import tflite
from edgeline.reports import graph as boxes
from edgeline.reports import report
from edgeline.reports.report import GREEN, GREY, ORANGE, RED, Fact, Section
from edgeline.reports.requirements import fact as requirements_fact
from edgeline.reports.requirements import section as requirements_section

DEVICES = {"npu": "NPU", "edgetpu": "Edge TPU", "cpu": "CPU"}


@dataclass(frozen=True)
class Drawing:
    """An edge model's operators and where one target runs them."""

    title: str
    graph: tflite.Subgraph
    spots: Sequence[Spot]


def model_card(
    model_card_path: str | Path,
    name: str = "",
    model_path: str = "",
    edge_model_paths: Sequence[str] = (),
    compiled_model_paths: Sequence[str] = (),
    verification_paths: Sequence[str] = (),
    placement_paths: Sequence[str] = (),
    evaluation_path: str = "",
    card: Mapping[str, Any] | None = None,
) -> None:
    """Write the page of a model from what components wrote of it, in any order.

    Args:
        model_card_path: the HTML page to write.
        name: what the page calls the model.
        model_path, edge_model_paths, compiled_model_paths, verification_paths, placement_paths,
            evaluation_path: folders, see `card.read`.
        card: what people declare of the model (see `edgeline.artifacts.declared_card`).

    Raises:
        EdgelineError: as `card.read`, or a field of the card is impossible. Nothing is written.
    """
    declared = declared_card.check(card or {})
    known = cards.read(
        model_path,
        edge_model_paths,
        compiled_model_paths,
        verification_paths,
        placement_paths,
        evaluation_path,
    )
    title = f"{name}: model card" if name else "Model card"
    found = [declared_section(declared), *sections(known)]
    report.write(model_card_path, title, _facts(known), found)


def declared_section(card: Mapping[str, str]) -> Section:
    """What people say of the model, and of what they say nothing."""
    rows = [(declared_card.words(name), text) for name, text in card.items()]
    parts = [report.table(("", "As declared"), rows)] if rows else []
    if missing := declared_card.missing(card):
        parts.append(report.text(f"Not stated: {', '.join(missing)}. The parameter card says it."))
    note = "People said this; no step of the pipeline checked it."
    return Section("Use, data and limits", Markup("").join(parts), note)


def sections(card: Card) -> list[Section]:
    """What there is to show of size, placement, verification and layers."""
    found = [*requirements_section(_requirements(card)), stages.section(card.stages)]
    found += [*_transformed(card), *_host_operations(card)]
    if card.verified:
        found.append(targets.section(card.verified))
    if card.compiled or card.missing:
        found.append(_targets(card))
    found += needs.section(card)
    found += graphs(card)
    for edge in card.edge_models:
        for section in layers_report.sections(edge.layers):
            found.append(replace(section, title=f"{section.title}, {edge.name}"))
    return found


def _requirements(card: Card) -> list[RequirementOutcome]:
    """Of the trained model first, then of each model that was verified; alike ones once."""
    told = [card.evaluation.metadata] if card.evaluation else []
    told += [each.facts for each in card.verified]
    told += [each.artifact.metadata for each in card.compiled]  # which verify was not asked
    return list(dict.fromkeys(each for facts in told for each in outcomes.of(facts)))


def _transformed(card: Card) -> list[Section]:
    """What whoever sends rows has to know; nothing where all models take raw features."""
    told = {each.name: each.transformed for each in card.edge_models if each.transformed}
    return [Section("Takes transformed features", _paragraphs(told))] if told else []


def _host_operations(card: Card) -> list[Section]:
    """What whoever runs a file without edgeline has to compute; nothing where there is nothing."""
    told = {each.name: each.host_operations for each in card.edge_models if each.host_operations}
    return [Section("Host operations", _paragraphs(told))] if told else []


def _paragraphs(told: Mapping[str, str]) -> Markup:
    """What is said of each model, by name; once where it is the same of all."""
    alike = set(told.values())
    lines = alike if len(alike) == 1 else [f"{name}: {text}" for name, text in told.items()]
    return Markup("").join(report.text(line) for line in lines)


def drawings(card: Card) -> list[Drawing]:
    """A drawing for each accelerator, compiled for or predicted; else one of the CPU alone."""
    found = [_of_prediction(each) for each in card.predicted]
    found += filter(None, map(_of_compiled, card.compiled))
    graphs = [(edge, edge.graph) for edge in card.edge_models if edge.graph]
    if not found and graphs:
        edge, graph = graphs[-1]
        spots = [Spot("CPU", GREY, "on the CPU")] * len(graph.operators)
        found = [Drawing(f"{edge.name}, on any CPU", graph, spots)]
    return found


def _of_prediction(predicted: PredictedPlacement) -> Drawing:
    placement = predicted.placement
    spots = [_foreseen(entry) for entry in placement["operators"]]
    assert predicted.source.graph
    title = f"{predicted.source.name} on {placement['target']}, predicted"
    return Drawing(title, predicted.source.graph, spots)


def _foreseen(entry: Mapping[str, Any]) -> Spot:
    """By an operator's entry in `placement.json`."""
    verdict, mapped = entry["verdict"], entry["mapped"]
    device = "Edge TPU" if mapped else "CPU"
    colour = check_report.colour_of(verdict["state"], mapped, verdict["maps"])
    words = {
        ORANGE: f"on the {device}, by a size that is not documented",
        RED: "on the CPU, not taken",
        GREY: "on the CPU, behind one that is not taken",
    }
    reason = "" if colour == GREEN else entry["status"]
    if colour in (RED, ORANGE):
        reason += f". {verdict['rule']}"
    return Spot(device, colour, words.get(colour, f"on the {device}"), reason)


def _of_compiled(compiled: NamedCompiledModel) -> Drawing | None:
    """None where all is on the CPU, or the compiler tells of operators of its own."""
    source = compiled.source
    if source is None or source.graph is None or not compiled.artifact.metadata["on_accelerator"]:
        return None
    spots = _spots(compiled, source.graph)
    if spots is None:
        return None
    return Drawing(f"{source.name} on {compiled.name}, compiled", source.graph, spots)


def _spots(compiled: NamedCompiledModel, graph: tflite.Subgraph) -> list[Spot] | None:
    fixed = target.find(compiled.artifact.metadata["target"]).fixed_shapes
    gone = {op.index for op in fixed_shapes.folded(graph)} if fixed else set()
    left = [op for op in graph.operators if op.index not in gone]
    if [op.name for op in left] != [placed.operator for placed in compiled.placed]:
        return None
    at = dict(zip((op.index for op in left), map(_spot, compiled.placed), strict=True))
    folded = Spot("no device", GREY, "constant once compiled", "computed from shapes alone")
    return [at.get(op.index, folded) for op in graph.operators]


def _spot(placed: Placed) -> Spot:
    device = DEVICES.get(placed.device, placed.device)
    colour = RED if placed.device == "cpu" else GREEN
    return Spot(device, colour, f"on the {device}", placed.reason)


def graphs(card: Card) -> list[Section]:
    """The operators by device: a drawing a target, below each other; nothing for ONNX alone."""
    found = drawings(card)
    if not found:
        return []
    parts = [boxes.style()]
    for place, drawing in enumerate(found):
        parts.append(
            Markup("<details{}><summary>{}</summary>{}</details>").format(
                Markup(" open") if place == 0 else "", drawing.title, _drawing(drawing)
            )
        )
    note = (
        "From top to bottom, then on in the next column; lines are tensors. Point at a box, or "
        "click it, for its whole names, types, constants, attributes and the reason."
    )
    return [Section("Operators by device", Markup("").join(parts), note)]


def _drawing(drawing: Drawing) -> Markup:
    parts = [operator_graph.key(drawing.spots)]
    if len(drawing.spots) <= boxes.MOST_DRAWN:
        parts.append(operator_graph.draw(drawing.graph, drawing.spots))
    else:
        count = report.number(len(drawing.spots))
        parts.append(report.text(f"{count} operators, too many for a drawing."))
    left = Counter(
        (op.name, spot.reason)
        for op, spot in zip(drawing.graph.operators, drawing.spots, strict=True)
        if spot.device == "CPU" and spot.reason
    )
    if left:
        rows = [(name, count, reason) for (name, reason), count in left.items()]
        parts.append(report.table(("On the CPU", "Count", "Why"), rows))
    return Markup("").join(parts)


def _targets(card: Card) -> Section:
    outcomes = [
        compile_report.TargetOutcome(each.name, each.artifact.metadata, each.placed)
        for each in card.compiled
    ]
    outcomes += [
        compile_report.TargetOutcome(target, failure=reason)
        for target, reason in card.missing.items()
    ]
    notes = [
        report.text(f"{each.name}: {note}")
        for each in card.compiled
        for note in (each.artifact.metadata["limits"], *each.artifact.metadata["notes"])
        if note
    ]
    return Section("Targets", Markup("").join([compile_report.table(outcomes), *notes]))


def _facts(card: Card) -> list[Fact]:
    facts = []
    if card.origin:
        facts.append(Fact("imported from", _shown(card.origin["source"])))
        if converter := card.origin.get("converter"):
            facts.append(Fact("converted by", str(converter)))
        if moved := [*card.origin.get("channels_last", ()), *card.origin.get("answers_last", ())]:
            facts.append(Fact("channels last, first in the ONNX file", ", ".join(moved)))
    if card.evaluation:
        blessed = bool(card.evaluation.metadata["blessed"])
        facts.append(Fact("evaluation", "blessed" if blessed else "not blessed", blessed))
        if weighed_by := card.evaluation.metadata.get(example_weights.KEY):
            facts.append(Fact("evaluation weighted by", weighed_by))
    elif card.origin:
        facts.append(Fact("evaluation", "not evaluated", False))
    facts += requirements_fact(_requirements(card))
    if told := [each.takes for each in card.edge_models if each.transformed]:
        facts.append(Fact("takes", transformed.words(told[0]), False))
    facts += [Fact(stage.name, report.size(stage.size)) for stage in _ends(card)]
    if card.verified:
        approved = sum(each.approved for each in card.verified)
        whole = approved == len(card.verified)
        facts.append(Fact("approved", f"{approved} of {len(card.verified)}", whole))
        threshold = card.verified[0].facts.get("decision_threshold")
        if threshold is not None:
            facts.append(Fact("yes above a score of", report.number(threshold)))
        if kept := windows.of(card.verified[0].facts):
            facts.append(Fact("a row is a window", kept.words))
        for name, values in card.verified[0].facts["metrics"].items():
            facts.append(Fact(f"{name} in the cloud", report.number(values["cloud"])))
    facts += [Fact(target, "not compiled", False) for target in card.missing]
    facts += [Fact(name, f"not approved: {how}", False) for name, how in card.crashed]
    for each in card.compiled:
        found = each.artifact.metadata
        if found["on_accelerator"]:
            on = compile_report.on_accelerator(found)
            facts.append(Fact(f"operators on {each.name}", on, found["share"] == 1))
    return facts


def _shown(source: str) -> str:
    """The end of a long location."""
    return source if len(source) < 50 else f"…{source[-49:]}"


def _ends(card: Card) -> Iterable[stages.Stage]:
    """The first stage and the smallest of the edge models."""
    found = card.stages
    edges = [stage for stage in found[1:] if stage.kind == stages.EDGE]
    smallest = min(edges, key=lambda stage: stage.size, default=None)
    return found[:1] + ([smallest] if smallest else [])
