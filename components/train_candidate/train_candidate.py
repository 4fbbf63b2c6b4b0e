"""One candidate of a run: trained, evaluated, converted and verified, or the reason why not.

What fails is this candidate and not the run: a reason is a result like others, and the other
candidates go on. On a cluster nothing else would do, since a task that fails in a loop fails the
run, and nothing can be collected from it.
"""

from __future__ import annotations

import json
import math
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeline import artifacts
from edgeline.artifacts import examples, verdicts
from edgeline.artifacts.candidates import (
    APPROVED,
    EDGE_MODEL,
    EVALUATION,
    FAILED,
    MODEL,
    NOT_APPROVED,
    OWN,
    SCHEMA,
    SHARED,
    VERIFICATION,
)
from edgeline.components.analyze.analyze import Analysis, analyze
from edgeline.components.convert.convert import Converted, convert
from edgeline.components.train.fitting import Fitting
from edgeline.components.train.train import train
from edgeline.components.train_candidate import report, steps
from edgeline.components.train_candidate.training_rows import TrainingRows
from edgeline.components.train_candidate.window import take
from edgeline.components.transform.transform import transform
from edgeline.components.verify.findings import Limits
from edgeline.components.verify.verify import Result, verify
from edgeline.errors import EdgelineError
from edgeline.stores import remote

TAKEN = (*OWN, *SHARED)  # of the training, in a candidate's object
PAGES = {
    "transform": "features",
    "train": "training",
    "analyze": "evaluation",
    "convert": "conversion",
    "verify": "verification",
}


@dataclass(frozen=True)
class CandidateTask:
    """What one candidate is.

    Attributes:
        name: as its author calls it.
        place: in the run's list, from 0.
        module: the user's module.
        training: what `train` takes, the names in `TAKEN`.
        rows: of the training split that it learns from; None: all.
        own_features: whether it makes its features itself, with its own module or of its own rows.
    """

    name: str
    place: int
    module: str
    training: Mapping[str, Any]
    rows: TrainingRows | None
    own_features: bool


@dataclass(frozen=True)
class AskedOfAll:
    """What all candidates of a run must meet; fields are called as those of the components."""

    label: str
    beam_options: Sequence[str] = ()
    analyzer_cache: str = ""
    weight_column: str = ""
    eval_config: Mapping[str, Any] = field(default_factory=dict)
    baseline_model_uri: str = ""
    decision_goal: str = ""
    requirements: Mapping[str, Any] = field(default_factory=dict)
    quantisation: str = "float"
    representative_rows: int = 500
    never_missing: Sequence[str] = ()


@dataclass(frozen=True)
class SharedInputs:
    """Where the artifacts are that all candidates share."""

    examples_path: str
    schema_path: str
    transform_graph_path: str
    transformed_examples_path: str


def train_candidate(
    candidate: CandidateTask,
    given: SharedInputs,
    asked: AskedOfAll,
    limits: Limits,
    candidate_path: str,
    candidate_report_path: str,
    candidate_uri: str = "",
) -> dict[str, Any]:
    """Take a candidate as far as it comes, and write a `candidate/v1` folder of it.

    The folder has the artifacts of the components, by name: `model`, `evaluation`, and where the
    evaluation blesses the model `edge_model` and `verification`.

    Args:
        candidate_path: the folder to write.
        candidate_report_path: the HTML page to write, with the pages of all steps.
        candidate_uri: that of the candidate in a store, beside which Beam's workers share what they
            need unless `beam_options` has a `--temp_location`.

    Returns:
        the metadata: `name`, `state` (approved, not approved or failed), `reasons`, `metrics` of
        all evaluation rows, and `size` in bytes and `p99_ms` of the edge model, None where there is
        none.

    Raises:
        EdgelineError: the examples that all share are damaged.
    """
    artifacts.read(given.examples_path, examples.SCHEMA)  # a damaged one is not a candidate's fault
    _import_once()
    parent = Path(candidate_path).parent
    parent.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="candidate-", dir=parent) as scratch,
        artifacts.writing(candidate_path, SCHEMA) as draft,
    ):
        way = _Way(candidate, given, asked, limits, draft.path, Path(scratch), candidate_uri)
        try:
            reasons = way.go()
            state = NOT_APPROVED if reasons else APPROVED
        except steps.StepFailedError as failure:
            state, reasons = FAILED, [str(failure)]
            print(f"Candidate {candidate.name} failed. {failure}", flush=True)
        for partial in draft.path.glob("*.partial"):  # what a step that was killed left
            shutil.rmtree(partial)
        draft.metadata |= {
            "name": candidate.name,
            "place": candidate.place,
            "state": state,
            "reasons": reasons,
            "module": remote.public(candidate.module),
            "training": {k: x for k, x in candidate.training.items() if k != "checkpoint_dir"},
            "training_rows": candidate.rows.to_json() if candidate.rows else {},
            "notes": way.notes,
            "metrics": way.metrics,
            "size": way.size,
            "p99_ms": way.p99_ms,
        }
        report.write(candidate_report_path, draft.metadata, way.pages())
    return {"edgeline_schema": SCHEMA, **draft.metadata}


class _Way:
    """The steps of one candidate; what it has found so far is in its attributes."""

    def __init__(
        self,
        candidate: CandidateTask,
        given: SharedInputs,
        asked: AskedOfAll,
        limits: Limits,
        folder: Path,
        scratch: Path,
        uri: str,
    ) -> None:
        self.uri = uri
        self.candidate, self.given, self.asked, self.limits = candidate, given, asked, limits
        self.folder, self.scratch = folder, scratch
        self.notes: list[str] = []
        self.metrics: dict[str, float] = {}
        self.size: int | None = None
        self.p99_ms: float | None = None

    def go(self) -> list[str]:
        """All steps; the reasons why the model is not approved, none where it is.

        Raises:
            steps.StepFailedError: a step failed.
        """
        graph, transformed = self._features()
        self._step("train", _train, transformed, graph, self.candidate, self.asked.label,
                   str(self.folder / MODEL), self._page("train"))  # fmt: skip
        evaluated: Analysis = self._step(
            "analyze", _analyze, self.given.examples_path, str(self.folder / MODEL),
            str(self.folder / EVALUATION), self._page("analyze"), self.asked, self.uri,
        )  # fmt: skip
        self.metrics = {k: float(x) for k, x in evaluated.overall.items() if math.isfinite(x)}
        if not evaluated.blessed:
            return self._reasons(EVALUATION)
        converted: Converted = self._step(
            "convert", _convert, self.given.examples_path, str(self.folder / MODEL),
            str(self.folder / EDGE_MODEL), self._page("convert"), self.asked,
            evaluated.decision_threshold,
        )  # fmt: skip
        self.size = int(converted.metadata["size"])
        verified: Result = self._step(
            "verify", _verify, self.given.examples_path, self.folder, self._page("verify"),
            self.asked, self.limits,
        )  # fmt: skip
        self.p99_ms = verified.metrics.get("latency_p99_ms")
        return [] if verified.approved else self._reasons(VERIFICATION)

    def pages(self) -> dict[str, str]:
        """The steps' own pages by name, as far as they were written."""
        found = {name: Path(self._page(name)) for name in PAGES}
        return {name: page.read_text("utf-8") for name, page in found.items() if page.is_file()}

    def _features(self) -> tuple[str, str]:
        """The transform graph and the transformed examples: those of the run, or its own."""
        if not self.candidate.own_features:
            return self.given.transform_graph_path, self.given.transformed_examples_path
        source = self.given.examples_path
        if self.candidate.rows:
            source = str(self.scratch / "examples")
            kept, before = self._step(
                "rows", take, Path(self.given.examples_path), self.candidate.rows, "train",
                Path(source),
            )  # fmt: skip
            self.notes.append(f"It learns from {kept:,} of {before:,} rows of the split train.")
        graph, made = str(self.scratch / "graph"), str(self.scratch / "transformed")
        self._step("transform", _transform, source, self.given.schema_path, self.candidate.module,
                   graph, made, self._page("transform"), self.asked, self.uri)  # fmt: skip
        return graph, made

    def _step(self, name: str, work: Callable[..., Any], *arguments: Any) -> Any:
        started = time.monotonic()
        try:
            return steps.run(name, work, *arguments)
        finally:
            took = time.monotonic() - started
            print(f"{self.candidate.name}: {name} took {took:.1f} s", flush=True)

    def _page(self, step: str) -> str:
        return str(self.scratch / f"{PAGES[step]}.html")

    def _reasons(self, part: str) -> list[str]:
        """Why one of the artifacts speaks against the model."""
        for name in verdicts.VERDICTS:
            file = self.folder / part / name
            if file.is_file() and (
                found := verdicts.reasons_against(name, file.read_text("utf-8"))
            ):
                return list(found)
        return [f"{part} speaks against it: see its page."]


def of_texts(
    name: str, place: str, module: str, own_module: str, training: str, rows: str
) -> CandidateTask:
    """A candidate as a loop hands it on; see `edgeline.components.settings.candidates.items`.

    Args:
        place: a whole number.
        module: that of the run, whose features are made already.
        own_module: its own; "" for that of the run.
        training, rows: objects in JSON.

    Raises:
        EdgelineError: one is not JSON, or lacks a field.
    """
    try:
        values, window = json.loads(training), json.loads(rows or "{}")
        lacking = sorted({*TAKEN} - {*values})
    except (ValueError, TypeError) as error:
        raise EdgelineError(
            f"The candidate {name} has no JSON object in training or rows ({error}): give what the "
            "component settings hands on."
        ) from None
    if lacking:
        raise EdgelineError(
            f"The candidate {name} has no {lacking[0]} in training: give {', '.join(TAKEN)}."
        )
    taken = TrainingRows.parsed(window, "rows") if window else None
    own = taken is not None or own_module not in ("", module)
    if not place.isdecimal():
        raise EdgelineError(f"The place of the candidate {name} is {place!r}: give 0, 1 and so on.")
    return CandidateTask(name, int(place), own_module or module, values, taken, own)


def _import_once() -> None:
    """What most steps import, before they are forked; nothing of it runs here."""
    import keras  # noqa: F401
    import tensorflow as tf  # noqa: F401


def _transform(
    source: str,
    schema: str,
    module: str,
    graph: str,
    made: str,
    page: str,
    asked: AskedOfAll,
    uri: str,
) -> None:
    transform(
        examples_path=source,
        schema_path=schema,
        module=module,
        transform_graph_path=graph,
        transformed_examples_path=made,
        features_report_path=page,
        beam_options=asked.beam_options,
        analyzer_cache=asked.analyzer_cache,
        label=asked.label,
        weight_column=asked.weight_column,
        transformed_examples_uri=uri,
    )


def _train(
    transformed: str, graph: str, candidate: CandidateTask, label: str, model: str, page: str
) -> None:
    given = candidate.training
    how = ("steps", "batch_size", "seed", "steps_per_epoch", "patience")
    named = (*how, "class_weights", "gradient_norms")
    train(
        transformed_examples_path=transformed,
        transform_graph_path=graph,
        module=candidate.module,
        task=given["task"],
        how=Fitting(label=label, **{name: given[name] for name in named}),
        model_path=model,
        training_report_path=page,
        hyperparameters=given["hyperparameters"],
        label_vocabulary=given["label_vocabulary"],
        checkpoint_dir=given["checkpoint_dir"],
        require_raw=given["require_raw"],
    )


def _analyze(
    source: str, model: str, evaluation: str, page: str, asked: AskedOfAll, uri: str
) -> Analysis:
    return analyze(
        examples_path=source,
        model_path=model,
        evaluation_path=evaluation,
        evaluation_report_path=page,
        eval_config=asked.eval_config,
        baseline_model_uri=asked.baseline_model_uri,
        decision_goal=asked.decision_goal,
        requirements=asked.requirements,
        beam_options=asked.beam_options,
        evaluation_uri=uri,
    )


def _convert(
    source: str, model: str, edge_model: str, page: str, asked: AskedOfAll, threshold: float
) -> Converted:
    return convert(
        model_path=model,
        examples_path=source,
        edge_model_path=edge_model,
        conversion_report_path=page,
        quantisation=asked.quantisation,
        representative_rows=asked.representative_rows,
        decision_threshold=threshold,
        requirements=asked.requirements,
    )


def _verify(source: str, folder: Path, page: str, asked: AskedOfAll, limits: Limits) -> Result:
    return verify(
        model_path=folder / MODEL,
        edge_model_path=folder / EDGE_MODEL,
        examples_path=source,
        verification_path=folder / VERIFICATION,
        verification_report_path=page,
        limits=limits,
        never_missing=asked.never_missing,
        requirements=asked.requirements,
    )
