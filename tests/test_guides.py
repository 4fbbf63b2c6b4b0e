"""The documentation: what the guides show works, and the site is built without a warning."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from edgeline import artifacts
from edgeline.artifacts import examples

ROOT = Path(__file__).parents[1]
GUIDES = ROOT / "docs"


def shown(guide: str, file: str) -> str:
    """The block of a guide that is a file, by the docstring that names it."""
    blocks = re.findall(r"```python\n(.*?)```", (GUIDES / guide).read_text("utf-8"), re.DOTALL)
    [found] = [each for each in blocks if each.startswith(f'"""{file}')]
    return found


def test_the_component_of_the_guide_leaves_out_rows_without_a_label(tmp_path, monkeypatch):
    (tmp_path / "label_filter.py").write_text(shown("writing-a-component.md", "label_filter.py"))
    monkeypatch.syspath_prepend(tmp_path)
    from label_filter import label_filter

    with artifacts.writing(tmp_path / "given", examples.SCHEMA) as draft:
        (draft.path / "train").mkdir()
        table = pa.table({"x": [1.0, 2.0, 3.0], "label": [0, None, 1]})
        pq.write_table(table, draft.path / "train" / "part-00000.parquet")
        draft.metadata["splits"] = {"train": {"rows": 3}}
    given = SimpleNamespace(path=str(tmp_path / "given"), metadata={})
    made = SimpleNamespace(path=str(tmp_path / "made"), metadata={})
    label_filter.python_func(given, made, "label")

    read = artifacts.read(made.path, examples.SCHEMA)
    assert examples.splits(read) == {"train": 2}
    assert pq.read_table(examples.parts(read, "train")[0])["x"].to_pylist() == [1.0, 3.0]
    assert made.metadata["edgeline_schema"] == examples.SCHEMA


@pytest.mark.parametrize(
    ("guide", "file"),
    [
        ("writing-a-pipeline.md", "loans.py"),
        ("writing-a-pipeline.md", "check_only.py"),
        ("explaining.md", "gated.py"),
        ("monitor.md", "watched.py"),
    ],
)
def test_the_pipelines_of_the_guides_compile(guide, file, tmp_path):
    source = shown(guide, file).replace("sha256=…", f"sha256={'0' * 64}")
    (tmp_path / file).write_text(source)
    command = [sys.executable, "-m", "edgeline", "compile", file, "-o", "made.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "made.yaml").stat().st_size > 1000


@pytest.mark.slow
def test_the_site_is_built_without_a_warning_and_takes_nothing_from_elsewhere(tmp_path):
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html"]
    command += ["-c", "docs", "-d", str(tmp_path / "doctrees"), ".", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert (tmp_path / "site" / "index.html") in pages and len(pages) > 50
    for page in pages:
        loaded = re.findall(
            r'<(?:script|img|link|iframe)[^>]*(?:src|href)="(https?:[^"]*)"',
            page.read_text("utf-8"),
        )
        assert loaded == [], page
