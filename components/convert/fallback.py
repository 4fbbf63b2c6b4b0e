"""The smallest quantisation that keeps a model's metric: most at first, then less and less.

A family is the recipes of equal bits, which differ in their algorithm. Each is tried with every
layer quantised; where none holds the limit, the layers that add most error to the best of them
keep a higher precision, 1, then 2, 4, 8, ... of them, until it does.
What would be larger than the smallest that holds is not judged. Deterministic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Protocol

from edgeline.formats.quantisation import TABLE, Quantisation, smallest_first

MetricValues = Mapping[str, float | None]

FAMILIES = tuple(
    tuple(rows)
    for _, rows in groupby(
        smallest_first(tuple(row for row in TABLE if row.spare is not None)),
        key=lambda row: (row.weights, row.activations),
    )
)
FLOATING = smallest_first(tuple(row for row in TABLE if row.floating))


@dataclass(frozen=True)
class Candidate:
    """A model that was tried.

    Attributes:
        quantisation: its name.
        kept: names of the layers in higher precision.
        size: bytes of the edge model.
        metrics: on the labelled split; empty where a smaller model held already.
        drop: how much worse than the cloud's, the largest of all metrics (see
            `edgeline.runtimes.metrics.drop`); None where it was not judged.
        holds: whether it is within the limit.
    """

    quantisation: str
    kept: tuple[str, ...]
    size: int
    metrics: MetricValues
    drop: float | None
    holds: bool


class Maker(Protocol):
    """Makes the models that are tried."""

    def fits(self, row: Quantisation) -> bool:
        """Whether a recipe can be applied to this network."""

    def layers(self, recipe: str) -> Sequence[str]:
        """Names of the layers that a recipe quantises, what hurts most first."""

    def model(self, row: Quantisation, kept: Sequence[str], spare: str) -> bytes:
        """A whole edge model, some layers by the recipe `spare`, floating where that is ""."""


def search(
    maker: Maker,
    judge: Callable[[bytes], tuple[MetricValues, float]],
    max_drop: float,
    tell: Callable[[str], None],
) -> tuple[bytes, Candidate, str, list[Candidate]]:
    """The smallest model that holds, its entry, the recipe of its kept layers, all candidates.

    Where none holds it is the float model, whose entry then says so.

    Args:
        judge: gives the metrics of a model and their drop.
        max_drop: the limit.
        tell: is told what comes next.
    """
    candidates: list[Candidate] = []
    best: tuple[bytes, Candidate, str] | None = None

    def attempt(row: Quantisation, kept: Sequence[str], spare: str) -> Candidate:
        nonlocal best
        tell(f"trying {row.name} with {len(kept)} layers in higher precision")
        model = maker.model(row, kept, spare)
        metrics: MetricValues = {}
        drop = None
        if best is None or len(model) < best[1].size:
            metrics, drop = judge(model)
        holds = drop is not None and drop <= max_drop
        candidate = Candidate(row.name, tuple(kept), len(model), metrics, drop, holds)
        candidates.append(candidate)
        if holds or (row == FLOATING[-1] and best is None):
            best = model, candidate, spare
        return candidate

    for family in FAMILIES:
        tried = [(attempt(r, (), r.spare or ""), r) for r in family if maker.fits(r)]
        judged = [(entry.drop, row) for entry, row in tried if entry.drop is not None]
        if not judged or any(entry.holds for entry, _ in tried):
            continue
        row = min(judged, key=lambda pair: pair[0])[1]
        spare, layers = row.spare or "", maker.layers(row.recipe)
        for count in _counts(len(layers)):
            if (candidate := attempt(row, layers[:count], spare)).holds or candidate.drop is None:
                break
    if best is None:
        for row in FLOATING:
            if attempt(row, (), "").holds:
                break
    assert best is not None  # the float model at the latest
    return *best, candidates


def to_json(candidates: Sequence[Candidate]) -> list[dict[str, Any]]:
    """Candidates as JSON, one object each."""
    return [
        {**vars(candidate), "kept": list(candidate.kept), "metrics": dict(candidate.metrics)}
        for candidate in candidates
    ]


def _counts(most: int) -> list[int]:
    """1, 2, 4, ... below `most`: with all of them the network would be the float one."""
    counts, count = [], 1
    while count < most:
        counts.append(count)
        count *= 2
    return counts
