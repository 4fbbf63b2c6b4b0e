"""One run of the taxi pipeline for all tests."""

from __future__ import annotations

import fcntl
import pickle
from pathlib import Path

import pytest
from command import Finished, edgeline


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def taxi(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Finished:
    """`edgeline run taxi`, once for all tests and workers."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "taxi-run"
    folder.mkdir(exist_ok=True)
    finished = folder / "finished.pickle"
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not finished.exists():
            finished.write_bytes(pickle.dumps(edgeline(folder, "run", "taxi", "--cache")))
    return pickle.loads(finished.read_bytes())
