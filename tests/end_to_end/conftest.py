"""One run of the taxi pipeline for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from command import Finished, edgeline


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def taxi(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """`edgeline run taxi`, once for all tests."""
    return edgeline(tmp_path_factory.mktemp("taxi"), "run", "taxi", "--cache")
