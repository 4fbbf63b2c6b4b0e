"""Why a model takes transformed features instead of raw ones: one sentence, told everywhere alike.

An edge model's metadata and a bundle's provenance hold the causes under `KEY`; what an older
version made has none there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

KEY = "transformed_because"
TRANSFORMED = "transformed"
LONGEST = 100  # characters of a name: a manifest may be anyone's


@dataclass(frozen=True)
class Cause:
    """What keeps features from being taken as they are.

    Attributes:
        features: raw features that the operator reads, or the input of an imported file.
        operator: TensorFlow's name of what LiteRT lacks; "" for an imported file.
        reason: what an imported file's input takes; "" where there is an operator.
    """

    features: tuple[str, ...]
    operator: str = ""
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        return {"features": list(self.features), "operator": self.operator, "reason": self.reason}


def causes(facts: Any) -> list[Cause]:
    """The causes in metadata or provenance; none where it holds no (well-formed) ones."""
    entries = facts.get(KEY) if isinstance(facts, Mapping) else None
    found = []
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, Mapping) and isinstance(entry.get("features"), list):
            features = tuple(str(name)[:LONGEST] for name in entry["features"])
            operator = str(entry.get("operator") or "")
            reason = " ".join(str(entry.get("reason") or "").split())[: 3 * LONGEST]
            known = re.fullmatch(r"\w{1,100}", operator)
            found.append(Cause(features, operator if known else "", reason))
    return found


def sentence(takes: str, facts: Any) -> str:
    """What a person has to know who sends rows to a model; "" where it takes raw features.

    Args:
        takes: `raw` or `transformed`.
        facts: the edge model's metadata, or the bundle's provenance.
    """
    if takes != TRANSFORMED:
        return ""
    head = "The model takes transformed features instead of raw ones"
    found = causes(facts)
    if lacking := _lacking(found):
        return (
            f"{head}, because LiteRT lacks {lacking}: whoever asks for a prediction has to "
            "transform the features first."
        )
    if reasons := "; ".join(cause.reason for cause in found if cause.reason):
        return f"{head}: {reasons}."
    return f"{head}; which operator of the transform LiteRT lacks was not recorded."


def _lacking(found: Sequence[Cause]) -> str:
    """Operators with the features that they are applied to, those of the same features together."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for cause in found:
        if cause.operator:
            groups.setdefault(cause.features, []).append(cause.operator)
    return "; and ".join(
        f"{_listed(operators)}, which the transform {_applied(features)}"
        for features, operators in groups.items()
    )


def _applied(features: Sequence[str]) -> str:
    if not features:
        return "uses"
    kind = "feature" if len(features) == 1 else "features"
    return f"applies to {kind} {_listed([repr(name) for name in features])}"


def _listed(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last
