"""Evaluate a model slice by slice and decide whether it is good enough."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgeline import artifacts
from edgeline.artifacts import Artifact, example_weights, examples, outcomes
from edgeline.artifacts import fairness as asked_fairness
from edgeline.artifacts import requirements as asked_for
from edgeline.artifacts.bundle import MANIFEST
from edgeline.artifacts.decision_threshold import USUAL
from edgeline.artifacts.verdicts import NO_BASELINE
from edgeline.beam import workers
from edgeline.beam.workers import Workers
from edgeline.components.analyze import (
    beside_published,
    cautions,
    decision,
    doubtful_labels,
    evaluation_config,
    fair_decisions,
    fairness,
    fairness_report,
    names,
    not_evaluated,
    predict,
    proposals,
    published,
    report,
    required,
    results,
    slices,
    tfma_engine,
    thresholds,
    vectorised_engine,
    worst_rows,
)
from edgeline.components.analyze.curves import Curves
from edgeline.components.analyze.decision_goal import check_task
from edgeline.components.analyze.decision_goal import parse as parse_goal
from edgeline.components.analyze.evaluation_config import BASELINE, CANDIDATE
from edgeline.components.analyze.not_evaluated import SCHEMA
from edgeline.components.train.class_weights import UNCALIBRATED
from edgeline.errors import EdgelineError
from edgeline.formats.dtypes import Array
from edgeline.runtimes import original
from edgeline.runtimes.metric_names import AUC_TFMA

MOST_CLASSES_SHOWN = 50


@dataclass(frozen=True)
class Analysis:
    """What an evaluation gives beside its folder.

    metadata: facts of the `evaluation/v1` artifact; overall: metrics of all rows;
    roc: false and true positive rates and thresholds, for a binary task with both classes;
    confusion: class names and rows by label and prediction, for a classifier;
    decision_threshold: above this score a binary prediction is a yes; 0.5 where nobody chose it.
    """

    blessed: bool
    metadata: dict[str, object]
    overall: dict[str, float]
    roc: tuple[list[float], list[float], list[float]] | None
    confusion: tuple[list[str], list[list[int]]] | None
    decision_threshold: float

    def log(self, classification: Any) -> None:
        """Show curve and matrix in a pipeline's UI, by kfp's `ClassificationMetrics`."""
        if self.roc:
            classification.log_roc_curve(*self.roc)
        if self.confusion:
            classification.log_confusion_matrix(*self.confusion)


def analyze(
    examples_path: str,
    model_path: str,
    evaluation_path: str,
    evaluation_report_path: str,
    eval_config: Mapping[str, object] | str = "",
    split: str = "eval",
    baseline_model_uri: str = "",
    beam_options: Sequence[str] = (),
    confidence_intervals: bool = True,
    seed: int = 0,
    decision_goal: str = "",
    requirements: Mapping[str, Any] | None = None,
    evaluation_uri: str = "",
    fairness: Mapping[str, Any] | None = None,
) -> Analysis:
    """Evaluate a model and write an `evaluation/v1` folder and a report.

    The folder holds `metrics.json` (see `results.to_json`), `validation.json`, `eval_config.json`,
    of a binary task `decisions.json` (see `decision.decisions`), where no threshold was set
    `proposed_eval_config.json` (see `proposals`), and TFMA's result files, and nothing that differs
    between two runs. A goal that no threshold reaches is a reason not to bless the model, and so is
    a requirement on the trained model that is not met (see `required`); what came of each is in the
    metadata. A model that crashes its runtime on rows, or goes beyond a limit there, is not blessed
    either, nor is one whose baseline does; then nothing else is told of it.

    Args:
        examples_path: `examples/v1` folder.
        model_path: `model/v1` folder, or that of an imported LiteRT or ONNX model.
        evaluation_path: where the `evaluation/v1` folder is written.
        evaluation_report_path: where the HTML is written.
        eval_config: see `evaluation_config.parse`.
        split: which rows.
        baseline_model_uri: a model to compare with (see `published.baseline`), or "".
        beam_options: see `edgeline.beam.runner.read`; empty computes on this machine without Beam.
        confidence_intervals: whether to bootstrap 95 % intervals.
        seed: of the bootstrap.
        decision_goal: what the threshold of a binary decision is chosen by (see
            `decision_goal.parse`); empty leaves it at 0.5.
        requirements: see `edgeline.artifacts.requirements`; what they say of devices is verify's.
        evaluation_uri: that of the evaluation in a store, beside which Beam's workers share
            what they need unless `beam_options` has a `--temp_location`.
        fairness: see `edgeline.artifacts.fairness`.

    Raises:
        EdgelineError: what is wrong with the parameters, the rows or the models.
    """
    place = Path(evaluation_path).parent
    place.mkdir(parents=True, exist_ok=True)
    with (
        workers.hired(beam_options, evaluation_uri, "analyze") as hired,
        tempfile.TemporaryDirectory(prefix="published-", dir=place) as scratch,
    ):
        before = published.baseline(baseline_model_uri, Path(scratch))
        wanted = asked_for.parse(requirements or {})
        between = asked_fairness.parse(fairness)
        asked_fairness.check_required(between, wanted.metrics)
        try:
            return _analyze(
                examples_path,
                model_path,
                evaluation_path,
                evaluation_report_path,
                eval_config,
                split,
                before,
                hired,
                confidence_intervals,
                seed,
                decision_goal,
                wanted,
                Path(scratch),
                between,
            )
        except predict.ModelEndedError as ended:
            metadata = not_evaluated.write(
                evaluation_path,
                evaluation_report_path,
                not_evaluated.reason(ended, before, wanted.trend, Path(scratch)),
                artifacts.read(examples_path, examples.SCHEMA),
                split,
                original.read(model_path),
                before,
            )
            return Analysis(False, metadata, {}, None, None, USUAL)


def _analyze(
    examples_path: str,
    model_path: str,
    evaluation_path: str,
    evaluation_report_path: str,
    eval_config: Mapping[str, object] | str,
    split: str,
    before: published.Baseline,
    hired: Workers | None,
    confidence_intervals: bool,
    seed: int,
    decision_goal: str,
    wanted: asked_for.Requirements,
    scratch: Path,
    between: asked_fairness.FairnessSettings | None,
) -> Analysis:
    """As `analyze`, with the baseline and the requirements at hand; `scratch` is for versions."""
    goal = parse_goal(decision_goal)
    data = artifacts.read(examples_path, examples.SCHEMA)
    model = original.read(model_path)
    if "origin" in model.metadata and not model.metadata["label"]:
        raise EdgelineError(
            f"{model_path} was imported without a label, so nothing says how good it is: give "
            "import_model the label's column."
        )
    baseline = original.read(before.path) if before.path else None
    task = predict.task_of(model, baseline)
    check_task(decision_goal, task)
    asked_fairness.check(between, task, beam=hired is not None)
    trained_by = model.metadata.get(example_weights.KEY, "")
    config = evaluation_config.parse(
        eval_config, task, baseline is not None, confidence_intervals, trained_by
    )
    if not hired:  # TFMA has ways to make one task of another, such as binarize
        evaluation_config.check_task(config, task)
    weight_columns = names.weight_columns(config)
    own_specs = list(config.slicing_specs)
    required.add_slices(config, wanted)
    slice_columns = evaluation_config.slice_columns(config)
    parts = examples.parts(data, split)
    slices.check_columns(slice_columns, schema := examples.arrow_schema(data, split))
    if between:
        slices.check_columns([between.group], schema, "fairness.group names")
        slice_columns = list(dict.fromkeys([*slice_columns, between.group]))
    for column in dict.fromkeys(weight_columns.values()):
        example_weights.check(data, column, [split])
    rows = examples.count_rows(parts)
    predict.check_count(rows, examples.splits(data)[split], f"Reading split {split!r}")
    if rows == 0:
        raise EdgelineError(
            f"Split {split!r} of {examples_path} has no rows: give it a larger ratio."
        )

    with_rows = hired.on(parts, batch_rows=tfma_engine.BATCH_ROWS) if hired else None

    def evaluated(paths: dict[str, str], asked: Any, columns: list[str]) -> Any:
        job = (rows, paths, task, asked, columns, seed, decision.goals(goal))
        if with_rows:
            return tfma_engine.evaluate(*job, with_rows)
        return vectorised_engine.evaluate(parts, *job)

    def beside(version: str) -> Mapping[str, Any]:
        """All rows of this model and of a published one."""
        predict.task_of(model, original.read(version))
        asked = evaluation_config.parse(eval_config, task, True, True, trained_by)
        del asked.slicing_specs[:]
        asked.slicing_specs.add()
        both, *_ = evaluated({CANDIDATE: model_path, BASELINE: version}, asked, [])
        [overall] = results.to_json(both, names.shown(asked), bool(weight_columns))
        return overall

    model_paths = {CANDIDATE: model_path, BASELINE: before.path}
    if baseline is None:
        model_paths = {"": model_path}
    found, curves, exact, worst, columns = evaluated(model_paths, config, slice_columns)
    found = results.in_order(found)
    dropped = baseline is None and evaluation_config.has_change_thresholds(eval_config)
    verdict = thresholds.judge(required.of_specs(found, own_specs), config, dropped)
    by_slice = results.to_json(found, names.shown(config), bool(weight_columns))
    if exact.aucs and names.has_roc_auc(config):
        results.put_auc(by_slice[0], exact.aucs)
    scalars = results.scalars(by_slice[0])
    overall = {
        name: scalars[name]
        for name in sorted(scalars, key=lambda name: name == AUC_TFMA)  # the others first
        if not name.startswith(fairness.PREFIX)
    }

    classes = _class_names(model, curves)
    chosen = decision.of_goal(goal, exact.decisions)
    if goal and chosen is None:
        verdict = thresholds.refused(verdict, decision.sentence(exact.decisions[1], split))
    if chosen:
        overall |= decision.summaries(chosen, exact.decisions[0])
    warnings = list(cautions.warnings(curves, classes, split, chosen))
    if model.metadata.get("class_weights"):
        warnings.append(UNCALIBRATED)

    unasked = verdict.proto.missing_thresholds and not wanted.metrics
    proposed = proposals.proposals(by_slice[0], curves) if unasked else []
    proposed_config = proposals.config(proposed, eval_config)
    if proposed_config:
        told = [
            thresholds.ANY_PROPOSED if each == thresholds.ANY else each for each in verdict.notes
        ]
        verdict = replace(verdict, notes=told)
    fair, decided = None, chosen.threshold if chosen else USUAL
    if between:
        assert columns is not None  # which Beam's workers give none of
        judged = fair_decisions.JudgedRows(between, columns, parts, model, classes, goal)
        fair = fair_decisions.judge(judged, decided, seed, confidence_intervals)
        overall |= fair_decisions.put(by_slice[0], fair)
        warnings += fair.notes
        if fair.thresholds:
            warnings.append(fair_decisions.UNSERVED)
    doubts = doubtful_labels.look(columns, classes, parts)
    met = required.metrics(wanted, by_slice)
    if wanted.trend:
        over_versions, note = required.trend(wanted.trend, wanted.metrics, beside, scratch)
        met += over_versions
        verdict = replace(verdict, notes=[*verdict.notes, note[0].upper() + note[1:] + "."])
    if before.words and baseline is None:
        verdict = replace(verdict, notes=[*verdict.notes, f"{NO_BASELINE}{before.words}."])
    elif before.told:
        verdict = replace(verdict, notes=[*verdict.notes, f"The baseline is {before.words}."])
    warnings += [each.sentence.rstrip(".") for each in met if each.state == outcomes.TOLD]
    for each in met:
        if each.fails:
            verdict = thresholds.refused(verdict, each.sentence)
    if baseline is not None and not (Path(before.path) / MANIFEST).is_file():
        verdict = replace(verdict, notes=[*verdict.notes, beside_published.NO_BUNDLE])
    elif baseline is not None:
        asked = evaluation_config.has_change_thresholds(eval_config)
        beside_it = beside_published.judge(columns, task, parts, before.path, asked)
        for reason in beside_it.reasons:
            verdict = thresholds.refused(verdict, reason)
        verdict = replace(verdict, notes=[*verdict.notes, *beside_it.notes])
    if met:
        verdict = replace(verdict, notes=[n for n in verdict.notes if n != thresholds.ANY])
    weighed_by = next(iter(weight_columns.values()), "")
    if weighed_by:
        verdict = replace(verdict, notes=[*verdict.notes, names.weighed_by(weight_columns)])
    if weighed_by and trained_by and weighed_by != trained_by:
        warnings.append(
            f"the model was trained by the weights of {trained_by}, and is evaluated by those of "
            f"{weighed_by}"
        )

    bounds = thresholds.bounds(config)
    taken = [each["name"] for each in model.metadata.get("features", ())]
    with artifacts.writing(evaluation_path, SCHEMA) as draft:
        draft.metadata |= {
            "blessed": verdict.blessed,
            "notes": verdict.notes,
            "warnings": warnings,
            "rows": rows,
            "split": split,
            "task": task,
            "slices": len(by_slice),
            "metrics": overall,
            "model_digest": model.digest,
            "baseline_digest": baseline.digest if baseline else None,
        }
        if fair:
            draft.metadata |= fair.metadata()
            artifacts.write_json(draft.path / fair_decisions.FILE, fair.to_json())
        doubtful_labels.write(draft.path, doubts)
        if met:
            draft.metadata[asked_for.NAME] = [each.to_json() for each in met]
        if before.told:
            draft.metadata[published.KEY] = dict(before.told)
        if weighed_by:
            draft.metadata[example_weights.KEY] = weighed_by
        if chosen:
            draft.metadata |= {
                "decision_goal": chosen.goal,
                "decision_threshold": chosen.threshold,
            }
        if exact.decisions:
            listed = [{**each.to_json(), **each.summary()} for each in exact.decisions]
            artifacts.write_json(draft.path / "decisions.json", listed)
        if proposed_config:
            artifacts.write_json(draft.path / "proposed_eval_config.json", proposed_config)
        results.write_tfma(draft.path, found, verdict.proto, config)
        measured = {"rows": rows, "bounds": bounds, "slices": by_slice}
        artifacts.write_json(draft.path / "metrics.json", measured)
        artifacts.write_json(
            draft.path / "validation.json",
            {
                "blessed": verdict.blessed,
                "failures": verdict.failures,
                "notes": verdict.notes,
                "warnings": warnings,
            },
        )
    report.write(
        evaluation_report_path,
        verdict,
        by_slice,
        curves,
        classes,
        warnings,
        exact.decisions,
        chosen,
        proposed,
        proposals.to_text(proposed_config) if proposed_config else "",
        met,
        bounds,
        worst_rows.section(parts, worst, classes, decided, taken),
        fairness_report.sections(fair),
        doubtful_labels.sections(doubts, taken, classes),
    )
    return Analysis(
        verdict.blessed,
        {"edgeline_schema": SCHEMA, **draft.metadata},
        overall,
        curves.roc(),
        _confusion(classes, chosen.confusion if chosen else curves.confusion()),
        decided,
    )


def _class_names(model: Artifact, curves: Curves) -> list[str]:
    if curves.task == "regression":
        return []
    classes = len(curves.confusion())
    names = model.metadata.get("labels")
    return list(map(str, names if names and len(names) == classes else range(classes)))


def _confusion(names: list[str], counts: Array) -> tuple[list[str], list[list[int]]] | None:
    if not names or len(names) > MOST_CLASSES_SHOWN:
        return None
    return names, np.rint(counts).astype(int).tolist()
