"""Names of classes that a figure could take for something else."""

from __future__ import annotations

import numpy as np
import pytest

from edgeline.components.analyze import confusion, figures
from edgeline.components.analyze.curves import Curves


@pytest.mark.parametrize("task", ["binary_classification", "multiclass_classification"])
def test_classes_named_like_formulas_are_drawn_as_text(task: str) -> None:
    table = np.ones((3, 1000) if task.startswith("binary") else (2, 2))
    curves = Curves(task, table, np.float64([10, 10, 10]))
    names = ["$\\frac{$", "$5 or $10"]
    drawings = figures.plots(curves, names, 0.5)
    for part in [*drawings, *confusion.sections(curves.confusion(), names, "")]:
        assert "$\\frac{$" in part.body
        assert "$5 or $10" in part.body
