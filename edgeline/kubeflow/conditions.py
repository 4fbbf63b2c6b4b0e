"""What decides whether a task of a compiled pipeline runs: KFP's conditions, taken apart.

kfp's compiler writes `inputs.parameter_values['a'] == true` for an `If`, and for the branches after
it, which run where it does not, `!(inputs.parameter_values['a'] == true) && ...`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Claim:
    """One of the claims that must all hold: `text`, or that it does not hold."""

    text: str
    holds: bool = True


def claims(condition: str) -> tuple[Claim, ...]:
    """The claims of a condition; none of an empty one."""
    parts = [part for part in map(str.strip, _conjuncts(condition)) if part]
    if len(parts) > 1:
        return tuple(claim for part in parts for claim in claims(part))
    for part in parts:
        if part.startswith("!(") and _closes(part, 1) == len(part) - 1:
            return (Claim(part[2:-1], holds=False),)
        if part.startswith("(") and _closes(part, 0) == len(part) - 1:
            return claims(part[1:-1])
    return tuple(Claim(part) for part in parts)


def _conjuncts(condition: str) -> Iterator[str]:
    """What stands between each && that is in no brackets and no quotes."""
    begin = 0
    for place, depth in _depths(condition):
        if depth == 0 and condition.startswith("&&", place):
            yield condition[begin:place]
            begin = place + 2
    yield condition[begin:]


def _closes(text: str, opened: int) -> int:
    """Where the bracket that opens at a place closes; -1 where it does not."""
    found = (at for at, depth in _depths(text) if at > opened and depth == 0)
    return next((at for at in found if text[at] == ")"), -1)


def _depths(text: str) -> Iterator[tuple[int, int]]:
    """Each place outside of quotes, with the number of brackets that are open behind it."""
    depth, quote = 0, ""
    for place, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
            continue
        if character in "'\"":
            quote = character
        depth += (character == "(") - (character == ")")
        yield place, depth
