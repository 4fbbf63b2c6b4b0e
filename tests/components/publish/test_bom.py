"""`bom.cdx.json` of a bundle, held to the official schema by CycloneDX's own library."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from referees import HERE, PYTHON, needs_referees

from edgeline import artifacts
from edgeline.artifacts import bundle as bundles
from edgeline.artifacts import declared_card, models
from edgeline.components.publish.publish import publish
from edgeline.errors import EdgelineError, UsageError

pytestmark = pytest.mark.slow

CARD = {
    "intended_use": "Says whether a trip ends with a large tip. <Not> for wages.",
    "owner": "Mobility & Co, mobility@example.com",
    "data": "Trips of 2015, published by the city.",
    "limits": "Trips outside the city.",
    "ethics": "Neighbourhoods stand for people: ü, 漢.",
    "licence": "Apache-2.0",
}


@pytest.fixture
def send(inputs, tmp_path):
    def call(changed: dict[str, Any] | None = None, **more: Any) -> tuple[int, Path]:
        """The version, and its folder in the store."""
        output = tmp_path / "outputs" / str(len(list(tmp_path.glob("outputs/*"))))
        published = publish(
            **{**inputs(b"one"), **(changed or {})},
            bundle_path=output,
            name="taxi",
            destination=str(tmp_path / "store"),
            **more,
        )
        return published.version, Path(published.uri)

    return call


def told(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "bom.cdx.json").read_text())
    return found


def faults(*folders: Path) -> str:
    """What CycloneDX's library finds in their bills of materials."""
    command = [PYTHON, HERE / "bom_referee.py", *(each / "bom.cdx.json" for each in folders)]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout + done.stderr


def stated(component: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each["value"] for each in component["properties"]}


def test_it_says_what_is_declared_and_known(send):
    _, folder = send(card=CARD)
    found = told(folder)
    model = found["metadata"]["component"]
    assert model["type"] == "machine-learning-model"
    assert model["supplier"] == {"name": CARD["owner"]}
    assert model["licenses"] == [{"license": {"name": "Apache-2.0"}}]
    said = model["modelCard"]["considerations"]
    assert said["useCases"] == [CARD["intended_use"]]
    assert said["technicalLimitations"] == [CARD["limits"]]
    assert said["ethicalConsiderations"] == [{"name": CARD["ethics"]}]
    metrics = model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    assert {"type": "auc", "value": "0.9"} in metrics
    assert model["modelCard"]["modelParameters"]["inputs"] == [{"format": "miles: float32[?, 1]"}]
    assert stated(model)["edgeline:takes"] == "raw"
    assert "edgeline:not_stated" not in stated(model)
    data = next(each for each in found["components"] if each["type"] == "data")
    assert CARD["data"] in data["data"][0]["description"]
    assert stated(data) == {"edgeline:examples_digest": "d1"}


def test_every_file_stands_in_it_with_its_digest(send):
    _, folder = send()
    listed = {
        each["name"]: each["hashes"][0]["content"]
        for each in told(folder)["components"]
        if each["type"] == "file"
    }
    others = {"manifest.json", "bom.cdx.json"}
    files = [path for path in folder.iterdir() if path.name not in others]
    assert listed == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    assert "bom.cdx.json" in bundles.read(folder).files


def test_what_nobody_says_is_named(send):
    _, folder = send(card={"owner": "me", "ethics": " "})
    said = stated(told(folder)["metadata"]["component"])["edgeline:not_stated"]
    assert said == "intended use, data, limits, ethics, licence"


@pytest.fixture
def imported(inputs, send, tmp_path) -> Path:
    """The folder of a model that was trained elsewhere, and that nobody evaluated."""
    given = inputs(b"one")
    trained = artifacts.read(given["edge_model_path"], models.EDGE_SCHEMA)
    with artifacts.writing(tmp_path / "edge", models.EDGE_SCHEMA) as draft:
        for name in trained.files:
            (draft.path / name).write_bytes((trained.path / name).read_bytes())
        origin = {"source": "hf://a/b@c/m.tflite", "kind": "tflite", "sha256": "5" * 64}
        software = {"tensorflow": "2.21.0"}
        draft.metadata |= {**trained.metadata, "origin": origin, "software": software}
    with artifacts.writing(tmp_path / "verification", "verification/v1") as draft:
        made = models.read_edge(tmp_path / "edge").digest
        draft.metadata |= {"approved": True, "edge_model_digest": made}
    places = {"edge_model_path": tmp_path / "edge", "verification_path": tmp_path / "verification"}
    return send({**places, "evaluation_path": ""})[1]


def test_an_imported_model_says_so_and_whence(imported):
    model = told(imported)["metadata"]["component"]
    assert model["pedigree"]["ancestors"][0]["name"] == "hf://a/b@c/m.tflite"
    assert model["pedigree"]["ancestors"][0]["hashes"][0]["content"] == "5" * 64
    assert stated(model)["edgeline:evaluation"] == "not evaluated"
    assert "approach" not in model["modelCard"]["modelParameters"]
    data, *_, library = told(imported)["components"]
    assert "trained on is not known" in data["data"][0]["description"]
    assert library["purl"] == "pkg:pypi/tensorflow@2.21.0"


@needs_referees
def test_the_official_schema_takes_it(send, imported, tmp_path):
    """Of a whole card, of none, and of an imported model; a field of no schema is found."""
    assert not faults(send(card=CARD)[1], send()[1], imported)
    (tmp_path / "bom.cdx.json").write_text(json.dumps({**told(imported), "owner": "me"}))
    assert "owner" in faults(tmp_path)


def test_the_same_model_is_the_same_version_and_another_card_is_not(send, inputs):
    first = send(card=CARD, run_id="1")
    assert send(card=CARD, run_id="2") == first
    assert send(inputs(b"one", latency=2.0), card=CARD)[0] == 1  # a measurement, which differs
    version, folder = send(card={**CARD, "licence": "MIT"})
    assert version == 2
    assert told(folder)["serialNumber"] != told(first[1])["serialNumber"]


@pytest.mark.parametrize(
    ("card", "said"),
    [
        ({"owners": "me"}, r"card\.owners: there is no such field\. Did you mean owner"),
        ({"owner": 3}, r"card\.owner is '3', but must be a text"),
        ({"data": "x" * 700, "limits": "x" * 700}, "card has 1400 characters, .* room for 1200"),
    ],
)
def test_a_card_that_cannot_be_is_refused(card, said, send, tmp_path):
    with pytest.raises(EdgelineError, match=said):
        send(card=card)
    assert not (tmp_path / "store").exists()


def test_a_card_may_be_a_file(tmp_path):
    file = tmp_path / "card.yaml"
    file.write_text("owner: me\nlimits: |\n  One line,\n  and another.\n")
    assert declared_card.read(file) == {"owner": "me", "limits": "One line, and another."}
    file.write_text("owner: me\nlicense: MIT\n")
    with pytest.raises(
        UsageError, match=r"card\.yaml\.license: there is no such field\. .*licence"
    ):
        declared_card.read(file)
    file.write_text("- owner\n")
    with pytest.raises(UsageError, match="is not a model card"):
        declared_card.read(file)
