"""MLflow's server, a double of Kubeflow's registry, and no others but those that a test names."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hub_double import HubDouble
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


@pytest.fixture
def hub() -> Iterator[HubDouble]:
    double = HubDouble()
    yield double
    double.stop()


@pytest.fixture(autouse=True)
def no_tracker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the shell has set, a test says which servers it means."""
    for name in (
        *("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_NAME"),
        *("MODEL_REGISTRY_URL", "MODEL_REGISTRY_TOKEN", "MODEL_REGISTRY_TOKEN_FILE"),
    ):
        monkeypatch.delenv(name, raising=False)
