"""Servers that are stopped after the test, and models for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from running import MIXED, MOBILENET, Running

Start = Callable[..., Running]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a server; it is stopped after the test, and must have logged no traceback."""
    running: list[Running] = []

    def begin(path: Path, *options: str) -> Running:
        running.append(Running(path, *options))
        return running[-1]

    yield begin
    for server in running:
        _, log = server.stop()
        assert "Traceback" not in log, log


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with `mobilenet` 1 and 2 and `mixed` 1, as TensorFlow Serving lays it out."""
    root = tmp_path_factory.mktemp("store")
    for name, version, model in (
        ("mobilenet", 1, MOBILENET),
        ("mobilenet", 2, MOBILENET),
        ("mixed", 1, MIXED),
    ):
        folder = root / name / str(version)
        folder.mkdir(parents=True)
        (folder / "model.tflite").write_bytes(model.read_bytes())
    (root / "mobilenet" / "labels.json").write_text('{"stable": 1, "canary": 2}')
    return root


@pytest.fixture(scope="module")
def server(store: Path) -> Iterator[Running]:
    """One server for the tests of a module that do not change it."""
    running = Running(store, "--versions", "0", "--poll", "0")
    yield running
    code, log = running.stop()
    assert code == 0
    assert "Traceback" not in log, log
