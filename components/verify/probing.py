"""Probes put to both models, and what the answers mean.

The edge model answers in one child process, `python -m edgeline.components.verify.probing MODEL
RUNTIME FOLDER STEP`, since what no row of the split holds may crash an interpreter; the original
answers here. Answers are compared as those of rows are (see `edgeline.artifacts.differences`):
equal NaNs are equal, and so are two refusals.

What counts against a model:

| quantisation | difference above                                         | a changed decision |
|--------------|----------------------------------------------------------|--------------------|
| float        | `max_difference`, on each probe                          | if rows may have 0 |
| any other    | `max_difference`; where there is none, twice the largest | no: the metrics    |
|              | of any row of the split or the quantisation's            | judge              |
|              | `device_difference`                                      |                    |

A network of integers saturates beyond the range that it was calibrated with, which few rows of
many reach, while a missing value or a category has a place within. So for it the split's smallest
and largest number and what lies beyond them count unless a reason can be named: that such a value
takes a transformed feature out of its usual range (see `saturation`). The reason is shown, and in
`verification.json`.

NaN on one side only is an infinite difference. An edge model that answers what the original
refuses, one that refuses what the original answers, and one that crashes are at fault in any case.
What an edge model's input cannot hold (NaN in uint8) no device can be asked: that is counted, and
is no fault.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgeline.artifacts import write_text
from edgeline.artifacts.differences import difference
from edgeline.artifacts.models import LABEL, PREDICTION
from edgeline.components.verify.latency import last_line, signal_name
from edgeline.components.verify.probes import Probe, ProbeRows
from edgeline.errors import EdgelineError, first_line
from edgeline.formats.dtypes import Array
from edgeline.formats.quantisation import Quantisation
from edgeline.runtimes import limits
from edgeline.runtimes.metrics import decisions

CHILD = [sys.executable, "-m", "edgeline.components.verify.probing"]
LIMIT_SECONDS = 900  # of a core, for all of it
CRASHES = "crashes the interpreter"
SAME, DIFFERS, REFUSED, UNASKED = "same", "differs", "refused by both", "cannot be given"

Arrays = Mapping[str, Array]


@dataclass(frozen=True)
class Tolerance:
    """What probes may differ in (see above)."""

    difference: float
    decisions: bool
    beyond: bool

    @classmethod
    def of(
        cls,
        max_difference: float,
        max_changed_decisions: float,
        quantisation: Quantisation,
        on_rows: float,
    ) -> Tolerance:
        """For a quantisation, its limits on rows, and the largest difference of one of these."""
        if quantisation.exact:
            return cls(max_difference, max_changed_decisions == 0, True)
        usual = max(2 * on_rows, quantisation.device_difference)
        return cls(usual if np.isinf(max_difference) else max_difference, False, False)


@dataclass(frozen=True)
class Asked:
    """What came of a probe, on the row of the split on which the two differ most.

    Attributes:
        row: of the split, in which the probe's features were replaced.
        cloud, edge: the answers, [values]; a sentence where there is none.
        difference: the largest of a value; infinite where one has no answer.
        changed: whether the two decide differently.
        outcome: SAME (within the tolerance), DIFFERS, REFUSED or UNASKED.
        fault: whether it counts against the edge model.
        because: why a difference does not count, in words.
    """

    probe: Probe
    row: int
    cloud: tuple[float, ...] | str
    edge: tuple[float, ...] | str
    difference: float
    changed: bool
    outcome: str
    fault: bool
    because: str = ""


@dataclass(frozen=True)
class Probing:
    """All that was asked.

    Attributes:
        asked: by probe.
        rows: how many rows there were of them.
        left_out: what was not asked, a phrase each.
        unproven: features of which no missing value was asked.
        tolerance: what was allowed.
    """

    asked: tuple[Asked, ...]
    rows: int
    left_out: tuple[str, ...]
    unproven: tuple[str, ...]
    tolerance: Tolerance

    @property
    def faults(self) -> list[Asked]:
        return [each for each in self.asked if each.fault]

    def count(self, outcome: str) -> int:
        return sum(each.outcome == outcome for each in self.asked)

    def and_more(self, other: Probing) -> Probing:
        """These and others, of the same model."""
        return replace(
            self,
            asked=self.asked + other.asked,
            rows=self.rows + other.rows,
            left_out=self.left_out + other.left_out,
        )

    def summary(self) -> dict[str, Any]:
        """What a manifest says of them."""
        finite = [each.difference for each in self.asked if np.isfinite(each.difference)]
        return {
            "asked": len(self.asked),
            "rows": self.rows,
            "at_fault": len(self.faults),
            "beyond_and_different": self.count(DIFFERS) - len(self.faults),
            "changed_decisions": sum(each.changed for each in self.asked),
            "refused_by_both": self.count(REFUSED),
            "cannot_be_given": self.count(UNASKED),
            "max_difference": max(finite, default=0.0),
            "tolerance": self.tolerance.difference,
            "left_out": list(self.left_out),
            "not_proven_missing": list(self.unproven),
        }

    def details(self) -> list[dict[str, Any]]:
        """Each probe with both answers, as JSON."""
        return [
            {
                "probe": each.probe.words,
                "row": each.row,
                "cloud": said(each.cloud),
                "edge": said(each.edge),
                "difference": each.difference if np.isfinite(each.difference) else None,
                "outcome": each.outcome,
                "fault": each.fault,
                **({"because": each.because} if each.because else {}),
            }
            for each in self.asked
        ]


@dataclass(frozen=True)
class Answers:
    """What a model says of some rows: outputs [answered, ...] by name, and sentences by row."""

    answered: tuple[int, ...]
    outputs: Arrays
    refused: Mapping[int, str]

    def by_row(self, start: int = 0) -> dict[int, Any]:
        """Outputs [1, ...] by name, or a sentence, by row from `start` on."""
        found: dict[int, Any] = {start + row: why for row, why in self.refused.items()}
        for place, row in enumerate(self.answered):
            found[start + row] = {n: a[place : place + 1] for n, a in self.outputs.items()}
        return found


@dataclass(frozen=True)
class Sides:
    """Two models that are asked the same.

    Attributes:
        evaluate: the original: rows to real outputs, `label` among them or not.
        stored: rows as the edge model stores them.
        real: the real values of the edge model's outputs.
        model, runtime: the edge model, as in `runtimes.load`.
    """

    evaluate: Callable[[Arrays], Arrays]
    stored: Callable[[Arrays], Arrays]
    real: Callable[[Arrays], Arrays]
    model: Path
    runtime: str


@dataclass(frozen=True)
class Judge:
    """What two answers mean, for a task and its decision threshold (see `metrics.decisions`)."""

    task: str
    threshold: float
    tolerance: Tolerance

    def alike(self, cloud: Arrays, edge: Arrays) -> list[int]:
        """The rows of outputs [rows, ...] that do not differ; `cloud` may have a label."""
        names = [name for name in cloud if name != LABEL]
        gaps = [difference(edge[n], cloud[n]).reshape(len(cloud[n]), -1).max(axis=1) for n in names]
        largest = np.max(gaps, axis=0)
        fit = np.isfinite(largest) & (largest <= self.tolerance.difference)
        return [int(row) for row in np.flatnonzero(fit)]

    def asked(self, probe: Probe, row: int, cloud: Any, edge: Any) -> Asked:
        """What came of a probe on one row.

        Args:
            cloud, edge: outputs [1, ...] by name, or a sentence; of the edge model None where the
                row cannot be given to it.
        """
        if edge is None or isinstance(cloud, str) or isinstance(edge, str):
            outcome, fault = DIFFERS, True
            if edge is None:
                outcome, fault, edge = UNASKED, False, UNASKED
            elif isinstance(cloud, str) and isinstance(edge, str):
                outcome, fault = REFUSED, edge.startswith(CRASHES)
            return Asked(probe, row, _values(cloud), _values(edge), math.inf, False, outcome, fault)
        largest = max(
            float(difference(edge[name], cloud[name]).max(initial=0.0))
            for name in cloud
            if name != LABEL
        )
        sides = [side[PREDICTION].reshape(1, -1) for side in (cloud, edge)]
        before, after = (decisions(self.task, side, self.threshold) for side in sides)
        changed = before is not None and after is not None and bool(before[0] != after[0])
        over = largest > self.tolerance.difference or math.isinf(largest)
        over = over or (changed and self.tolerance.decisions)
        fault = over and (self.tolerance.beyond or not probe.beyond)
        outcome = DIFFERS if over else SAME
        return Asked(probe, row, _values(cloud), _values(edge), largest, changed, outcome, fault)


def ask(
    made: ProbeRows,
    sides: Sides,
    judge: Judge,
    unproven: Sequence[str] = (),
    because: Callable[[int], str] = lambda _: "",
) -> Probing:
    """Put probes to both models; of a probe of several rows the worst answer stays.

    Args:
        unproven: features of which no missing value is among the probes.
        because: why a row may differ that is beyond the split, for a network of integers; "" where
            it may not.

    Raises:
        EdgelineError: the edge model cannot be loaded.
    """
    cloud, edge = _put(made, sides)
    found: dict[str, Asked] = {}
    for row, probe in enumerate(made.probes):
        asked = judge.asked(probe, made.rows[row], cloud[row], edge[row])
        if asked.outcome == DIFFERS and not asked.fault:
            why = because(row)
            asked = replace(asked, fault=not why, because=why)
        before = found.get(probe.words)
        if before is None or _badness(asked) > _badness(before):
            found[probe.words] = asked
    return Probing(
        tuple(found.values()), len(made.probes), made.left_out, tuple(unproven), judge.tolerance
    )


def _put(made: ProbeRows, sides: Sides) -> tuple[dict[int, Any], dict[int, Any]]:
    """What each side answers, by row (see `Judge.asked`)."""
    from edgeline.components.verify.runtimes import pack

    cloud: dict[int, Any] = {}
    edge: dict[int, Any] = {}
    given: list[int] = []
    with tempfile.TemporaryDirectory() as folder:
        for part, arrays in made.pieces():
            cloud |= answers(sides.evaluate, arrays).by_row(part.start)
            held = answers(sides.stored, arrays)
            edge |= dict.fromkeys((part.start + row for row in held.refused), None)
            if held.answered:
                place = len(given)
                given += [part.start + row for row in held.answered]
                (Path(folder) / f"{place:08}.npz").write_bytes(pack(held.outputs))
        for place, answer in _ask_edge(sides, Path(folder), len(given)).items():
            edge[given[place]] = sides.real(answer) if isinstance(answer, dict) else answer
    return cloud, edge


def answers(call: Callable[[Arrays], Arrays], arrays: Arrays) -> Answers:
    """Ask for all rows at once, and where that is refused for ever smaller parts of them."""
    refused: dict[int, str] = {}
    parts: list[tuple[list[int], Arrays]] = []
    count = len(next(iter(arrays.values())))

    def ask(rows: list[int]) -> None:
        try:
            chosen = arrays if len(rows) == count else {n: a[rows] for n, a in arrays.items()}
            parts.append((rows, call(chosen)))
        except Exception as error:  # what a user's graph raises is of any kind
            if len(rows) == 1:
                refused[rows[0]] = first_line(error)
                return
            ask(rows[: len(rows) // 2])
            ask(rows[len(rows) // 2 :])

    ask(list(range(count)))
    outputs = {
        name: np.concatenate([outputs[name] for _, outputs in parts])
        for name in (parts[0][1] if parts else ())
    }
    return Answers(tuple(row for rows, _ in parts for row in rows), outputs, refused)


def said(answer: tuple[float, ...] | str, most: int = 8) -> str:
    """An answer for people."""
    if isinstance(answer, str):
        return answer
    values = ", ".join(f"{value:.6g}" for value in answer[:most])
    return values + (" …" if len(answer) > most else "")


def _badness(asked: Asked) -> tuple[bool, bool, float]:
    return asked.fault, asked.outcome == DIFFERS, asked.difference


def _values(answer: Any) -> tuple[float, ...] | str:
    if isinstance(answer, str):
        return answer
    return tuple(answer[PREDICTION].reshape(-1).astype(np.float64).tolist())


def _ask_edge(sides: Sides, folder: Path, count: int) -> dict[int, Any]:
    """What the child answers to the rows that lie in a folder, by place; None for what is behind a
    crash."""
    if not count:
        return {}
    found, how = _child(sides, folder, 0)
    if how:  # on a row of many: which one?
        found, how = _child(sides, folder, 1)
    unanswered = [place for place in range(count) if place not in found]
    found |= dict.fromkeys(unanswered, None)
    if how and unanswered:
        found[unanswered[0]] = f"{CRASHES} ({how})"
    return found


def _child(sides: Sides, folder: Path, step: int) -> tuple[dict[int, Any], str]:
    """Answers by place, and how the child ended where it broke off."""
    from edgeline.components.verify.interpreter_process import unpack

    command = [*CHILD, str(sides.model), sides.runtime, str(folder), str(step)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode > 0:
        raise EdgelineError(last_line(done.stderr))
    how = signal_name(done.returncode) if done.returncode else ""
    if limit := limits.exceeded(done.returncode, LIMIT_SECONDS):
        how = f"no answer in {limit}"
    found: dict[int, Any] = {}
    for file in sorted(folder.glob("*.json")):
        told = json.loads(file.read_text())
        outputs = unpack(file.with_suffix(".answers").read_bytes())
        refused = {int(row): said for row, said in told["refused"].items()}
        found |= Answers(tuple(told["answered"]), outputs, refused).by_row(int(file.stem))
    return found, how


def main(model: str, runtime: str, folder: str, step: str) -> None:
    """What the child does: answer each file of rows, `step` rows at a time (0: all)."""
    from edgeline.components.verify.interpreter_process import unpack
    from edgeline.components.verify.runtimes import load, pack

    limits.begin(LIMIT_SECONDS)
    limits.memory(limits.room(Path(model)) + limits.ARROW)
    edge_model = load(model, runtime)
    for file in sorted(Path(folder).glob("*.npz")):
        arrays = unpack(file.read_bytes())
        rows, start = len(next(iter(arrays.values()))), int(file.stem)
        for first in range(0, rows, int(step) or rows):
            part = slice(first, first + (int(step) or rows))
            found = answers(edge_model, {name: array[part] for name, array in arrays.items()})
            place = Path(folder) / f"{start + first:08}.json"
            place.with_suffix(".answers").write_bytes(pack(found.outputs))
            told = {"answered": found.answered, "refused": found.refused}
            write_text(place, json.dumps(told))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except EdgelineError as fault:
        sys.exit(str(fault))
