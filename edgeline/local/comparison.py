"""Runs laid side by side: what differs in what they ran with, and in what they found.

All are compared with the first. A metric is said to have moved beyond its interval where both runs
have one and the two have no value in common; where the runs were evaluated on the same rows that is
a cautious word, since their errors then go together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeline.components.analyze import fairness
from edgeline.errors import EdgelineError, UsageError
from edgeline.formats import typed
from edgeline.local.parameters import differences, flat
from edgeline.local.runs import KeptRun
from edgeline.local.summary import metrics
from edgeline.local.surroundings import TOOLS
from edgeline.local.tasks import RunResult

OF_SLICES = "metrics.json"  # of analyze, in the folder of its evaluation
OF_EPOCHS = "history.json"  # of train, in the folder of its model
ON_DEVICE = ("latency_", "peak_memory")  # how the names of such metrics begin
BYTES = "size_bytes"
COUNTS = ("example_count", "weighted_example_count")

_HISTORY = Mapping[str, tuple[float | None, ...]]  # null is what was not finite


@dataclass(frozen=True)
class Measured:
    """A number that a run found, with the bounds of its confidence interval where it has one."""

    value: float
    lower: float | None = None
    upper: float | None = None

    def beyond(self, other: Measured) -> bool | None:
        """Whether the intervals of two have no value in common; None where one has no interval."""
        if None in (self.lower, self.upper, other.lower, other.upper):
            return None
        assert self.lower is not None and self.upper is not None
        assert other.lower is not None and other.upper is not None
        return self.lower > other.upper or other.lower > self.upper


@dataclass(frozen=True)
class MeasuredRow:
    """A number by run.

    Attributes:
        task: that found it.
        name: of the metric, or what was measured.
        slice: of the rows; "" for all.
        values: None for a run that has not found it.
    """

    task: str
    name: str
    slice: str
    values: tuple[Measured | None, ...]

    @property
    def changes(self) -> tuple[float | None, ...]:
        """By how much each differs from the first run's; None where one of the two is missing."""
        first = self.values[0]
        return tuple(each.value - first.value if each and first else None for each in self.values)

    @property
    def beyond(self) -> bool | None:
        """Whether one has moved beyond its interval; None where that cannot be told."""
        first, *others = self.values
        told = [first.beyond(each) if first and each else None for each in others]
        known = [each for each in told if each is not None]
        return any(known) if known else None

    @property
    def moved(self) -> float:
        """The largest change, as a share of the first run's value; for an order."""
        first = self.values[0]
        scale = abs(first.value) if first and first.value else 1.0
        return max((abs(each) / scale for each in self.changes if each is not None), default=0.0)


@dataclass(frozen=True)
class DifferentValue:
    """What runs were given differently: a parameter, or something that they depend on beside these.

    `values` are by run, None where it was not set.
    """

    name: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class LearningCurves:
    """A number of the training by epoch, of each run; None for one that has none.

    `task` found it, and `name` is Keras': `val_loss` is of the evaluation rows.
    """

    task: str
    name: str
    values: tuple[tuple[float, ...] | None, ...]


@dataclass(frozen=True)
class RunComparison:
    """Some runs, compared with the first of them.

    Attributes:
        runs: their names; `states`, `started` and `seconds` are by run, too.
        parameters: that differ, of objects each leaf; `same` is how many do not.
        surroundings: what else differs: the pipeline, code, packages, the machine.
        metrics: of all rows, those of a task together.
        slices: whose numbers differ, those beyond their intervals first, then by how far.
        curves: of the training, on the evaluation rows.
        device: sizes in bytes, latencies and memory.
        times: of tasks, in seconds.
        same_rows: whether all were evaluated on the same examples; None where it is not told.
        notes: what could not be compared.
    """

    runs: tuple[str, ...]
    states: tuple[str, ...]
    started: tuple[str, ...]
    seconds: tuple[float, ...]
    parameters: tuple[DifferentValue, ...]
    same: int
    surroundings: tuple[DifferentValue, ...]
    metrics: tuple[MeasuredRow, ...]
    slices: tuple[MeasuredRow, ...]
    curves: tuple[LearningCurves, ...]
    device: tuple[MeasuredRow, ...]
    times: tuple[MeasuredRow, ...]
    same_rows: bool | None
    notes: tuple[str, ...]


def compare(runs: Sequence[KeptRun]) -> RunComparison:
    """Compare runs with the first of them.

    Raises:
        UsageError: there are fewer than two, or one is there twice.
        EdgelineError: a record or an evaluation is damaged.
    """
    if len({run.folder for run in runs}) < max(len(runs), 2):
        raise UsageError("Name two or more different runs: `edgeline runs` lists them.")
    results = [run.result for run in runs]
    notes = [f"{run.name}: {run.record['unread']}" for run in runs if run.record.get("unread")]
    found = [_measured(run, result, notes) for run, result in zip(runs, results, strict=True)]
    rows = [
        MeasuredRow(*key, tuple(each.get(key) for each in found))
        for key in dict.fromkeys(key for each in found for key in each)
    ]
    whole = [row for row in rows if not row.slice]
    moved = [row for row in rows if row.slice and (any(row.changes) or None in row.values)]
    moved.sort(key=lambda row: (not row.beyond, _is_fairness(row), None in row.values, -row.moved))
    device = [row for row in whole if _is_of_device(row)]
    differing, same = _parameters(runs)
    return RunComparison(
        runs=tuple(run.name for run in runs),
        states=tuple(result.state for result in results),
        started=tuple(str(run.record["started"]) for run in runs),
        seconds=tuple(float(run.record["seconds"]) for run in runs),
        parameters=differing,
        same=same,
        surroundings=_surroundings(runs),
        metrics=tuple(sorted((row for row in whole if row not in device), key=_is_fairness)),
        slices=tuple(moved),
        curves=_curves(results),
        device=tuple(device),
        times=_times(results),
        same_rows=_same_rows(runs),
        notes=tuple(notes),
    )


def _measured(
    run: KeptRun, result: RunResult, notes: list[str]
) -> dict[tuple[str, str, str], Measured]:
    """The numbers of a run by task, name and slice."""
    found: dict[tuple[str, str, str], Measured] = {}
    for task, each in result.tasks.items():
        for name, value in metrics(each).items():
            found[task, name, ""] = Measured(value)
        for output, artifact in each.artifacts.items():
            if not str(artifact["metadata"].get("edgeline_schema", "")).startswith("evaluation/"):
                continue
            file = Path(str(artifact["uri"])) / OF_SLICES
            if not file.is_file():
                notes.append(
                    f"The {output} of {run.name} is gone: its metrics have no intervals, and it "
                    "has no slices."
                )
                continue
            for (name, rows), told in _of_slices(file).items():
                if not rows or name not in COUNTS:
                    found[task, name, rows] = told
    return found


def _of_slices(file: Path) -> dict[tuple[str, str], Measured]:
    """The plain numbers of an evaluation by metric and slice, "" for all rows."""
    told = typed.read(file)
    try:
        return {
            (name, each["name"] if each["slice"] else ""): Measured(
                float(entry["value"]), entry.get("lower"), entry.get("upper")
            )
            for each in told["slices"]
            for name, entry in each["metrics"].items()
            if isinstance(entry["value"], (int, float))
        }
    except (LookupError, TypeError, AttributeError) as error:
        raise EdgelineError(f"{file} is damaged ({error!r}).") from error


def _curves(results: Sequence[RunResult]) -> tuple[LearningCurves, ...]:
    found = [_learned(result) for result in results]
    return tuple(
        LearningCurves(*key, tuple(each.get(key) for each in found))
        for key in dict.fromkeys(key for each in found for key in each)
    )


def _learned(result: RunResult) -> dict[tuple[str, str], tuple[float, ...]]:
    """The numbers of a run's trainings by epoch, by task and name."""
    found = {}
    for task, each in result.tasks.items():
        for artifact in each.artifacts.values():
            file = Path(str(artifact["uri"])) / OF_EPOCHS
            if not str(artifact["metadata"].get("edgeline_schema", "")).startswith("model/"):
                continue
            if file.is_file():
                for name, values in typed.convert(typed.read(file), _HISTORY, str(file)).items():
                    if name.startswith("val_"):
                        found[task, name] = tuple(math.nan if x is None else x for x in values)
    return found


def _is_of_device(row: MeasuredRow) -> bool:
    return row.name == BYTES or row.name.startswith(ON_DEVICE)


def _is_fairness(row: MeasuredRow) -> bool:
    """Whether a metric is one of the many that TFMA has of each threshold: they come last."""
    return row.name.startswith(fairness.PREFIX)


def _parameters(runs: Sequence[KeptRun]) -> tuple[tuple[DifferentValue, ...], int]:
    values = [flat(run.record["parameters"]) for run in runs]
    names = list(dict.fromkeys(name for each in values for name in each))
    different = _different(names, values)
    by_leaf = [
        DifferentValue(path, own)
        for each in different
        for path, own in differences(each.name, each.values)
    ]
    return tuple(by_leaf), len(names) - len(different)


def _surroundings(runs: Sequence[KeptRun]) -> tuple[DifferentValue, ...]:
    values = [
        {
            "pipeline": run.record["pipeline"],
            "pipeline's content": run.record["pipeline_digest"][:12],
            "edgeline": f"{run.record['edgeline']} ({run.record['code'][:12]})",
            "machine": run.record["host"]["name"],
            "CPUs": run.record["host"]["cpus"],
            "Python": run.record["host"]["python"],
            **{
                f"package {name}": version
                for name, version in run.record["packages"].items()
                if name not in TOOLS
            },
        }
        for run in runs
    ]
    return _different(list(dict.fromkeys(name for each in values for name in each)), values)


def _different(
    names: Sequence[str], values: Sequence[Mapping[str, Any]]
) -> tuple[DifferentValue, ...]:
    found = (DifferentValue(name, tuple(each.get(name) for each in values)) for name in names)
    return tuple(each for each in found if any(one != each.values[0] for one in each.values))


def _times(results: Sequence[RunResult]) -> tuple[MeasuredRow, ...]:
    names = dict.fromkeys(name for result in results for name in result.tasks)
    rows = (
        MeasuredRow(name, "seconds", "", tuple(_seconds(result, name) for result in results))
        for name in names
    )
    return tuple(row for row in rows if any(row.values))


def _seconds(result: RunResult, name: str) -> Measured | None:
    task = result.tasks.get(name)
    return Measured(task.seconds) if task and task.seconds else None


def _same_rows(runs: Sequence[KeptRun]) -> bool | None:
    """Whether the runs have the same examples."""
    digests = [
        {
            digest
            for task in run.record["tasks"].values()
            for name, digest in task["digests"].items()
            if name == "examples"
        }
        for run in runs
    ]
    if not all(digests):
        return None
    return all(each == digests[0] for each in digests)
