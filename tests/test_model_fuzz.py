"""Damaged model files at the entries that cost little; `make long` gives more to all of them."""

from __future__ import annotations

import random

import model_fuzzing
import pytest

from edgeline.runtimes import child, limits

FILES = 20


@pytest.mark.slow
@pytest.mark.parametrize("entry", ["check", "import tflite", "import onnx"])
def test_a_damaged_file_is_taken_or_refused_in_a_sentence(entry, tmp_path, monkeypatch):
    monkeypatch.setattr(child, "_tensorflow_runs", lambda: False)  # a fork is enough for these
    monkeypatch.setenv(limits.TIME_VARIABLE, "20")
    (tmp_path / "given").mkdir()
    files, make = model_fuzzing.entries()[entry]
    given = files(tmp_path / "given", FILES, random.Random(entry))
    found = model_fuzzing.attack(make(), given, tmp_path)
    assert found["refused"] > FILES / 2
    assert found["taken"] > 0
