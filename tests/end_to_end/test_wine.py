"""A new dataset needs a module and parameters, nothing else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import Finished, edgeline

from edgeline.artifacts import bundle
from edgeline.artifacts.folder import facts_of
from edgeline.repository import actions, keys
from edgeline.server.updates.order import UpdateOrder
from edgeline.server.updates.synchronise import synchronise

EXAMPLE = Path(__file__).parents[2] / "edgeline" / "starter" / "wine"
MODULE, DATA = EXAMPLE / "wine.py", EXAMPLE / "wine.csv"

PASSPHRASE = "a passphrase that nothing may tell"
ROLES = ("targets", "snapshot", "timestamp")


@pytest.fixture(scope="module")
def wine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    """A run that publishes into a signed repository, with keys from the environment."""
    folder = tmp_path_factory.mktemp("wine")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(keys.PASSPHRASE, PASSPHRASE)
        actions.init(str(folder / "models"), {}, folder / "keys")
        for role in ROLES:
            patch.setenv(f"{role.upper()}_KEY", (folder / "keys" / f"{role}.pem").read_text())
        yield _run(folder)


def _run(folder: Path) -> Finished:
    shutil.copy(DATA, folder / "wine.csv")
    return edgeline(
        folder,
        *("run", "tabular", "--module", str(MODULE)),
        *("--set", "data=wine.csv", "--set", "label=kind", "--set", "label_vocabulary=kind"),
        *("--set", "task=multiclass_classification", "--set", "model_name=wine"),
        *("--set", "destination=models", "--set", "steps=300", "--set", "batch_size=16"),
        *("--set", "signing_keys=" + ",".join(f"env:{role.upper()}_KEY" for role in ROLES)),
        *("--set", f"hyperparameters={json.dumps({'units': 24})}"),
    )


def test_it_runs_to_a_published_bundle(wine: Finished) -> None:
    assert wine.code == 0, wine.output
    published = bundle.read(wine.folder / "models" / "targets" / "wine" / "1")
    assert published.task == "multiclass_classification"
    assert set(published.labels or ()) == {"class_0", "class_1", "class_2"}
    assert "colour" in {tensor.name for tensor in published.signature.inputs}
    assert published.takes == "raw"


def test_a_device_takes_what_was_signed(wine: Finished, tmp_path: Path) -> None:
    repository = wine.folder / "models"
    root = str(repository / "metadata" / "1.root.json")
    found = synchronise(UpdateOrder(str(repository), root, str(tmp_path / "state")))
    assert (found.outcome, list(found.models["wine"])) == ("ok", [1]), found.sentence
    assert "is published" in (wine.run / "logs" / "publish.log").read_text()


def test_no_secret_is_in_the_pipeline_its_logs_or_what_it_wrote(
    wine: Finished, tmp_path: Path
) -> None:
    compiled = edgeline(
        tmp_path,
        *("compile", "tabular", "-o", "tabular.yaml", "--set", "signing_keys=env:TARGETS_KEY"),
    )
    assert compiled.code == 0, compiled.output
    assert "env:TARGETS_KEY" in (tmp_path / "tabular.yaml").read_text()
    secrets = [PASSPHRASE.encode(), b"PRIVATE KEY"]
    for role in ROLES:  # a line of each key, as it is and as JSON would have it
        secrets.append((wine.folder / "keys" / f"{role}.pem").read_bytes().splitlines()[1])
    assert not any(secret in wine.output.encode() for secret in secrets)
    places = (wine.run, wine.folder / "models", tmp_path)
    files = [file for place in places for file in place.rglob("*") if file.is_file()]
    assert len(files) > 50
    told = [f for f in files if any(secret in f.read_bytes() for secret in secrets)]
    assert told == []


def test_it_tells_the_kinds_apart(wine: Finished) -> None:
    metrics = wine.record["tasks"]["analyze"]["outputs"]["evaluation_metrics"]["metadata"]
    assert metrics["accuracy"] > 0.85
    checked = facts_of(wine.record["tasks"]["verify"]["outputs"]["verification"]["uri"])
    assert checked["changed_decisions"] == 0
