"""Models that nobody evaluated: published only where they were imported, and never silently."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeline import artifacts
from edgeline.artifacts import bundle, models
from edgeline.components.import_model.import_model import import_model
from edgeline.components.model_card.model_card import model_card
from edgeline.components.publish.publish import publish
from edgeline.errors import EdgelineError
from edgeline.server.models.loading import load
from edgeline.sites.render import render
from edgeline.sites.settings import SiteSettings

ORIGIN = {"source": "hf://a/b@c/m.tflite", "kind": "tflite", "sha256": "5" * 64, "revision": "c"}


@pytest.fixture
def imported(inputs, tmp_path):
    """The arguments of publish for a model with an origin; `schema` says of which form."""

    def write(schema=models.EDGE_SCHEMA, origin=ORIGIN, **facts):
        given = inputs(**facts)
        trained = artifacts.read(given["edge_model_path"], models.EDGE_SCHEMA)
        edge, verification = tmp_path / "edge", tmp_path / "verification"
        with artifacts.writing(edge, schema) as draft:
            for name in trained.files:
                (draft.path / name).write_bytes((trained.path / name).read_bytes())
            if schema == models.ONNX_SCHEMA:
                (draft.path / "model.tflite").unlink()
                (draft.path / "model.onnx").write_bytes(b"\x08\x09 some onnx")
            draft.metadata.update({**trained.metadata, "origin": {**origin, "file": "model"}})
        with artifacts.writing(verification, "verification/v1") as draft:
            draft.metadata["approved"] = facts.get("approved", True)
            draft.metadata["edge_model_digest"] = models.read_edge(edge).digest
        return {
            "edge_model_path": edge,
            "verification_path": verification,
            "bundle_path": tmp_path / "output",
            "name": "cat",
            "destination": str(tmp_path / "store"),
        }

    return write


def test_it_is_published_and_says_that_nobody_evaluated_it(imported, tmp_path):
    publish(**imported())
    found = bundle.read(tmp_path / "store/cat/1")
    assert not found.evaluated
    assert found.provenance["evaluation"] == "not evaluated"
    assert found.provenance["origin"] == ORIGIN
    assert found.target == "litert"


def test_a_model_that_was_trained_here_is_not(inputs, tmp_path):
    given = {name: path for name, path in inputs().items() if name != "evaluation_path"}
    with pytest.raises(EdgelineError, match="trained here and has no evaluation: connect that of"):
        publish(
            **given, bundle_path=tmp_path / "o", name="taxi", destination=str(tmp_path / "store")
        )
    assert not (tmp_path / "store/taxi").exists()


def test_approval_is_needed_all_the_same(imported):
    with pytest.raises(EdgelineError, match="because verify did not approve it"):
        publish(**imported(approved=False))


def test_an_evaluation_that_was_made_counts(imported, tmp_path):
    for blessed in (False, True):
        with artifacts.writing(tmp_path / str(blessed), "evaluation/v1") as draft:
            draft.metadata["blessed"] = blessed
    with pytest.raises(EdgelineError, match="because analyze did not bless it"):
        publish(**imported(), evaluation_path=tmp_path / "False")
    publish(**imported(), evaluation_path=tmp_path / "True")
    found = bundle.read(tmp_path / "store/cat/1")
    assert found.evaluated
    assert "evaluation" not in found.provenance
    assert found.provenance["origin"] == ORIGIN


def test_an_onnx_model_is_a_bundle_that_sites_decline(imported, tmp_path):
    publish(**imported(models.ONNX_SCHEMA, {**ORIGIN, "kind": "onnx"}))
    folder = tmp_path / "store/cat/1"
    found = bundle.read(folder)
    assert (found.target, found.model) == ("onnx", "model.onnx")
    with pytest.raises(EdgelineError, match=r"model\.onnx is not a model that runs here"):
        load(folder, "cat", 1, 1, 1)
    with pytest.raises(
        EdgelineError, match=r"made for onnx, .*`edgeline site push` makes an image"
    ):
        render(str(folder), SiteSettings("compose"), "ghcr.io/acme/models", str(tmp_path / "site"))
    assert not (tmp_path / "site").exists()


def test_the_card_of_an_imported_model_says_it(tmp_path):
    source = Path(__file__).parents[2] / "data" / "cnn_int8.tflite"
    import_model(str(source), str(tmp_path / "edge"))
    with artifacts.writing(tmp_path / "evaluation", "evaluation/v1") as draft:
        draft.metadata["blessed"] = True
    pages = []
    for evaluation in ("", str(tmp_path / "evaluation")):
        page = tmp_path / "card.html"
        model_card(page, edge_model_paths=[str(tmp_path / "edge")], evaluation_path=evaluation)
        pages.append(page.read_text())
    assert "not evaluated" in pages[0]
    assert "cnn_int8.tflite" in pages[0]
    assert "not evaluated" not in pages[1]
    assert "blessed" in pages[1]
