"""A trial: train, convert, compile and verify as the pipeline's own tasks do, and take the numbers.

Each step is a process of its own (see `edgeline.components.train_candidate.steps`): what it crashes
on, or the memory that it takes, is the end of this trial and of no other.
"""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeline.artifacts import outcomes
from edgeline.artifacts import requirements as asked_for
from edgeline.artifacts.outcomes import RequirementOutcome
from edgeline.components.compile.compile import CompiledModel, compile_edge_model
from edgeline.components.convert.convert import Converted, convert
from edgeline.components.train.fitting import Fitting
from edgeline.components.train.saving import FittingState
from edgeline.components.train.train import train
from edgeline.components.train_candidate import steps
from edgeline.components.tune.objectives import CLOUD, SIZE
from edgeline.components.tune.outcome import TrialFailedError, TrialMeasurement, TrialPrunedError
from edgeline.components.verify.findings import Limits
from edgeline.components.verify.verify import Result, verify

EDGE = "edge_"  # how verify calls the metrics of an edge model
MODEL, EDGE_MODEL, VERIFICATION, PAGE = "model", "edge_model", "verification", "page.html"


@dataclass(frozen=True)
class TrialInputs:
    """Where the artifacts are that all trials share."""

    examples_path: str
    transform_graph_path: str
    transformed_examples_path: str


@dataclass(frozen=True)
class TrialSettings:
    """What all trials have in common; fields are called as those of the components.

    Attributes:
        hyperparameters: those that the search does not choose.
        targets: that the edge model is compiled for.
        run_targets: those of them whose compiled model is verified, too.
        memory_mb: that a step may hold; 0: any.
    """

    module: str
    task: str
    fitting: Fitting
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    label_vocabulary: str = ""
    require_raw: bool = False
    quantisation: str = "float"
    representative_rows: int = 500
    limits: Limits = field(default_factory=Limits)
    never_missing: Sequence[str] = ()
    requirements: Mapping[str, Any] = field(default_factory=dict)
    targets: Sequence[str] = ()
    run_targets: Sequence[str] = ()
    memory_mb: int = 0


@dataclass(frozen=True)
class _Trained:
    """What a training gave; `ended` says why it was ended early."""

    parameters: int = 0
    ended: str = ""


def measure(
    number: int,
    hyperparameters: Mapping[str, Any],
    watch: Callable[[int, float], None] | None,
    given: TrialInputs,
    settings: TrialSettings,
) -> TrialMeasurement:
    """MeasureTrial the models that some hyperparameters make.

    Args:
        hyperparameters: that the search has chosen; they count before those of the settings.
        watch: told each epoch, from 1, and its validation loss; may raise TrialPrunedError.

    Raises:
        TrialFailedError: a step refused, failed or was killed.
        TrialPrunedError: `watch` has ended the training.
    """
    import_once()
    whole = {**settings.hyperparameters, **hyperparameters}
    with tempfile.TemporaryDirectory(prefix=f"trial-{number}-") as scratch:
        folder = Path(scratch)

        def step(name: str, work: Callable[..., Any], *arguments: Any) -> Any:
            started, memory = time.monotonic(), settings.memory_mb * 10**6
            try:
                return steps.run(name, work, folder, given, settings, *arguments, memory=memory)
            except steps.StepFailedError as error:
                # without its folder, so that equal reasons are equal
                raise TrialFailedError(str(error).replace(f"{folder}/", "")) from None
            finally:
                took = time.monotonic() - started
                print(f"trial {number}: {name} took {took:.1f} s", flush=True)

        trained: _Trained = step("train", _train, whole, watch)
        if trained.ended:
            raise TrialPrunedError(trained.ended)
        history = json.loads((folder / MODEL / "history.json").read_text())
        curve = {
            name: [math.nan if value is None else value for value in values]
            for name, values in history.items()
        }
        converted: Converted = step("convert", _convert)
        compiled: dict[str, CompiledModel] = {
            target: step(f"compile for {target}", _compile, target) for target in settings.targets
        }
        verified: dict[str, Result] = {"": step("verify", _verify, "")}
        for target in settings.run_targets:
            verified[target] = step(f"verify for {target}", _verify, target)
    found: dict[str, float] = {
        "parameters": trained.parameters,
        SIZE: converted.metadata["size"],
    }
    for target, told in compiled.items():
        found |= {f"{target}.{name}": value for name, value in told.metrics.items()}
    for target, result in verified.items():
        prefix = f"{target}." if target else ""
        found |= {
            f"{prefix}{name.removeprefix(EDGE)}": value
            for name, value in result.metrics.items()
            if not (target and name.startswith(CLOUD))
        }
    finite = {k: float(x) for k, x in found.items() if math.isfinite(x)}
    unmet, violation = _unmet(settings, verified, compiled)
    return TrialMeasurement(finite, unmet, violation, curve)


def judged_later(requirements: Mapping[str, Any]) -> list[str]:
    """Metrics of the trained model that no trial computes: analyze judges them, of the chosen one.

    Trials know verify's metrics of all rows.
    """
    wanted = asked_for.parse(requirements).metrics
    return [f"{each.metric} of {each.rows}" for each in wanted if each.columns]


def _unmet(
    settings: TrialSettings,
    verified: Mapping[str, Result],
    compiled: Mapping[str, CompiledModel],
) -> tuple[tuple[str, ...], float]:
    """Why the edge model could not be published, and how far it is from that."""
    wanted = asked_for.parse(settings.requirements)
    of_cloud = {
        name.removeprefix(CLOUD): {"value": value}
        for name, value in verified[""].metrics.items()
        if name.startswith(CLOUD)
    }
    known = [each for each in wanted.metrics if not each.columns and each.metric in of_cloud]
    rows = [{"slice": {}, "name": "all rows", "metrics": of_cloud}]
    failing = [each for each in outcomes.of_metrics(known, rows) if each.fails]
    told: list[Result | CompiledModel] = [*verified.values(), *compiled.values()]
    failing += [each for result in told for each in outcomes.of(result.metadata) if each.fails]
    sentences = [each.sentence for each in failing]
    others = []
    for result in verified.values():
        reasons: Any = result.metadata["reasons"]
        others += [str(each) for each in reasons if each not in sentences]
    distance = sum(map(_distance, failing)) + len(others)
    return tuple(dict.fromkeys((*sentences, *others))), float(distance)


def _distance(outcome: RequirementOutcome) -> float:
    """How far a value is from its bound, as a share of the bound."""
    if outcome.value is None:
        return 1.0
    return max(abs(outcome.value - outcome.limit) / max(abs(outcome.limit), 1e-9), 1e-9)


def import_once() -> None:
    """What most steps import, before they are forked; nothing of it runs here."""
    import keras  # noqa: F401
    import tensorflow as tf  # noqa: F401


def _train(
    folder: Path,
    given: TrialInputs,
    settings: TrialSettings,
    hyperparameters: Mapping[str, Any],
    watch: Callable[[int, float], None] | None,
) -> _Trained:
    def on_epoch(state: FittingState) -> None:
        if watch:
            watch(state.epoch, state.history["val_loss"][-1])

    try:
        facts = train(
            transformed_examples_path=given.transformed_examples_path,
            transform_graph_path=given.transform_graph_path,
            module=settings.module,
            task=settings.task,
            how=settings.fitting,
            model_path=str(folder / MODEL),
            training_report_path=str(folder / PAGE),
            hyperparameters=hyperparameters,
            label_vocabulary=settings.label_vocabulary,
            require_raw=settings.require_raw,
            on_epoch=on_epoch,
        )
    except TrialPrunedError as pruned:
        return _Trained(ended=str(pruned))
    return _Trained(parameters=facts["parameters"])


def _convert(folder: Path, given: TrialInputs, settings: TrialSettings) -> Converted:
    return convert(
        model_path=str(folder / MODEL),
        examples_path=given.examples_path,
        edge_model_path=str(folder / EDGE_MODEL),
        conversion_report_path=str(folder / PAGE),
        quantisation=settings.quantisation,
        representative_rows=settings.representative_rows,
        requirements=settings.requirements,
    )


def _compile(
    folder: Path,
    given: TrialInputs,  # noqa: ARG001
    settings: TrialSettings,
    target: str,
) -> CompiledModel:
    return compile_edge_model(
        target=target,
        compiled_model_path=str(folder / target),
        edge_model_path=str(folder / EDGE_MODEL),
        model_path=str(folder / MODEL),
        name="the edge model",
        required=False,  # a requirement that is not met is a finding
        requirements=settings.requirements,
    )


def _verify(folder: Path, given: TrialInputs, settings: TrialSettings, target: str) -> Result:
    return verify(
        model_path=folder / MODEL,
        edge_model_path=folder / EDGE_MODEL,
        examples_path=given.examples_path,
        verification_path=folder / f"{VERIFICATION}-{target}",
        verification_report_path=folder / PAGE,
        limits=settings.limits,
        compiled_model_path=folder / target if target else "",
        never_missing=settings.never_missing,
        requirements=settings.requirements,
    )
