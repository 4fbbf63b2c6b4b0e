"""The notebook does what it shows; its submission meets KFP's API as documented, no real server."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "tests" / "kubeflow"))


def test_the_quickstart_runs_as_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nbformat
    from documented_server import DocumentedServer
    from nbclient import NotebookClient

    server = DocumentedServer()
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", server.address)
    path = Path(sys.executable).parent
    monkeypatch.setenv("PATH", f"{path}{os.pathsep}{os.environ['PATH']}")
    notebook = nbformat.read(ROOT / "notebooks" / "quickstart.ipynb", as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells)  # none are committed
    client = NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    )
    client.execute()
    server.shutdown()
    server.server_close()

    outputs = [cell.get("outputs", []) for cell in notebook.cells if cell.cell_type == "code"]
    text = [
        "".join(
            output.get("text")
            or "".join(output.get("data", {}).get("text/html", ""))
            or output.get("data", {}).get("text/plain", "")
            for output in group
        )
        for group in outputs
    ]
    assert "succeeded" in text[1]
    assert "auc" in text[2]
    assert '<iframe sandbox=""' in text[3]
    assert "trip_miles" in text[5]
    assert "errors" in text[6]
    assert "quickstart" not in text[7]
    assert "running" in text[7] or "succeeded" in text[7]
    (run,) = server.runs.values()
    assert run["display_name"] == "quickstart"
    assert (tmp_path / "compiled" / "versions").is_dir()
