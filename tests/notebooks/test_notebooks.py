"""The notebooks do what they show, and their committed outputs are what they show.

`make notebooks` writes the outputs again.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from execute_notebooks import NOTEBOOKS, QUICK, cluster, committed, execute, plain, texts

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("notebooks")


@pytest.fixture(scope="module")
def quickstart(folder: Path) -> Any:
    return execute("quickstart.ipynb", folder, {})


@pytest.fixture(scope="module")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from s3_server import running

    yield from running(tmp_path_factory)


def read(name: str) -> Any:
    import nbformat

    return nbformat.read(NOTEBOOKS / name, as_version=4)


@pytest.mark.parametrize("name", ["quickstart.ipynb", "cluster.ipynb"])
def test_what_is_committed_is_small_and_of_no_machine(name: str) -> None:
    text = (NOTEBOOKS / name).read_text("utf-8")
    assert len(text) < 40_000
    assert [word for word in ("/tmp", "/home", "/root", "127.0.0.1") if word in text] == []


@pytest.mark.parametrize(("name", "silent"), [("quickstart.ipynb", 0), ("cluster.ipynb", 1)])
def test_each_cell_that_shows_something_has_its_output(name: str, silent: int) -> None:
    """Of the cluster's, the first makes the client and shows nothing."""
    code = [cell for cell in read(name).cells if cell.cell_type == "code"]
    assert [bool(cell.outputs) for cell in code] == [False] * silent + [True] * (len(code) - silent)


def same(executed: Any, name: str) -> None:
    """What is shown is what is committed, where outputs are."""
    for found, expected in zip(plain(executed), plain(read(name)), strict=True):
        assert not expected or found == expected


def test_the_quickstart_runs_as_shown(quickstart: Any, folder: Path) -> None:
    shown = texts(quickstart)
    assert "succeeded" in shown[1]
    assert "auc" in shown[2]
    assert shown[3].startswith('<iframe sandbox=""') and shown[4].startswith('<iframe sandbox=""')
    assert shown[5] == f"'{folder}/published/taxi/1'"
    assert "trip_miles" in shown[6]
    assert "prediction" in shown[7]
    assert shown[8].startswith("Inputs ") and shown[8].count("\n") == 1
    assert "0 errors" in shown[9]
    assert (folder / "compiled" / "versions").is_dir()
    same(committed(quickstart, folder), "quickstart.ipynb")


def test_the_run_on_a_cluster_is_as_shown(quickstart: Any, folder: Path, s3_server: Any) -> None:
    """On KFP's API as documented, no real server, and a real S3 server."""
    assert quickstart
    (run,) = (folder / "edgeline-runs").glob("taxi-*")
    with cluster(run, folder / "published" / "taxi" / "1", s3_server) as variables:
        notebook = execute("cluster.ipynb", folder, variables, QUICK)
    shown = texts(notebook)
    assert "auc" in shown[3]
    assert shown[4].count("<details>") == shown[4].count('<iframe sandbox=""') >= 8
    assert shown[6] == "'s3://mlpipeline/models/taxi/1'"
    same(committed(notebook, folder, variables["KF_PIPELINES_ENDPOINT"]), "cluster.ipynb")
