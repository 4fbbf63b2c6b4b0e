"""What the page says of rows that differ: those that mean something, and rounding folded up."""

from __future__ import annotations

import re

import pytest

from edgeline.artifacts.features import Feature
from edgeline.components.verify import report
from edgeline.components.verify.parity import Parity, ParityRow

FEATURES = [Feature("x", "float32", (1,))]
NONE = "No row differs by more than rounding gives: the first"


def worst(*differences: float) -> str:
    rows = [
        ParityRow(n, each, {"x": (1.0,)}, (0.5,), (0.5 + each,))
        for n, each in enumerate(differences)
    ]
    return str(report._worst(Parity(worst=rows), FEATURES, "cloud"))


@pytest.mark.parametrize(
    ("differences", "open_rows", "summary"),
    [
        ((), 0, ""),
        ((0.2, 0.01), 2, ""),
        ((2.4e-7, 1e-8), 0, f"{NONE} 2 by at most 2.4e-07"),
        ((float("inf"), 0.2, 1e-7), 2, "The next 1 by at most 1e-07"),
    ],
)  # fmt: skip
def test_differences_that_mean_something_stand_open(differences, open_rows, summary):
    page = worst(*differences)
    before = page.partition("<details>")[0]
    assert before.count("<tr><td") == open_rows
    assert re.findall("<summary>(.*?)</summary>", page) == ([summary] if summary else [])
    assert page.count("<tr><td") == len(differences)
