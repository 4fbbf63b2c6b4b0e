"""What the page of an evaluation draws, and that no interval leaves its metric's scale."""

from __future__ import annotations

import re

import numpy as np
import pytest
from markupsafe import Markup
from panel import WIDTH, cut_in_panel

from edgeline.components.analyze import confusion, curves, report, scales, threshold_table
from edgeline.components.analyze.report import Slice
from edgeline.reports import report as html


def cells(table: Markup) -> list[list[str]]:
    """The texts of the rows of a table's body."""
    rows = re.findall("<tr>(.*?)</tr>", table, re.DOTALL)[1:]
    return [[re.sub("<[^>]*>", "", cell) for cell in re.findall("<td.*?</td>", r)] for r in rows]


@pytest.mark.parametrize(
    ("metric", "bound", "kept"),
    [
        ("auc_tfma", 1.025, 1.0),
        ("recall[top_k=3]", -0.01, 0.0),
        ("fairness_indicators_metrics/false_positive_rate@0.5", -0.2, 0.0),
        ("root_mean_squared_error", -0.1, 0.0),
        ("root_mean_squared_error", 7.5, 7.5),
        ("calibration", 1.2, 1.2),
        ("my_own", -3.0, -3.0),
        ("accuracy", None, None),
    ],
)
def test_an_interval_ends_where_its_metric_does(metric, bound, kept):
    assert scales.clipped(metric, bound) == kept


def test_every_threshold_is_told_and_counts_each_row_once():
    label = np.array([0, 0, 1, 1, 1])
    found = curves.of("binary_classification", label, np.array([0.1, 0.62, 0.3, 0.62, 0.9]))
    body = threshold_table.section(found, 0.5).body
    assert 'data-slider="50"' in body
    rows = {row[0]: row[1:] for row in cells(body)}
    assert len(rows) == 100
    assert rows["0.50"] == ["0.667", "0.667", "0.667", "0.500", "0.600", "2", "1", "1", "1"]
    assert rows["0.99"][:2] == ["–", "0.000"]
    assert rows["0.00"][-4:] == ["3", "2", "0", "0"]


def test_the_matrix_shows_small_classes_and_names_the_pairs():
    counts = np.array([[990, 10, 0], [0, 5, 5], [0, 0, 0]])
    matrix, pairs = confusion.sections(counts, ["big", "<small>", "none"], "by the best score")
    shades = re.findall(r'title="[\d,]+, ([\d.]+)%" style="[^"]*var\(--(\w+)\) (\d+)%', matrix.body)
    # 1 % of the big class can be seen, and half of the small one
    assert ("1.00", "orange", "8") in shades and ("50.00", "orange", "53") in shades
    assert "&lt;small&gt;" in matrix.body
    assert cells(pairs.body) == [
        ["big", "&lt;small&gt;", "10", "1.0%"],
        ["&lt;small&gt;", "none", "5", "50.0%"],
    ]


def test_of_many_classes_the_pairs_alone_are_shown():
    found = confusion.sections(np.eye(40, dtype=int), [f"c{n}" for n in range(40)], "")
    assert [section.title for section in found] == ["Confused most"]
    assert "every row is right" in found[0].body


def test_slices_stand_on_an_axis_that_begins_where_they_differ():
    def one(name: str, value: float, lower: float, upper: float) -> Slice:
        entry = {"value": value, "lower": lower, "upper": upper}
        return {"name": name, "slice": {}, "examples": 9, "metrics": {"accuracy": entry}}

    many = [one("Overall", 0.9, 0.89, 0.91), one("a: 1", 0.85, 0.83, 0.87)]
    many.append(one("a: 2", 0.95, 0.2, 1.0))  # wide: it does not stretch the axis
    section = report._slices(many, {"accuracy": {"lower": 0.8}})
    low, high = map(float, re.findall(r"<th[^>]*>([\d.]+) to ([\d.]+)</th>", section.body)[0])
    assert 0.8 < low < 0.83 and 0.95 < high <= 1.0
    assert section.body.count("at least, of all rows: 0.8") == 3
    assert "0.85, 95 % interval 0.83 to 0.87" in section.body


@pytest.mark.parametrize(("classes", "wide"), [(10, WIDTH), (30, WIDTH), (30, 390)])
def test_a_matrix_shows_all_in_the_panel_of_kubeflow_s_pages_and_on_a_phone(
    classes, wide, tmp_path
):
    counts = np.full((classes, classes), 1234) + 90_000 * np.eye(classes, dtype=int)
    names = [f"class {n} of many" for n in range(classes)]
    [matrix, _] = confusion.sections(counts, names, "by the best score")
    page = html.page("Evaluation", [], [matrix])
    assert cut_in_panel({"page": page}, tmp_path, wide) == {}
