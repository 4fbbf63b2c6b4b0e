"""What a decision threshold is chosen by, as a parameter has it.

| goal                                 | threshold                                                |
|--------------------------------------|----------------------------------------------------------|
| f1                                   | of the largest F1                                        |
| recall>=0.9                          | of the highest precision with at least that recall       |
| precision>=0.8                       | of the highest recall with at least that precision       |
| cost:false_negative=10,false_positive=1 | of the lowest cost of all wrong decisions together    |

A module of its own, without numpy, for what is asked before a run reads goals, too.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from edgeline.errors import EdgelineError

TASK = "binary_classification"
PARAMETER = "decision_goal"
FORMS = "f1, recall>=0.9, precision>=0.8 or cost:false_negative=10,false_positive=1"
_NUMBER = r"(\d+(?:\.\d*)?|\.\d+)"
_SHARE = re.compile(rf"(recall|precision)\s*>=\s*{_NUMBER}")
_COST = re.compile(rf"\s*(false_negative|false_positive)\s*=\s*{_NUMBER}\s*")


@dataclass(frozen=True)
class DecisionGoal:
    """What a threshold is chosen by.

    Attributes:
        kind: f1, recall, precision or cost.
        least: the recall or precision that is asked for.
        false_negative, false_positive: what such a decision costs.
    """

    kind: str
    least: float = 0.0
    false_negative: float = 0.0
    false_positive: float = 0.0

    def __str__(self) -> str:
        if self.kind == "cost":
            return (
                f"cost:false_negative={self.false_negative:g},"
                f"false_positive={self.false_positive:g}"
            )
        return f"{self.kind}>={self.least:g}" if self.least else self.kind


PROPOSED = (DecisionGoal("f1"), DecisionGoal("recall", 0.9), DecisionGoal("precision", 0.9))


def parse(text: str) -> DecisionGoal | None:
    """A goal as a parameter has it; None of an empty one.

    Raises:
        EdgelineError: it is none.
    """
    given = text.strip()
    if not given:
        return None
    if given == "f1":
        return DecisionGoal("f1")
    if share := _SHARE.fullmatch(given):
        least = float(share[2])
        if not 0 < least <= 1:
            raise EdgelineError(
                f"{PARAMETER} is {text!r}, but a {share[1]} lies above 0 and up to 1: correct it."
            )
        return DecisionGoal(share[1], least)
    kind, _, costs = given.partition(":")
    found = [_COST.fullmatch(part) for part in costs.split(",")]
    if kind.strip() == "cost" and all(found):
        named = {each[1]: float(each[2]) for each in found if each}
        if len(named) == len(found) == 2 and all(0 < cost < math.inf for cost in named.values()):
            return DecisionGoal("cost", **named)
        raise EdgelineError(
            f"{PARAMETER} is {text!r}: give both costs once, each above 0, as in "
            "cost:false_negative=10,false_positive=1."
        )
    raise EdgelineError(f"{PARAMETER} is {text!r}, which is not a goal: give {FORMS}.")


def check_task(text: str, task: str) -> None:
    """Refuse a goal for a task without a threshold.

    Raises:
        EdgelineError: as said.
    """
    if text.strip() and task != TASK:
        raise EdgelineError(
            f"{PARAMETER} is {text!r}, but the model's task is {task}, which has no threshold: "
            "leave it empty."
        )
