"""A store and a portable runner, for the tests of work that spreads."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[1] / "publish"))  # s3_server.py


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from s3_server import running

    yield from running(tmp_path_factory)


@pytest.fixture
def s3(s3_server: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    for key, value in s3_server.environment.items():
        monkeypatch.setenv(key, value)
    return s3_server


@pytest.fixture(scope="session")
def hidden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tasks, which the workers see empty."""
    return tmp_path_factory.mktemp("tasks")


@pytest.fixture(scope="session")
def portable(
    s3_server: Any, hidden: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    from portable import running

    with running(tmp_path_factory.mktemp("portable"), hidden, s3_server.environment) as made:
        yield made
