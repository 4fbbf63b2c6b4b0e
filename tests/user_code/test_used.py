"""The digest of what an import reaches outside of libraries."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from edgeline.user_code import used


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)

    def to(path: str, text: str) -> None:
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
        importlib.invalidate_caches()

    return to


def test_it_follows_what_a_named_module_imports(write) -> None:
    write("mine/__init__.py", "")
    write("mine/taxi.py", "from . import near\nimport json\n")
    write("mine/near.py", "import other\n")
    write("mine/unused.py", "")
    write("other.py", "x = 1\n")
    first = used.digest(["mine.taxi"])
    assert first == used.digest(["mine.taxi"])
    write("mine/unused.py", "x = 1\n")
    assert used.digest(["mine.taxi"]) == first
    write("other.py", "x = 2\n")
    assert used.digest(["mine.taxi"]) != first


def test_a_library_counts_by_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    before = used.digest(["yaml.nodes"])
    assert before
    used._version.cache_clear()
    monkeypatch.setattr(used.metadata, "version", lambda _: "0.0.0")
    assert used.digest(["yaml.nodes"]) != before
    used._version.cache_clear()


@pytest.mark.parametrize("name", ["json", "edgeline.errors", "no_such_module", "typing.Any"])
def test_what_a_key_knows_already_or_no_one_has_is_nothing(name: str) -> None:
    assert used.digest([name]) == ""
