"""README.md's blocks as they are printed, in order, in one folder. What a cluster would answer
comes from KFP's API as documented (see tests/kubeflow)."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from command import DIGITS_RUN, Finished
from readme import ROOT, Block, Reader, blocks, words

from edgeline.artifacts import bundle

sys.path.append(str(ROOT / "tests" / "kubeflow"))

BLOCKS = blocks()
NOT_RUN = {
    "make test": "it runs these tests",
    "edgeline run digits": "test_digits.py does, in `make long` exactly so",
}


@pytest.fixture(scope="module")
def kubeflow() -> Iterator[Any]:
    from documented_server import DocumentedServer

    server = DocumentedServer()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory, kubeflow: Any) -> Reader:
    folder = tmp_path_factory.mktemp("readme")
    reader = Reader(folder / "clone", folder / "state")
    port = kubeflow.server_address[1]
    reader.export(
        PYTHONPATH=str(reader.state / "hosts"), README_HOSTS=f"ml-pipeline.kubeflow={port}"
    )
    return reader


@pytest.mark.parametrize(
    "block", BLOCKS, ids=lambda block: " ".join(block.text.split("#")[0].split()[:3])
)
def test_a_block_does_what_it_shows(block: Block, reader: Reader) -> None:
    assert block.language in ("sh", "python")
    if block.language == "python":
        reader.python(block.text)
        return
    for command in block.commands:
        if any(command.startswith(known) for known in NOT_RUN):
            continue
        if command.startswith("make run"):
            (recipe,) = re.findall(
                r"^run:.*\n\t\$\(BIN\)/(.*)$", (ROOT / "Makefile").read_text(), re.M
            )
            reader.run(f". .venv/bin/activate; {recipe}; deactivate")
        elif command.startswith("edgeline serve"):
            reader.serve(command)
        else:
            reader.run(command)


def test_what_is_not_run_here_is_printed_and_run_elsewhere() -> None:
    printed = [command for block in BLOCKS if block.language == "sh" for command in block.commands]
    for known in NOT_RUN:
        assert [command for command in printed if command.startswith(known)], known
    (digits,) = [command for command in printed if command.startswith("edgeline run digits")]
    assert words(digits) == ["edgeline", *DIGITS_RUN]


def test_the_module_that_is_shown_is_the_one_of_the_example() -> None:
    shown = [block.text for block in BLOCKS if block.language == "python"]
    assert shown[0] == (ROOT / "edgeline" / "starter" / "wine" / "wine.py").read_text()


def test_every_pipeline_has_published(reader: Reader) -> None:
    for folder, name in (
        ("coldstore/models", "coldstore"),
        ("models", "wine"),
        ("models", "digits"),
        ("edgeline-models", "taxi"),
    ):
        assert bundle.read(reader.clone / folder / name / "1").name == name
    digits = bundle.read(reader.clone / "models" / "digits" / "1")
    assert (digits.quantisation, digits.evaluated) == ("dynamic", False)


def test_two_runs_make_the_same_bytes(reader: Reader, taxi: Finished) -> None:
    """`make run` and a run elsewhere, which took nothing from it; the client's run took all."""
    first, again = sorted((reader.clone / "edgeline-runs").glob("taxi-*"))
    states = {
        task["state"] for task in json.loads((again / "run.json").read_text())["tasks"].values()
    }
    assert "cached" in states
    assert taxi.run is not None
    second = taxi.run
    for pattern in (
        "*/ingest/examples/*/*.parquet",
        "*/transform/transform_graph/transform_fn/assets/*",
        "*/transform/transformed_examples/*/*.parquet",
        "*/convert/edge_model/model.tflite",
    ):
        kept, made = (sorted(run.glob(pattern)) for run in (first, second))
        assert len(kept) == len(made) > 0, pattern
        for one, other in zip(kept, made, strict=True):
            assert one.read_bytes() == other.read_bytes(), one


def test_what_is_compiled_has_no_error_and_the_schedule_is_there(
    reader: Reader, kubeflow: Any
) -> None:
    assert "0 errors" in reader.output["edgeline lint environments manifests"]
    (run,) = kubeflow.recurring.values()
    assert run["display_name"] == "taxi-nightly"
    (version,) = kubeflow.versions.values()  # which `edgeline submit` uploaded
    assert (
        run["pipeline_version_reference"]["pipeline_version_id"] == version["pipeline_version_id"]
    )


def test_git_ignores_all_that_is_left_behind(reader: Reader) -> None:
    left = [
        f"{entry.name}/" if entry.is_dir() else entry.name
        for entry in reader.clone.iterdir()
        if entry.name != "manifests"
    ]
    assert {"edgeline-runs/", "keys/", "root.json", "fleet/", "state/"} <= set(left)
    done = subprocess.run(
        ["git", "-c", "core.quotepath=off", "check-ignore", "--no-index", *left],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode == 128:
        pytest.skip("this is not a Git checkout")
    assert set(left) - set(done.stdout.split()) == set()
