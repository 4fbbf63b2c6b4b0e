"""What an edge model may differ in, and what was found out about it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from edgeline.components.verify.latency import Latency
from edgeline.components.verify.malformed import Case
from edgeline.components.verify.parity import Parity
from edgeline.components.verify.probing import Probing
from edgeline.formats.quantisation import Quantisation
from edgeline.runtimes.original import Original

# where no metric judges a quantised model, or it is the original itself in other kernels, the
# original's answers do
UNJUDGED_DECISIONS, UNJUDGED_DIFFERENCE = 0.05, 0.1


@dataclass(frozen=True)
class Limits:
    """What an edge model may differ in; -1 where the quantisation decides, 0 ms or MB for no limit.

    A float model may differ by 1e-5 and change no decision; a quantised one has only the
    limit on its metrics. Where its original knows no label there is no metric, and an imported
    file may be held to itself: then it may change 5% of the decisions, or differ by 0.1 in a
    regression.
    """

    max_difference: float = -1.0
    max_changed_decisions: float = -1.0
    max_metric_drop: float = 0.01
    max_p99_ms: float = 0.0
    max_memory_mb: float = 0.0

    def resolved(self, quantisation: Quantisation, task: str, judged: bool) -> Limits:
        difference, decisions = quantisation.difference, 1.0
        if quantisation.exact:
            decisions = 0.0
        elif not judged and task == "regression":
            difference = UNJUDGED_DIFFERENCE
        elif not judged:
            decisions = UNJUDGED_DECISIONS
        fields = asdict(self)
        if self.max_difference < 0:
            fields["max_difference"] = difference
        if self.max_changed_decisions < 0:
            fields["max_changed_decisions"] = decisions
        return Limits(**fields)


@dataclass(frozen=True)
class Subject:
    """What is verified: a model file or folder, and the runtime or target that runs it."""

    path: Path
    runtime: str
    quantisation: Quantisation


@dataclass(frozen=True)
class Findings:
    """All that was found out, and the verdict: approved where there are no reasons against."""

    split: str
    limits: Limits
    parity: Parity
    probing: Probing
    latency: Latency
    cases: list[Case]
    reasons: list[str]
    subject: Subject
    original: Original
