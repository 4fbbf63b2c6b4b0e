"""Candidates of one run: what each was, what became of it, and which of them goes on.

`candidate/v1` holds the artifacts of one candidate, each as its component writes it, in the folders
of `PARTS`, as far as it came; `choice/v1` holds no file, and in its metadata what became of all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

SCHEMA = "candidate/v1"
CHOICE_SCHEMA = "choice/v1"
KEY = "candidates"  # in the metadata of a choice
MODEL, EDGE_MODEL, EVALUATION, VERIFICATION = "model", "edge_model", "evaluation", "verification"
PARTS = (MODEL, EDGE_MODEL, EVALUATION, VERIFICATION)
APPROVED, NOT_APPROVED, FAILED = "approved", "not approved", "failed"
CHOSEN, NOT_COMPARED = "chosen", "not compared"
# of the training, what a candidate may have of its own: the others say how candidates are compared
OWN = (
    "steps",
    "batch_size",
    "steps_per_epoch",
    "patience",
    "hyperparameters",
    "label_vocabulary",
    "class_weights",
    "seed",
)
# and what is that of the run for all of them
SHARED = ("task", "checkpoint_dir", "require_raw", "gradient_norms")


@dataclass(frozen=True)
class CandidateOutcome:
    """What became of one candidate.

    Attributes:
        name: as its author calls it, and as it waits in a signed repository.
        state: CHOSEN, APPROVED, NOT_COMPARED (approved, without the metric that chooses),
            NOT_APPROVED or FAILED.
        reasons: why it is not approved, where it failed, or why it was not compared.
        metrics: of all evaluation rows, by name.
        size: of the edge model's file in bytes; None where there is none.
        p99_ms: the 99th percentile of a prediction's latency where it was verified.
        differs: what it was given otherwise than the run, by name.
    """

    name: str
    state: str
    reasons: tuple[str, ...] = ()
    metrics: Mapping[str, float] | None = None
    size: int | None = None
    p99_ms: float | None = None
    differs: Mapping[str, Any] | None = None

    @property
    def is_approved(self) -> bool:
        """Whether it may be published."""
        return self.state in (CHOSEN, APPROVED, NOT_COMPARED)

    def to_json(self) -> dict[str, Any]:
        """As an artifact's metadata has it."""
        return {**asdict(self), "reasons": list(self.reasons)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> CandidateOutcome:
        known = {name: value[name] for name in cls.__dataclass_fields__ if name in value}
        return cls(**{**known, "reasons": tuple(known.get("reasons", ()))})


def reasons_where_none_is_chosen(metadata: Mapping[str, Any]) -> list[str]:
    """Why nothing of a choice goes on, a sentence for each reason; none where one was chosen."""
    found = of(metadata) if not metadata.get("chosen") else []
    return [f"{each.name}: {reason}" for each in found for reason in each.reasons]


def of(metadata: Mapping[str, Any]) -> list[CandidateOutcome]:
    """The candidates in the metadata of a choice, the best first; none in other metadata."""
    found = metadata.get(KEY)
    return [
        CandidateOutcome.from_json(each)
        for each in (found if isinstance(found, (list, tuple)) else ())
        if isinstance(each, Mapping) and "name" in each and "state" in each
    ]
