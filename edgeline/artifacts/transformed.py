"""Why a model takes transformed features instead of raw ones: one sentence, told everywhere alike.

An edge model's metadata and a bundle's provenance hold the causes under `KEY`; what an older
version made has none there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

KEY = "transformed_because"
TRANSFORMED = "transformed"
LONGEST = 100  # characters of a name: a manifest may be anyone's
SHOWN = 10  # features of one operator that a sentence names


@dataclass(frozen=True)
class Cause:
    """What keeps features from being taken as they are.

    Attributes:
        features: raw features that the operator reads, or the input of an imported file.
        operator: TensorFlow's name of what LiteRT lacks; "" for an imported file.
        reason: what an imported file's input takes; "" where there is an operator.
        others: how many features there are beside those.
    """

    features: tuple[str, ...]
    operator: str = ""
    reason: str = ""
    others: int = 0

    def to_json(self) -> dict[str, Any]:
        told = {"features": list(self.features), "operator": self.operator, "reason": self.reason}
        return {**told, "others": self.others} if self.others else told

    def naming(self, most: int) -> Cause:
        """The same with the names of at most so many features, none longer than `LONGEST`."""
        named = tuple(map(_cut, self.features[:most]))
        return replace(self, features=named, others=self.others + len(self.features) - len(named))


def causes(facts: Any) -> list[Cause]:
    """The causes in metadata or provenance; none where it holds no (well-formed) ones."""
    entries = facts.get(KEY) if isinstance(facts, Mapping) else None
    found = []
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, Mapping) and isinstance(entry.get("features"), list):
            features = tuple(_cut(str(name)) for name in entry["features"])
            operator = str(entry.get("operator") or "")
            reason = " ".join(str(entry.get("reason") or "").split())[: 3 * LONGEST]
            known = re.fullmatch(r"\w{1,100}", operator)
            others = entry.get("others")
            others = others if isinstance(others, (int, float)) and 0 < others < 2**31 else 0
            found.append(Cause(features, operator if known else "", reason, int(others)))
    return found


def sentence(takes: str, facts: object) -> str:
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
    groups: dict[tuple[tuple[str, ...], int], list[str]] = {}
    for cause in found:
        if cause.operator:
            named = cause.naming(SHOWN)
            groups.setdefault((named.features, named.others), []).append(cause.operator)
    return "; and ".join(
        f"{_listed(operators)}, which the transform {_applied(*features)}"
        for features, operators in groups.items()
    )


def _applied(features: Sequence[str], others: int) -> str:
    count = len(features) + others
    if not count:
        return "uses"
    kind = "feature" if count == 1 else "features"
    if not features:
        return f"applies to {count:,} {kind}"
    names = [repr(name) for name in features]
    if others:
        names.append(f"{others:,} other{'s' if others > 1 else ''}")
    return f"applies to {kind} {_listed(names)}"


def _listed(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def _cut(name: str) -> str:
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"
