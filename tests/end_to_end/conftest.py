"""One run of the taxi pipeline for all tests."""

from __future__ import annotations

import pytest
from command import Finished, edgeline


@pytest.fixture(scope="session")
def taxi(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """`edgeline run taxi`, once for all tests."""
    return edgeline(tmp_path_factory.mktemp("taxi"), "run", "taxi", "--cache")
