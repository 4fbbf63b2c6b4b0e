"""Why a model takes transformed features instead of raw ones: one sentence, told everywhere alike.

A model `takes` raw features, transformed ones, or, where an operator keeps only some of them from
being taken raw, both (`MIXED`). An edge model's metadata and a bundle's provenance hold the causes
under `KEY`; what an older version made has none there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

KEY = "transformed_because"
RAW, TRANSFORMED, MIXED = "raw", "transformed", "mixed"
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
        makes: the transformed features that the operator has a part in.
    """

    features: tuple[str, ...]
    operator: str = ""
    reason: str = ""
    others: int = 0
    makes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        told = {"features": list(self.features), "operator": self.operator, "reason": self.reason}
        if self.makes:
            told["makes"] = list(self.makes)
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
            makes = entry.get("makes")
            made = tuple(_cut(str(name)) for name in makes) if isinstance(makes, list) else ()
            found.append(Cause(features, operator if known else "", reason, int(others), made))
    return found


def words(takes: str) -> str:
    """What a model takes, in two or four words."""
    return "raw and transformed features" if takes == MIXED else f"{takes} features"


def sentence(takes: str, facts: object) -> str:
    """What a person has to know who sends rows to a model; "" where it takes raw features.

    Args:
        takes: `RAW`, `TRANSFORMED` or `MIXED`.
        facts: the edge model's metadata, or the bundle's provenance.
    """
    if takes not in (TRANSFORMED, MIXED):
        return ""
    found = causes(facts)
    made = sorted({name for cause in found for name in cause.makes}) if takes == MIXED else []
    head, them = "The model takes transformed features instead of raw ones", "the features"
    if takes == MIXED:
        named = _named(made[:SHOWN], len(made[SHOWN:])) if made else "some features"
        head, them = f"The model takes {named} transformed and all others raw", "these"
    if lacking := _lacking(found):
        return (
            f"{head}, because LiteRT lacks {lacking}: whoever asks for a prediction has to "
            f"transform {them} first."
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
    if not features and not others:
        return "uses"
    return f"applies to {_named(features, others)}"


def _named(features: Sequence[str], others: int) -> str:
    count = len(features) + others
    kind = "feature" if count == 1 else "features"
    if not features:
        return f"{count:,} {kind}"
    names = [repr(name) for name in features]
    if others:
        names.append(f"{others:,} other{'s' if others > 1 else ''}")
    return f"{kind} {_listed(names)}"


def _listed(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def _cut(name: str) -> str:
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"
