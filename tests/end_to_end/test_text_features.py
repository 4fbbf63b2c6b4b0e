"""A model of text, published signed: what LiteRT cannot read is computed beside it, and answers are
the cloud's."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from command import Finished, edgeline

from edgeline.artifacts import bundle, models
from edgeline.artifacts.folder import read
from edgeline.artifacts.vectors import FILE as VECTORS
from edgeline.repository import actions, keys
from edgeline.server.updates.order import UpdateOrder
from edgeline.server.updates.synchronise import synchronise

sys.path.insert(0, str(Path(__file__).parents[1] / "server"))
from running import Running

MODULE = Path(__file__).with_name("text_module.py")
PASSPHRASE = "a passphrase that nothing may tell"
ROLES = ("targets", "snapshot", "timestamp")
HARD = {  # each in place of a row's own
    "code": ["", "no such code", "\u00fcnknown \U0001f695", " zz7 ", "\ufb03 9"],
    "note": ["", " two  blanks ", "\u00e9t\u00e9 chaud", "x" * 10_000, "\t"],
    "when": ["", "yesterday", "1969-12-31 23:59:59.999-12:00", "2024-02-30", "2024-02-29T00:00Z"],
    "weight": ["+1e1", " 2.5\t", "inf", "-Infinity", "0x1p3", "1e-46", "16777217", "00012"],
}  # fmt: skip


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    """A run that publishes into a signed repository, with keys from the environment."""
    folder = tmp_path_factory.mktemp("texts")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(keys.PASSPHRASE, PASSPHRASE)
        actions.init(str(folder / "models"), {}, folder / "keys")
        for role in ROLES:
            patch.setenv(f"{role.upper()}_KEY", (folder / "keys" / f"{role}.pem").read_text())
        yield _run(folder)


def _run(folder: Path) -> Finished:
    notes = ("hot day", "cold night", "hot", "rain", "a cold day")
    rows = [
        f"{('ab', 'CD', ' ef ')[day % 3]}-{13 * day + hour:03},"
        f"2024-03-{day:02} {hour:02}:{day:02}Z,{notes[(day + hour) % 5]},"
        f"{(7 * day + hour) % 9}.25,{'yes' if 6 < hour < 15 else 'no'}"
        for day in range(1, 25)
        for hour in range(24)
    ]
    (folder / "trips.csv").write_text("\n".join(["code,when,note,weight,late", *rows]) + "\n")
    types = '{"code": "string", "when": "string", "note": "string", "weight": "string"}'
    return edgeline(
        folder,
        *("run", "tabular", "--module", str(MODULE), "--set", f"column_types={types}"),
        *("--set", "data=trips.csv", "--set", "label=late", "--set", "model_name=trips"),
        *("--set", "task=binary_classification", "--set", "destination=models"),
        *("--set", "steps=40", "--set", "batch_size=16", "--set", "quantisation=float"),
        *("--set", "signing_keys=" + ",".join(f"env:{role.upper()}_KEY" for role in ROLES)),
    )


@pytest.fixture(scope="module")
def published(texts: Finished) -> Path:
    assert texts.code == 0, texts.output
    return texts.folder / "models" / "targets" / "trips" / "1"


def test_the_manifest_declares_what_is_computed_before_the_file(published: Path) -> None:
    manifest = bundle.read(published)
    assert (manifest.takes, manifest.format) == ("raw", "bundle/v3")
    assert [each.name for each in manifest.features] == ["code", "note", "weight", "when"]
    assert {"Substr", "StringToNumber", "StaticRegexReplace", "StringToHashBucketFast"} <= {
        *manifest.host_operations.operators
    }
    assert VECTORS in manifest.files


def test_the_probes_of_text_were_answered_alike_or_refused_by_both(published: Path) -> None:
    probes = bundle.read(published).verification["probes"]
    assert probes["at_fault"] == 0
    assert probes["asked"] > 50 and 0 < probes["refused_by_both"] < probes["asked"] / 2


def test_verify_and_the_card_name_them(texts: Finished, published: Path) -> None:
    told = edgeline(texts.folder, "verify", str(published))
    assert told.code == 0, told.output
    assert "host operations" in told.output and "StringToNumber" in told.output
    page = Path(texts.record["tasks"]["model-card"]["outputs"]["model_card"]["uri"]).read_text()
    assert "StringToNumber" in page and "host operations" in page


def test_the_server_answers_as_the_cloud_model(texts: Finished, published: Path) -> None:
    model = read(texts.record["tasks"]["train"]["outputs"]["model"]["uri"], models.SCHEMA)
    cloud, takes = models.load_signature(model, models.SERVING)
    usual = {"code": "AB-042", "note": "hot day", "when": "2024-03-04 05:06Z", "weight": "3.25"}
    rows = [{**usual, name: value} for name, values in HARD.items() for value in values]
    arrays = {
        each.name: np.array([[row[each.name].encode()] for row in rows], object) for each in takes
    }
    wanted = cloud(arrays)["prediction"]
    server = Running(published.parents[1], "--poll=0")
    try:
        asked = {"instances": [{name: [value] for name, value in row.items()} for row in rows]}
        status, answer, _ = server.ask("POST", "/v1/models/trips:predict", asked)
        assert status == 200, answer
        np.testing.assert_allclose(
            np.array(answer["predictions"]).reshape(-1, 1), wanted, atol=1e-6
        )
        asked["instances"][2] = {**asked["instances"][2], "weight": ["heavy"]}
        status, answer, _ = server.ask("POST", "/v1/models/trips:predict", asked)
        assert status == 400
        assert "Instance 2 (from 0): StringToNumber of 'weight' refuses 'heavy'" in answer["error"]
    finally:
        server.stop()


def test_a_device_takes_what_was_signed(texts: Finished, tmp_path: Path) -> None:
    repository = texts.folder / "models"
    root = str(repository / "metadata" / "1.root.json")
    found = synchronise(UpdateOrder(str(repository), root, str(tmp_path / "state")))
    assert (found.outcome, list(found.models["trips"])) == ("ok", [1]), found.sentence
    assert "is published" in (texts.run / "logs" / "publish.log").read_text()


def test_no_secret_is_in_the_pipeline_its_logs_or_what_it_wrote(
    texts: Finished, tmp_path: Path
) -> None:
    compiled = edgeline(
        tmp_path,
        *("compile", "tabular", "-o", "tabular.yaml", "--set", "signing_keys=env:TARGETS_KEY"),
    )
    assert compiled.code == 0, compiled.output
    assert "env:TARGETS_KEY" in (tmp_path / "tabular.yaml").read_text()
    secrets = [PASSPHRASE.encode(), b"PRIVATE KEY"]
    for role in ROLES:  # a line of each key, as it is and as JSON would have it
        secrets.append((texts.folder / "keys" / f"{role}.pem").read_bytes().splitlines()[1])
    assert not any(secret in texts.output.encode() for secret in secrets)
    places = (texts.run, texts.folder / "models", tmp_path)
    files = [file for place in places for file in place.rglob("*") if file.is_file()]
    assert len(files) > 50
    told = [f for f in files if any(secret in f.read_bytes() for secret in secrets)]
    assert told == []
