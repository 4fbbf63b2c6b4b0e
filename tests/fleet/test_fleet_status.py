"""What a device tells of versions that do not serve, and of its latency."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from edgeline.server.fleet.status import DeviceReport, decays, quantile_ms
from edgeline.server.metrics import Histogram, Metrics
from edgeline.server.settings import ServerSettings
from edgeline.server.versions.served_models import ServedModels
from edgeline.server.versions.verdicts import Record


def report(
    sentence: str,
    pending: dict[str, list[int]],
    refused: dict[str, dict[str, str]] | None = None,
    **bad: Record,
) -> Any:
    """Of a device that serves nothing."""
    rollouts: Any = SimpleNamespace(returned=dict, traffic={})
    told = {"outcome": "none", "sentence": sentence, "pending": pending, "waits": {}}
    told["refused"] = refused or {}
    updates: Any = SimpleNamespace(status=lambda: told)
    verdicts: Any = SimpleNamespace(bad=lambda: bad)
    served = ServedModels(rollouts)
    return DeviceReport(
        ServerSettings(), served, rollouts, verdicts, updates, Metrics(), SimpleNamespace()
    )


def test_a_version_fails_by_its_own_files_alone() -> None:
    why, fault = "the metadata is not genuine.", "m/8/model.tflite is not the file that was signed."
    assert report(why, {"m": [8]}).outcomes() == {("m", 8): ("waiting", why)}
    found = report(fault, {"m": [7, 8], "other": [3]}, {"m": {"8": fault}}).outcomes()
    assert found == {
        ("m", 7): ("waiting", fault),
        ("m", 8): ("failed", fault),
        ("other", 3): ("waiting", fault),
    }


def test_a_version_that_was_condemned_failed_though_its_files_are_gone() -> None:
    bad = Record("m", 9, "bad", reason="the server ended 3 times")
    found = report("", {}, digest=bad).outcomes()
    assert found == {("m", 9): ("failed", "the server ended 3 times")}


def test_decay_and_drift_are_told_where_somebody_looks_on_enough_rows() -> None:
    def decay(estimated: int, measured: int, **decayed: Any) -> dict[str, Any]:
        return {
            "model": "m",
            "version": 9,
            "rows_needed": 300,
            "estimated": {"rows": estimated, "decayed": []},
            "measured": {"rows": measured, "decayed": []},
            "concept": {"drifting": False},
            **decayed,
        }

    assert decays(decay(299, 0)) is None
    assert decays(decay(300, 0)) is False
    assert decays(decay(0, 300)) is False
    assert decays(decay(0, 10, concept={"drifting": True})) is True

    def told(drift: list[dict[str, Any]], decay: list[dict[str, Any]]) -> tuple[Any, Any]:
        bad = Record("m", 9, "bad", reason="the server ended 3 times")
        made = report("", {}, digest=bad)
        made._watching = SimpleNamespace(reports=lambda: drift, decay_told=decay)
        [model] = asyncio.run(made.status())["models"]
        return model["drift"], model["decay"]

    drift = {"model": "m", "version": 9, "rows": 99, "rows_needed": 100, "drifting": []}
    assert told([], []) == (None, None)
    assert told([drift], [decay(1, 1)]) == (None, None)
    assert told([{**drift, "rows": 100}], [decay(900, 0)]) == ([], False)


def test_a_quantile_lies_between_the_bounds_of_its_bucket() -> None:
    times = Histogram()
    assert quantile_ms(times, 0.5) is None
    for _ in range(10):
        times.add(0.0015)  # between 1 and 2.5 ms
    assert quantile_ms(times, 0.5) == pytest.approx(1.75)
    for _ in range(90):
        times.add(60.0)  # above the last bound
    assert quantile_ms(times, 0.95) == 10_000
