"""Imported float LiteRT files: quantised, compared with the file as it came, published."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgeline import artifacts
from edgeline.artifacts import bundle, models
from edgeline.components.convert import recipes
from edgeline.components.convert.convert import convert, convert_arrays
from edgeline.components.import_model.import_model import import_model, kind_of
from edgeline.components.import_model.wanted import Wanted
from edgeline.components.ingest.ingest import ingest
from edgeline.components.model_card.model_card import model_card
from edgeline.components.publish.publish import publish
from edgeline.components.verify.findings import Limits
from edgeline.components.verify.verify import verify
from edgeline.errors import EdgelineError
from edgeline.formats import tflite
from edgeline.formats.packing import packed

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
DATA = ROOT / "tests/data"
ROWS = 60
WEIGHTS = {"dynamic": "INT8", "int8": "INT8", "int16x8": "INT8", "dynamic_wi4_afp32": "INT4"}
GIVES = {"int8": "INT8", "int16x8": "INT16"}  # what its convolutions compute


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """Digits as `examples/v1`, with a split `train` and a split `eval`."""
    folder = tmp_path_factory.mktemp("digits")
    pq.write_table(
        pq.read_table(ROOT / "pipelines/digits/digits.parquet").slice(0, ROWS), folder / "d.parquet"
    )
    ratios = {"train": 1, "eval": 1}
    ingest(
        str(folder / "d.parquet"),
        folder / "digits",
        split_ratios=ratios,
        images={"image": [28, 28, 1]},
    )
    return folder / "digits"


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("imported") / "cnn"
    source = DATA / "cnn_float.tflite"
    facts = import_model(str(source), str(folder), wanted=Wanted(label="label"))
    assert kind_of(facts) == "tflite-float"
    return folder


@pytest.fixture
def run(imported, digits, tmp_path):
    def run(quantisation, **parameters):
        page = str(tmp_path / "report.html")
        done = convert(
            str(imported), str(digits), str(tmp_path / "edge"), page, quantisation, **parameters
        )
        return done, tflite.read(tmp_path / "edge/model.tflite").subgraphs[0]

    return run


@pytest.mark.parametrize("quantisation", WEIGHTS)
def test_a_float_file_is_quantised(run, imported, tmp_path, quantisation):
    done, graph = run(quantisation)
    facts = artifacts.read(tmp_path / "edge", models.EDGE_SCHEMA).metadata
    assert facts["quantisation"] == quantisation
    assert facts["model_digest"] == artifacts.read(imported, models.EDGE_SCHEMA).digest
    assert facts["origin"].keys() == {"source", "kind", "sha256", "revision"}
    assert kind_of(facts) == "tflite"  # no longer float
    assert facts["representative"]["split"] == "train"
    assert facts["source_size"] == (DATA / "cnn_float.tflite").stat().st_size > facts["size"]
    assert 0 < done.metrics["max_difference"] < (0.05 if WEIGHTS[quantisation] == "INT8" else 0.3)
    assert WEIGHTS[quantisation] in {tensor.dtype for tensor in graph.tensors if tensor.constant}
    gives = {graph.tensors[o.outputs[0]].dtype for o in graph.operators if "CONV" in o.name}
    assert gives == {GIVES.get(quantisation, "FLOAT32")}
    assert [graph.tensors[index].dtype for index in graph.inputs] == ["FLOAT32"]
    page = (tmp_path / "report.html").read_text()
    assert "imported LiteRT file" in page and "cloud" not in page.lower()
    assert "Layers that lose most" in page


def test_float_leaves_the_file_as_it_is(run, tmp_path):
    done, _ = run("float")
    assert (tmp_path / "edge/model.tflite").read_bytes() == (DATA / "cnn_float.tflite").read_bytes()
    assert done.metrics["max_difference"] == 0


def test_a_recipe_file_keeps_a_layer_and_integers_go_in(run, tmp_path):
    rules = [*recipes.named("static_wi8_ai8")]
    rules.append({"regex": "depthwise", "operation": "*", "algorithm_key": "no_quantize"})
    (tmp_path / "mixed.json").write_text(json.dumps(rules))
    done, graph = run(str(tmp_path / "mixed.json"), io="int8")
    assert (done.metadata["quantisation"], done.metadata["recipe"]) == ("recipe", rules)
    gives = {o.name: graph.tensors[o.outputs[0]].dtype for o in graph.operators}
    assert (gives["CONV_2D"], gives["DEPTHWISE_CONV_2D"]) == ("INT8", "FLOAT32")
    signature = models.edge_signature(artifacts.read(tmp_path / "edge", models.EDGE_SCHEMA))
    assert signature.inputs[0].dtype == signature.outputs[0].dtype == "int8"


def test_the_same_rows_give_the_same_bytes(run, tmp_path):
    found = []
    for _ in range(2):
        run("int8")
        found.append((tmp_path / "edge/model.tflite").read_bytes())
    assert found[0] == found[1]


def test_it_is_held_to_the_file_and_published_as_not_evaluated(run, imported, digits, tmp_path):
    run("int8", io="int8")
    result = verify(
        imported,
        tmp_path / "edge",
        digits,
        tmp_path / "verification",
        tmp_path / "page.html",
        Limits(max_metric_drop=0.1),
    )
    assert result.approved, result.metadata["reasons"]
    assert result.metadata["original"] == "the file as it came, in LiteRT's reference kernels"
    assert 0 < result.metadata["max_difference"] < 0.05
    assert result.metadata["limits"]["max_changed_decisions"] == 1.0  # the metrics judge
    vectors = json.loads((tmp_path / "verification/test_vectors.json").read_text())
    assert vectors["tolerance"] == 0.02
    published = publish(
        edge_model_path=tmp_path / "edge",
        verification_path=tmp_path / "verification",
        bundle_path=tmp_path / "bundle",
        name="cnn",
        destination=str(tmp_path / "store"),
    )
    manifest = bundle.read(published.uri)
    assert not manifest.evaluated
    assert manifest.quantisation == "int8"
    assert manifest.provenance["origin"]["sha256"] == artifacts.sha256(DATA / "cnn_float.tflite")
    edges = [str(imported), str(tmp_path / "edge")]
    model_card(tmp_path / "card.html", edge_model_paths=edges)
    assert "not evaluated" in (tmp_path / "card.html").read_text()


def test_what_was_made_of_another_file_is_not_held_to_it(run, digits, tmp_path):
    run("dynamic")
    import_model(str(DATA / "cnn_float.tflite"), str(tmp_path / "other"))
    rest = (digits, tmp_path / "v", tmp_path / "p.html", Limits())
    with pytest.raises(EdgelineError, match=r"is not the imported model .*other, nor made of it"):
        verify(tmp_path / "other", tmp_path / "edge", *rest)
    with pytest.raises(EdgelineError, match="edge is converted, not imported: connect the model"):
        verify(tmp_path / "edge", tmp_path / "edge", *rest)


def test_a_fixed_batch_is_calibrated_row_by_row(tmp_path):
    model = schema.ModelT.InitFromPackedBuf((DATA / "cnn_float.tflite").read_bytes(), 0)
    for tensor in model.subgraphs[0].tensors:
        tensor.shapeSignature = None  # which had -1 for the batch
    (tmp_path / "one.tflite").write_bytes(packed(model))
    import_model(str(tmp_path / "one.tflite"), str(tmp_path / "one"))
    rows = np.random.default_rng(0).random((30, 28, 28, 1), np.float32)
    arrays = {"image": rows}
    done = convert_arrays(
        str(tmp_path / "one"), arrays, str(tmp_path / "edge"), str(tmp_path / "r.html"), "int8"
    )
    assert 0 < done.metrics["max_difference"] < 0.05


@pytest.mark.parametrize("quantisation", ["int8", "int16x8"])
def test_values_that_vanish_get_a_range_that_litert_computes_with(tmp_path, imported, quantisation):
    rows = {"image": np.full((20, 28, 28, 1), 1e-12, np.float32)}
    out, page = str(tmp_path / "edge"), str(tmp_path / "r.html")
    done = convert_arrays(str(imported), rows, out, page, quantisation)
    assert done.metrics["max_difference"] < 0.01


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"quantisation": "fp16"}, "'fp16', which needs a SavedModel, but .* is a LiteRT file"),
        ({"quantisation": "auto"}, "'auto', which needs a SavedModel"),
        ({"quantisation": "int8", "io": "uint8"}, "io is 'uint8', which ai-edge-quantizer lacks"),
        ({"quantisation": "int8", "batch": 1}, "batch is 1, but .* keeps its own: set batch to 0"),
        ({"quantisation": "int8", "per_channel": False}, "the granularity is TENSORWISE"),
        ({"quantisation": "int8", "representative_rows": 3}, "needs at least 20"),
    ],
)
def test_what_a_file_cannot_become_is_said(run, tmp_path, parameters, sentence):
    with pytest.raises(EdgelineError, match=sentence):
        run(**parameters)
    assert not (tmp_path / "edge").exists()


def test_a_file_that_is_quantised_already_is_taken_as_it_is(digits, tmp_path):
    for name in ("dynamic", "int8"):
        facts = import_model(str(DATA / f"cnn_{name}.tflite"), str(tmp_path / name))
        assert kind_of(facts) == "tflite"
        with pytest.raises(EdgelineError, match=f"that is {name} already: take it as it is, or"):
            convert(str(tmp_path / name), str(digits), str(tmp_path / "edge"), "")
