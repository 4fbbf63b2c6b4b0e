"""What an edge model may differ in, and what was found out about it."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

from edgeline.artifacts import requirements, shares
from edgeline.artifacts.folder import Artifact
from edgeline.artifacts.outcomes import RequirementOutcome
from edgeline.components.verify import malformed, parity
from edgeline.components.verify.latency import Latency
from edgeline.components.verify.malformed import Case
from edgeline.components.verify.parity import Parity
from edgeline.components.verify.probing import Probing
from edgeline.formats.quantisation import Quantisation
from edgeline.formats.told_apart import told_apart
from edgeline.runtimes.original import Original

# where no metric judges a quantised model, or it is the original itself in other kernels, the
# original's answers do
UNJUDGED_DECISIONS, UNJUDGED_DIFFERENCE = 0.05, 0.1


@dataclass(frozen=True)
class Limits:
    """What an edge model may differ in; -1 where the quantisation decides, 0 ms or MB for no limit.

    A float model may differ by 1e-5 and change no decision; a quantised one has only the
    limit on its metrics. Where its original knows no label there is no metric, and an imported
    file may be compared with itself: then it may change 5% of the decisions, or differ by 0.1 in a
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
    """All that was found out, and the verdict: approved where there are no reasons against.

    `inputs` is the number of the edge model's inputs, `met` what came of each requirement.
    """

    split: str
    limits: Limits
    parity: Parity
    probing: Probing
    latency: Latency
    cases: list[Case]
    reasons: list[str]
    subject: Subject
    original: Original
    inputs: int
    met: tuple[RequirementOutcome, ...] = ()


def reasons_of(
    found: Parity, latency: Latency, cases: list[Case], limits: Limits, place: str
) -> list[str]:
    """Why a model is not approved for its rows and its speed, one sentence each."""
    reasons = []
    if found.not_finite:
        reasons.append(
            f"{found.not_finite:,} of {found.rows:,} rows have NaN or infinity on one side only."
        )
    if found.max_difference > limits.max_difference:
        difference, limit = told_apart(found.max_difference, limits.max_difference, ".3g")
        reasons.append(f"The largest difference is {difference}, above the limit of {limit}.")
    share = found.changed_decisions / found.rows
    if share > limits.max_changed_decisions:
        changed, limit = told_apart(share, limits.max_changed_decisions, ".2%")
        reasons.append(
            f"{found.changed_decisions:,} of {found.rows:,} decisions change ({changed}), "
            f"above the limit of {limit}."
        )
    for name, values in found.metrics.items():
        if values["drop"] is not None and values["drop"] > limits.max_metric_drop:
            drop, limit = told_apart(values["drop"], limits.max_metric_drop)
            reasons.append(
                f"{name} goes from {values['cloud']:.4f} {place} to {values['edge']:.4f} on "
                f"the edge, {drop} worse, above the limit of {limit}."
            )
    if 0 < limits.max_p99_ms < latency.p99_ms:
        measured, limit = told_apart(latency.p99_ms, limits.max_p99_ms, ".3g")
        reasons.append(
            f"The 99th percentile of latency is {measured} ms, above the limit of {limit} ms."
        )
    peak_mb = (latency.peak_bytes or 0) / 1e6
    if 0 < limits.max_memory_mb < peak_mb:
        peak, limit = told_apart(peak_mb, limits.max_memory_mb, ".3g")
        reasons.append(f"Peak memory is {peak} MB, above the limit of {limit} MB.")
    return reasons + [malformed.sentence(case) for case in malformed.faults(cases)]


def device_tolerance(findings: Findings) -> float:
    """What a device's answer may differ by.

    A file compared with itself was run in two kinds of kernels, which shows it for this model.
    """
    usual = findings.subject.quantisation.device_difference
    if not findings.original.itself:
        return usual
    return max(usual, 2 * findings.parity.max_difference)


def summary_of(findings: Findings, edge: Artifact, rows: Artifact) -> dict[str, object]:
    found = findings.parity
    asked = {requirements.NAME: [each.to_json() for each in findings.met]} if findings.met else {}
    return {
        **asked,
        "approved": not findings.reasons,
        "reasons": findings.reasons,
        "split": findings.split,
        "rows": found.rows,
        "runtime": findings.subject.runtime,
        "quantisation": findings.subject.quantisation.name,
        "max_difference": found.max_difference,
        "mean_difference": found.mean_difference,
        "changed_decisions": found.changed_decisions,
        # of all rows there may be, not of those that were seen
        "changed_decisions_at_most": None
        if findings.original.artifact.metadata["task"] == "regression"
        else shares.at_most(found.changed_decisions, found.rows),
        "not_finite": found.not_finite,
        "probes": findings.probing.summary(),
        "metrics": found.metrics,
        "metric_drops_at_most": found.drops_at_most,
        "malformed": {
            "kinds": len(malformed.KINDS),
            "cases": len(findings.cases),
            "at_inputs": malformed.most_inputs(findings.inputs),  # at most, of each kind
            **dict(sorted(Counter(case.outcome for case in findings.cases).items())),
        },
        "limits": {
            name: None if value == float("inf") else value
            for name, value in asdict(findings.limits).items()
        },
        "original": findings.original.words,
        "model_digest": findings.original.artifact.digest,
        "edge_model_digest": edge.digest,
        "examples_digest": rows.digest,
        "source_digest": rows.metadata.get("data_digest", ""),  # of what ingest read
    }


def details_of(findings: Findings) -> dict[str, object]:
    found = findings.parity
    return {
        "outputs": found.outputs,
        "labelled_rows": found.labelled_rows,
        "histogram": {"edges": parity.EDGES.tolist(), "rows": found.histogram},
        "probes_asked": findings.probing.details(),
        "malformed_cases": [asdict(case) for case in findings.cases],
    }


def metrics_of(findings: Findings) -> dict[str, float]:
    """What a table of tasks shows first, the model on the edge, comes first."""
    found, latency = findings.parity, findings.latency
    cloud, edge = (
        {f"{side}_{name}": values[side] for name, values in found.metrics.items()}
        for side in ("cloud", "edge")
    )
    values = {
        "max_difference": found.max_difference,
        "changed_decisions": float(found.changed_decisions),
        "probes": float(len(findings.probing.asked)),
        "probes_that_differ": float(len(findings.probing.faults)),
        **edge,
        "latency_p50_ms": latency.p50_ms,
        "latency_p99_ms": latency.p99_ms,
        **cloud,
        "mean_difference": found.mean_difference,
        "peak_memory_mb": None if latency.peak_bytes is None else latency.peak_bytes / 1e6,
    }
    return {name: value for name, value in values.items() if value is not None}
