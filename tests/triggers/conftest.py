"""Servers of triggers that are stopped after the test."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parents[1]
for shared in (TESTS, TESTS / "server", TESTS / "kubeflow"):
    sys.path.append(str(shared))

from trigger_serving import Serving  # noqa: E402


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Callable[..., Serving]]:
    """Begin a server; it is stopped after the test, and must have logged no traceback."""
    begun: list[Serving] = []

    def begin(*options: str, key: str | None = "key", **more: Any) -> Serving:
        signed = ("--webhook-key", key) if key else ()
        begun.append(Serving(tmp_path, *signed, *options, **more))
        return begun[-1]

    yield begin
    for each in begun:
        each.stop()
    assert "Traceback" not in (tmp_path / "log.txt").read_text()
