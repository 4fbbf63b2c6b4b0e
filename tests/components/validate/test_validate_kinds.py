"""What a column seems to be: an identifier, a time, a constant, and what only looks like one."""

from __future__ import annotations

import re

import pyarrow as pa
import pytest

from edgeline.components.validate import computing, kinds

START = 1_600_000_000


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([7] * 60, "constant"),
        ([7] * 3, ""),
        ([f"user-{n}" for n in range(100)], "an identifier?"),
        ([f"user-{n % 30}" for n in range(100)], ""),
        (list(range(100)), "an identifier?"),
        ([n / 3 for n in range(100)], ""),
        (
            [START + 3600 * n for n in range(100)],
            "a time? seconds since 1970, 2020-09-13 to 2020-09-17",
        ),
        (
            [(START + 3600 * n) * 1000 for n in range(100)],
            "a time? milliseconds since 1970, 2020-09-13 to 2020-09-17",
        ),
        ([0, *[START + n for n in range(99)]], "an identifier?"),
    ],
)
def test_what_a_column_seems_to_be(values, kind, write_examples):
    source = write_examples(train=pa.table({"x": [[value] for value in values]}))
    [data] = computing.compute(source).datasets
    assert kinds.kind(data.features[0]) == kind


def test_the_report_tells_numbers_of_each_split_and_what_a_column_seems_to_be(
    write_examples, run, tmp_path
):
    def rows(shift: float) -> pa.Table:
        columns = {
            "amount": [[0.0 if n % 4 == 0 else n + shift] for n in range(200)],
            "when": [[START + 3600 * n] for n in range(200)],
        }
        return pa.table(columns)

    run(write_examples(train=rows(0.0), eval=rows(50.0)))
    page = (tmp_path / "validation_report").read_text()
    start = page.index("<b>amount</b>")
    amount = re.sub("<[^>]*>", " ", page[start : page.index("</tr>", start)]).split()
    told = " ".join(amount)
    assert "float" in told and "25.0% 25.0%" in told  # zeros of train and of eval
    assert "range 0, 199" in told and "quartiles" in told
    assert "a time? seconds" in page and "2020-09-13 to 2020-09-21" in page
