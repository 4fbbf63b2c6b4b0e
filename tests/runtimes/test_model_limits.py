"""Limits of a child that reads a model of others: memory, time, and what raises them."""

from __future__ import annotations

import mmap
import os
import time

import pytest

from edgeline.errors import EdgelineError, UsageError
from edgeline.runtimes import child, limits

MB = 1 << 20


@pytest.fixture(autouse=True)
def a_fork_is_enough(monkeypatch):
    monkeypatch.setattr(child, "_tensorflow_runs", lambda: False)


def grow(tell, piece, total, mapped):
    tell("reading the weights")
    held = []
    for _ in range(total // piece):
        if mapped:
            held.append(mmap.mmap(-1, piece, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
        else:
            held.append(bytearray(piece))
        time.sleep(0.001)
    return len(held)


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("piece", [8 * MB, 4096 * MB], ids=["little by little", "at once"])
def test_too_much_memory_ends_a_child_and_names_what_allows_more(piece, mapped):
    with pytest.raises(child.ChildError) as caught:
        child.call(grow, piece, 4096 * MB, mapped, memory=200 * MB)
    assert caught.value.how == (
        f"exceeded {200 * MB:,} bytes of memory (EDGELINE_MODEL_MEMORY allows more)"
    )
    assert caught.value.doing == "reading the weights"


@pytest.mark.skipif(
    any(map(os.path.exists, limits._DEVICES)), reason="a driver here maps addresses without end"
)
def test_what_a_shared_mapping_takes_counts_too():
    def share(_):
        return mmap.mmap(-1, (8 + (os.cpu_count() or 1)) << 30)[0]

    with pytest.raises(child.ChildError, match=r"exceeded .* of memory"):
        child.call(share, memory=200 * MB)


def test_enough_memory_is_enough():
    assert child.call(grow, 8 * MB, 160 * MB, False, memory=400 * MB) == 20


def test_a_limit_grows_with_the_files_and_a_variable_takes_its_place(tmp_path, monkeypatch):
    (tmp_path / "weights").mkdir()
    with open(tmp_path / "weights" / "large", "wb") as stream:
        stream.truncate(500 * MB)
    assert limits.room(tmp_path) - limits.room() == 8 * 500 * MB
    assert limits.converter_room(tmp_path, None) - limits.converter_room() == 32 * 500 * MB
    for text, wanted in (("24Gi", 24 << 30), ("500M", 500_000_000), ("123", 123)):
        monkeypatch.setenv("EDGELINE_MODEL_MEMORY", text)
        assert limits.room(tmp_path) == limits.converter_room() == wanted
    for text in ("much", "0", "1.5Gi", "-1", "3i"):
        monkeypatch.setenv("EDGELINE_MODEL_MEMORY", text)
        with pytest.raises(UsageError, match=r"EDGELINE_MODEL_MEMORY is '.*': give bytes, such"):
            limits.room(tmp_path)


def spin(tell):
    tell("loading")
    while True:
        pass


def test_too_much_time_names_what_allows_more(monkeypatch):
    monkeypatch.setenv("EDGELINE_MODEL_TIME", "1")
    with pytest.raises(child.ChildError) as caught:
        child.call(spin, memory=200 * MB)
    assert caught.value.how in (
        "exceeded 1 s of a core (EDGELINE_MODEL_TIME allows more)",
        "exceeded 3 s (EDGELINE_MODEL_TIME allows more)",
    )
    monkeypatch.setenv("EDGELINE_MODEL_TIME", "1h")
    with pytest.raises(EdgelineError, match="EDGELINE_MODEL_TIME is '1h': give whole seconds"):
        child.call(spin, memory=200 * MB)
