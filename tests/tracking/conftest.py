"""A server of MLflow's, and no tracker but the one that a test names."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from mlflow_server import MLFLOW, Mlflow


@pytest.fixture(scope="session")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mlflow]:
    if not (MLFLOW.parents[1] / "ready").is_file():
        pytest.skip(
            "NOT TESTED: runs and versions in MLflow; tests/tracking/build_mlflow.sh installs its "
            "server."
        )
    server = Mlflow(tmp_path_factory.mktemp("mlflow"))
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def no_tracker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the shell has set, a test says which tracker it means."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
