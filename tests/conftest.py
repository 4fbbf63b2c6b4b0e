"""Collecting stays cheap: every worker of pytest-xdist collects all tests, also those it skips."""

from __future__ import annotations

import atexit
import gc
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # as `edgeline` and its images have it
# else each of some hundred processes compiles again all that it imports
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# a second or more each; tests import them in their bodies or fixtures
HEAVY = {"tensorflow", "keras", "apache_beam", "onnx", "openvino", "schemathesis", "scipy.stats"}
looked_through: set[str] = set()  # of these, and no more since


def pytest_configure(config: pytest.Config) -> None:
    """Tests share warm processes with each other and with nothing else, and leave none behind."""
    if hasattr(config, "workerinput"):  # of pytest-xdist: the process that started it does so
        # seconds to take TensorFlow's objects down one by one; xdist waits ten of them for it
        atexit.register(os._exit, 0)
        return
    folder = Path(
        tempfile.mkdtemp(prefix="edgeline-tests-", dir="/tmp")
    )  # a socket's path is short
    os.environ["XDG_RUNTIME_DIR"] = str(folder)
    config.add_cleanup(lambda: _end_warm_processes(folder))


def _end_warm_processes(folder: Path) -> None:
    if any(folder.glob("edgeline-warm/*.socket")):
        from edgeline.local.warm import sets

        os.environ["XDG_RUNTIME_DIR"] = str(folder)
        sets.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A transfer is tried again at once."""
    monkeypatch.setattr("edgeline.stores.again.FIRST_PAUSE", 0.0)


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """A server that a test starts in its own process leaves no handler to the tests after it."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        if signal.getsignal(number) is not handler:
            signal.signal(number, handler or signal.SIG_DFL)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is collected stays, and is not looked through for garbage again and again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    """Nor is a large library that a test has imported: TensorFlow's objects are a million."""
    if new := (HEAVY & sys.modules.keys()) - looked_through:
        looked_through.update(new)
        gc.collect()
        gc.freeze()


def pytest_unconfigure() -> None:
    gc.unfreeze()  # some libraries call a leak what is still there at the end


@pytest.hookimpl(trylast=True)  # a folder's conftest.py marks some as slow
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Modules with slow tests come first: one that begins last would keep one worker alone."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    before = HEAVY & sys.modules.keys()
    report = yield
    if found := sorted((HEAVY & sys.modules.keys()) - before):
        report.outcome = "failed"
        report.longrepr = (
            f"{collector.nodeid} imports {' and '.join(found)} at its head, which every worker "
            "would pay for: import it in the function that uses it."
        )
    return report
