"""The window of live statistics: what it forgets, what it keeps, and what it may cost."""

from __future__ import annotations

import numpy as np
import pytest

from edgeline.artifacts import reference
from edgeline.server.settings import ServerSettings
from edgeline.server.watching import drift_watch
from edgeline.server.watching.drift_watch import SLICES, Watch

RNG = np.random.default_rng(9)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(drift_watch, "monotonic", made)
    return made


@pytest.fixture
def met() -> reference.Reference:
    builder = reference.Builder()
    x = RNG.normal(0, 1, (3000, 1)).astype("f4")
    builder.add({"x": x, "image": image(3000)}, {"y": x})
    return builder.result()


def image(rows: int) -> np.ndarray:
    return RNG.integers(0, 256, (rows, 4, 4, 3)).astype("u1")


def give(watch: Watch, rows: int, mean: float = 0.0) -> None:
    x = RNG.normal(mean, 1, (rows, 1)).astype("f4")
    watch.observe({"x": x, "image": image(rows)}, {"y": x})
    watch.drain()


def test_what_is_older_than_the_window_is_forgotten(clock, met):
    watch = Watch(met, ServerSettings(drift_window=120.0, drift_rows=100, drift_rate=10_000))
    give(watch, 1000, mean=3.0)
    assert "x" in watch.report()["drifting"]
    for _ in range(2 * SLICES):
        clock.now += 11.0
        give(watch, 100)
    report = watch.report()
    assert report["drifting"] == []
    assert 1000 <= report["rows"] <= 1400  # about 120 s of 100 rows every 11 s


def test_few_rows_are_kept_longer_than_the_window(clock, met):
    watch = Watch(met, ServerSettings(drift_window=120.0, drift_rows=500, drift_rate=10_000))
    for _ in range(100):
        clock.now += 600.0
        give(watch, 10)
    report = watch.report()
    assert 500 <= report["rows"] <= 650
    assert len(watch._slices) <= 2 * SLICES + 1


def test_a_budget_of_rows_a_second_and_a_bounded_queue(clock, met):
    watch = Watch(met, ServerSettings(drift_rate=50))
    for _ in range(5000):
        x = np.zeros((1, 1), "f4")
        watch.observe({"x": x, "image": image(1)}, {"y": x})
    assert len(watch._queue) == 500  # ten seconds' worth
    watch.drain()
    clock.now += 2.0
    give(watch, 1000)  # one request of many rows: every tenth
    assert 500 + 90 <= watch.report()["rows"] <= 500 + 110


@pytest.mark.usefixtures("clock")
def test_large_rows_cost_more_and_do_not_hold_on_to_the_request(met):
    watch = Watch(met, ServerSettings(drift_rate=100))
    big = np.zeros((1, 640, 640, 3), "u1")
    for _ in range(20):
        watch.observe({"image": big}, {"y": np.zeros((1, 1), "f4")})
    assert len(watch._queue) <= 4
    assert all("image" not in inputs for inputs, *_ in watch._queue)
