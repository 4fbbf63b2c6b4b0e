"""Names of classes that a figure could take for something else."""

from __future__ import annotations

import numpy as np
import pytest

from edgeline.components.analyze import figures
from edgeline.components.analyze.curves import Curves


@pytest.mark.parametrize("task", ["binary_classification", "multiclass_classification"])
def test_classes_named_like_formulas_are_drawn_as_text(task: str) -> None:
    table = np.ones((3, 1000) if task.startswith("binary") else (2, 2))
    curves = Curves(task, table, np.float64([10, 10, 10]))
    pages = [str(part.body) for part in figures.plots(curves, ["$\\frac{$", "$5 or $10"], None)]
    assert "$\\frac{$" in pages[-1]
    assert "$5 or $10" in pages[-1]
