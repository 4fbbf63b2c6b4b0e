"""Reports: one self-contained page, everything escaped that is not markup."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from markupsafe import Markup
from panel import BROWSER, cut_in_panel

from edgeline.reports import report
from edgeline.reports.drawn import drawn


def _figure() -> Markup:
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(3, 2))
    drawing.subplots().plot([1, 2, 3])
    return report.figure(drawing)


def test_text_is_escaped_and_markup_is_not(tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script>"
    report.write(
        tmp_path / "report.html",
        hostile,
        [report.Fact(hostile, hostile, good=False)],
        [report.Section(hostile, report.table([hostile], [[hostile]]) + report.text(hostile))],
    )
    page = (tmp_path / "report.html").read_text()
    assert re.findall("<script>(.)", page) == ['"']  # the page's own
    assert page.count("&lt;script&gt;") == 8


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("$\\frac{$", "$\\frac{$"),
        ("$10 to $20", "$10 to $20"),
        ("a\\$b$c", "a\\$b$c"),
        ("<b>&", "&lt;b&gt;&amp;"),
        ("a\x00\x1b", "a\ufffd\ufffd"),
        ("\ud800", "?"),
    ],
)
def test_a_name_in_a_figure_is_text(name: str, shown: str) -> None:
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(3, 2))
    axes = drawing.subplots()
    axes.set_yticks([0], [drawn(name)])
    axes.plot([0, 1], label=f"label {drawn(name)}")
    axes.legend()
    drawing.tight_layout()
    assert report.figure(drawing).count(f">{shown}<") == 1
    assert f">label {shown}<" in report.figure(drawing)


def test_nothing_comes_from_outside(tmp_path: Path) -> None:
    report.write(tmp_path / "r.html", "R", [], [report.Section("Figure", _figure())])
    page = (tmp_path / "r.html").read_text()
    assert "<svg" in page
    assert not re.findall(r"""(?:src|href)=["'](?!#|data:)""", page)
    assert not list(tmp_path.glob("*.partial"))


def test_the_same_figure_is_the_same_bytes() -> None:
    assert _figure() == _figure()


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "–"), (15002, "15,002"), (0.93121, "0.9312"), (1.2e-7, "1.2e-07"), (12345.6, "12,346")],
)
def test_numbers_are_for_people(value: float | None, shown: str) -> None:
    assert report.number(value) == shown


@pytest.mark.parametrize(("count", "shown"), [(0, "0 B"), (93_210, "93.2 kB"), (5e9, "5.0 GB")])
def test_sizes_are_decimal(count: int, shown: str) -> None:
    assert report.size(count) == shown


def test_a_table_without_names_has_no_head():
    assert "<th" not in report.table(["", ""], [("file", "model.tflite")])
    assert "<th>size</th>" in report.table(["", "size"], [("file", 3)])


def test_a_figure_shrinks_no_further_than_it_can_be_read():
    from matplotlib.figure import Figure

    assert '<svg style="min-width:432pt"' in report.figure(Figure(figsize=(10, 3)))


def test_nothing_is_cut_in_the_panel_of_kubeflow_s_pages(tmp_path: Path) -> None:
    from matplotlib.figure import Figure

    path, name = "s3://bucket/" + "a" * 90, "dropoff_community_area"
    wrong = f"Column {name!r} in eval is present in 1,003 of 1,005 rows (99.80%), but in all by it."
    cells = [report.badge("warning", False), "eval", name, wrong, "FEATURE_TYPE_LOW_FRACTION", 1e5]
    wide = report.figure(Figure(figsize=(12, 2)))
    page = report.page(
        "Data validation",
        [report.Fact("a path", path), *[report.Fact("rows", "15,002")] * 5],
        [
            report.Section(path, report.table(["a", "b", "what is wrong"], [cells[1:4]] * 3)),
            report.Section("Wide", report.table(["", *"abcde"], [cells, [*cells[:5], path]])),
            report.Section("Files", report.table(["", ""], [(name, path), (path, 3)])),
            report.Section("Bars", report.table(["a", "b"], [(report.bar(0.5), path)]) + wide),
            report.Section("Log", Markup("<pre>{}</pre>").format("x" * 200), note=path),
        ],
    )
    assert cut_in_panel({"page": page}, tmp_path) == {}


def test_a_wide_row_becomes_a_list_that_names_its_columns() -> None:
    wide = report.table(["a", "b", "c", "d", "<e>"], [(1, "x", None, Markup("<b>y</b>"), True)])
    assert wide.count("data-name=") == 5
    assert '<td class=s data-name="&lt;e&gt;">True</td>' in wide
    assert "data-name" not in report.table(["a", "b", "c", "d"], [(1, 2, 3, 4)])


def test_a_long_table_is_folded_after_its_first_rows() -> None:
    page = report.table(["row"], [(f"row {number}",) for number in range(450)])
    parts = page.split("<details>")
    assert [part.count("<tr><td") for part in parts] == [200, 200, 50]
    assert [part.count("<thead>") for part in parts] == [1, 1, 1]
    assert "<summary>401 to 450 of 450</summary>" in parts[2]
    assert "<details>" not in report.table(["row"], [("a",)] * 200)


def test_a_long_table_is_searched_and_sorted_in_all_its_parts(tmp_path: Path) -> None:
    """By the page's own script; what is found is open, wherever it was sorted to."""
    days = [f"20{20 + n % 7}-0{n % 9 + 1}-1{n % 10}" for n in range(450)]
    rows = [(f"row {n}", 1000 - n, report.size(10 ** (n % 7)), days[n]) for n in range(450)]
    table = report.table(["name", "n", "size", "when"], rows)
    page = report.page("R", [], [report.Section("T", table)])
    act = """<script>
const input = document.querySelector("input"), seen = [];
const shown = () => [...document.querySelectorAll(".rows > *")].filter(part => !part.hidden)
  .filter(part => part.localName != "details" || part.open)
  .flatMap(part => [...part.querySelectorAll("tbody tr")]).filter(row => !row.hidden)
  .map(row => row.cells[0].textContent);
input.value = "ROW 31"; input.dispatchEvent(new Event("input"));
seen.push(shown());
document.querySelectorAll("th")[1].click();
seen.push(shown(), input.nextSibling.textContent);
input.value = ""; input.dispatchEvent(new Event("input"));
seen.push(shown().slice(0, 2));
document.querySelectorAll("th")[2].click();
seen.push([...document.querySelectorAll("tbody tr")].map(row => row.cells[2].textContent)
  .filter((size, place, all) => size != all[place - 1]));
document.querySelectorAll("th")[3].click();
seen.push([...document.querySelectorAll("tbody tr")].map(row => row.cells[3].textContent));
document.body.dataset.seen = JSON.stringify(seen);
</script></body>"""
    first, sorted_, told, all_, sizes, when = acted(page.replace("</body>", act), tmp_path)
    found = [name for name, count, *_ in rows if "31" in name or "31" in str(count)]
    assert first == found and "row 31" in found and "row 419" not in found
    assert sorted_ == found[::-1]  # by the number, the smallest first
    assert told == f"{len(found)} of 450 rows"
    assert all_ == ["row 449", "row 448"]
    assert sizes == ["1 B", "10 B", "100 B", "1.0 kB", "10.0 kB", "100.0 kB", "1.0 MB"]
    assert when == sorted(days)


def acted(page: str, folder: Path) -> list:
    """What a script in a page has seen, without the policy that would not let it run."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("NO CHROMIUM: the page was not opened in a real browser")
    file = folder / "page.html"
    file.write_text(re.sub(r"<meta http-equiv[^>]*>", "", page))
    command = [chromium, *BROWSER, f"--user-data-dir={folder / 'profile'}", file.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    seen = re.search(r'data-seen="([^"]*)"', done.stdout)
    assert seen, done.stderr
    return json.loads(html.unescape(seen[1]))
