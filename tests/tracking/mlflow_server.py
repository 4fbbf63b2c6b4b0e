"""A real MLflow server with SQLite, from an environment of its own (build_mlflow.sh)."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

LOCK = Path(__file__).with_name("mlflow.lock")
CACHE = Path(os.environ.get("EDGELINE_TEST_CACHE", Path.home() / ".cache" / "edgeline-tests"))
MLFLOW = CACHE / f"mlflow-{hashlib.sha256(LOCK.read_bytes()).hexdigest()[:16]}" / "bin" / "mlflow"
SETTINGS = {  # else it starts seven processes for jobs that nobody asks for
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}


class Mlflow:
    """A server that is not started before somebody asks for it, at an address that is known."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Mlflow:
        if self._process is None:
            self._process = subprocess.Popen(
                [
                    *(str(MLFLOW), "server", "--host", "127.0.0.1", "--port", str(self.port)),
                    *(
                        "--workers",
                        "1",
                        "--backend-store-uri",
                        f"sqlite:///{self.folder}/mlflow.db",
                    ),
                    *("--artifacts-destination", str(self.folder / "artifacts")),
                ],
                env={**os.environ, **SETTINGS},
                stdout=(self.folder / "server.log").open("wb"),
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            until = time.monotonic() + 300
            while not self._answers():
                assert self._process.poll() is None, (self.folder / "server.log").read_text()
                assert time.monotonic() < until, "the server does not answer"
                time.sleep(0.2)
        return self

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=5):
                return True
        except (urllib.error.URLError, OSError):
            return False

    def stop(self) -> None:
        if self._process:
            os.killpg(self._process.pid, 9)
            self._process.wait()

    @property
    def client(self) -> Any:
        """MLflow's own client, as a person uses it."""
        os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
        from mlflow.tracking import MlflowClient

        return MlflowClient(self.start().uri)

    def runs(self, experiment: str) -> list[Any]:
        client = self.client
        found = client.get_experiment_by_name(experiment)
        return list(client.search_runs([found.experiment_id])) if found else []

    def files(self, run: str, folder: str = "") -> list[str]:
        """All artifacts of a run."""
        found = []
        for each in self.client.list_artifacts(run, folder or None):
            found += self.files(run, each.path) if each.is_dir else [each.path]
        return found
