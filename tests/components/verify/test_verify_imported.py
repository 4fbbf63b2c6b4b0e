"""Imported files compared with themselves: real LiteRT models, ONNX, and what must not pass."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ai_edge_litert.schema_py_generated import ModelT
from make_onnx import onnx_model
from PIL import Image

from edgeline import artifacts
from edgeline.artifacts import bundle, models, pixels
from edgeline.artifacts.bundle import Tensor
from edgeline.components.check.check import check
from edgeline.components.compile.compile import compile_edge_model
from edgeline.components.convert.convert import convert
from edgeline.components.import_model.import_model import import_model
from edgeline.components.import_model.wanted import Wanted
from edgeline.components.ingest.ingest import ingest
from edgeline.components.publish.publish import publish
from edgeline.components.verify.findings import Limits
from edgeline.components.verify.malformed import KINDS
from edgeline.components.verify.verify import verify as work
from edgeline.components.verify.verify_bundle import verify_bundle
from edgeline.errors import EdgelineError
from edgeline.formats.quantisation import INT8
from edgeline.runtimes import child, interpreter, original
from edgeline.server.models.loading import load

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
CORAL = ROOT / "tests/data/coral"
LSTM = CORAL / "keras_lstm_mnist_ptq.tflite"
MOBILENET = CORAL / "mobilenet_v1_0.25_128_quant.tflite"
DIGITS = ROOT / "pipelines/digits/digits.parquet"
ROWS, PIECES, MACAW = 40, 12, 89


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Examples `digits`, and `macaws`: pieces of a photograph, `label` and `bird` as labels."""
    folder = tmp_path_factory.mktemp("imported")
    digits = pq.read_table(DIGITS).slice(0, ROWS)
    names = (CORAL / "imagenet_labels.txt").read_text().splitlines()
    pieces = pa.array(_pieces(CORAL / "parrot.jpg"))
    labels = {"label": pa.array([MACAW] * PIECES), "bird": pa.array([names[MACAW]] * PIECES)}
    macaws = pa.table({"image": pieces, **labels})
    for name, rows, size in (("digits", digits, [28, 28, 1]), ("macaws", macaws, [128, 128, 3])):
        pq.write_table(rows, folder / f"{name}.parquet")
        ingest(
            str(folder / f"{name}.parquet"),
            folder / name,
            split_ratios={"eval": 1},
            images={"image": size},
        )
    return folder


def _pieces(photograph):
    """PNG files: squares of a photograph, large ones around its middle."""
    random = np.random.default_rng(0)
    found = []
    with Image.open(photograph) as picture:
        for _ in range(PIECES):
            side = int(random.uniform(0.8, 1) * min(picture.size))
            left, top = (int(random.integers(0, size - side + 1)) for size in picture.size)
            stream = io.BytesIO()
            piece = picture.crop((left, top, left + side, top + side))
            piece.resize((128, 128)).save(stream, "PNG")
            found.append(stream.getvalue())
    return found


@pytest.fixture(scope="module")
def take(folder):
    """import_model by the path of a file, with an input `image`."""

    def run(name, source, labels="", **wanted):
        rename = {MOBILENET: {"input": "image"}, LSTM: {"x": "image"}}.get(source, {})
        import_model(
            str(source), str(folder / name), labels=labels, wanted=Wanted(rename=rename, **wanted)
        )
        return folder / name

    return run


@pytest.fixture(scope="module")
def mobilenet(take):
    return take("mobilenet", MOBILENET, label="label")


@pytest.fixture
def verify(folder, tmp_path):
    def run(model, edge=None, data="macaws", limits=Limits(), **parameters):  # noqa: B008
        return work(
            model_path=model,
            edge_model_path=edge or model,
            examples_path=folder / data,
            verification_path=tmp_path / "verification",
            verification_report_path=tmp_path / "report.html",
            limits=limits,
            **parameters,
        )

    return run


def test_a_real_litert_model_is_held_to_its_file_on_every_row(verify, mobilenet, tmp_path):
    result = verify(mobilenet)
    assert result.approved, result.metadata["reasons"]
    found = result.metadata
    assert found["rows"] == PIECES
    assert found["original"] == "the file as it came, in LiteRT's reference kernels"
    accuracy = found["metrics"]["accuracy"]
    assert accuracy["cloud"] > 0.8  # it meets pixels as it was trained on them
    assert accuracy["cloud"] - accuracy["edge"] <= 0.01
    assert found["malformed"]["kinds"] == len(KINDS)
    assert found["model_digest"] == found["edge_model_digest"]
    recorded = json.loads((tmp_path / "verification/test_vectors.json").read_text())
    assert recorded["tolerance"] == max(0.02, 2 * found["max_difference"])  # as kernels differ
    files = artifacts.read(tmp_path / "verification", "verification/v1").files
    assert {"test_vectors.json", "reference.json"} <= files.keys()
    page = (tmp_path / "report.html").read_text()
    assert "the file as it came" in page
    assert "cloud" not in page.lower()


def test_the_file_as_it_came_lies_beside_the_model(mobilenet):
    facts = artifacts.read(mobilenet, models.EDGE_SCHEMA).metadata["origin"]
    kept = artifacts.sha256(mobilenet / facts["file"])
    assert kept == facts["sha256"] == artifacts.sha256(MOBILENET)


def test_names_as_labels_count_as_their_classes(take):
    labels = str(CORAL / "imagenet_labels.txt")
    model = original.load(take("named", MOBILENET, labels, label="bird", label_type="string"))
    birds = np.array([[b"macaw"], [b"dodo"], [b"tench, Tinca tinca"]], object)
    rows = {"image": np.zeros((3, 128, 128, 3), np.float32), "bird": birds}
    assert model.evaluate(rows)["label"].ravel().tolist() == [MACAW, -1, 1]
    assert [feature.name for feature in model.takes] == ["image", "bird"]


def test_a_model_that_keeps_a_state_between_rows_is_refused(verify, take):
    result = verify(take("lstm", LSTM), data="digits")
    assert not result.approved
    assert "good rows get another answer afterwards" in result.metadata["reasons"][0]


def test_a_model_that_the_import_or_another_tool_changed_is_found(verify, mobilenet, folder):
    changed = folder / "changed"
    source = artifacts.read(mobilenet, models.EDGE_SCHEMA)
    with artifacts.writing(changed, models.EDGE_SCHEMA) as draft:
        for name in source.files:
            shutil.copy(source.path / name, draft.path / name)
        data = (draft.path / "model.tflite").read_bytes()
        buffers = ModelT.InitFromPackedBuf(data, 0).buffers
        weights = max((bytes(b.data) for b in buffers if b.data is not None), key=len)
        assert data.count(weights) == 1
        (draft.path / "model.tflite").write_bytes(data.replace(weights, weights[::-1]))
        draft.metadata.update(source.metadata)
    result = verify(changed)
    assert not result.approved
    reasons = " ".join(result.metadata["reasons"])
    assert "decisions change" in reasons
    assert "in the file as it came to" in reasons


def test_without_labels_the_decisions_of_the_file_count(take):
    model = original.load(take("unlabelled", MOBILENET))
    assert not model.labelled
    answer = model.evaluate({"image": np.zeros((2, 128, 128, 3), np.float32)})
    assert np.isnan(answer["label"]).all()
    limits = Limits().resolved(INT8, "multiclass_classification", judged=False)
    assert (limits.max_difference, limits.max_changed_decisions) == (float("inf"), 0.05)
    limits = Limits().resolved(INT8, "regression", judged=False)
    assert (limits.max_difference, limits.max_changed_decisions) == (0.1, 1.0)


def test_a_target_whose_compiler_is_missing_is_not_approved(
    verify, mobilenet, tmp_path, monkeypatch
):
    monkeypatch.setenv("PATH", "")
    compiled = tmp_path / "compiled"
    compile_edge_model("edgetpu", str(compiled), str(mobilenet), required=False)
    result = verify(mobilenet, compiled_model_path=compiled)
    assert not result.approved
    (reason,) = result.metadata["reasons"]
    assert reason.startswith("Nothing was compiled for edgetpu: edgetpu_compiler is not on the")
    assert result.metadata["compiled_model_digest"]


@pytest.mark.long
def test_what_is_compiled_of_it_is_held_to_the_file_too(verify, mobilenet, tmp_path):
    compile_edge_model("litert", str(tmp_path / "compiled"), str(mobilenet))
    result = verify(mobilenet, compiled_model_path=tmp_path / "compiled")
    assert result.approved, result.metadata["reasons"]
    assert result.metadata["runtime"] == "litert"
    assert result.metadata["compiled_model_digest"]


def test_an_onnx_model_is_held_to_its_file_and_published(verify, take, folder, tmp_path):
    path = onnx_model(folder / "fields.onnx", channels_first=True)
    model = take("fields", path, label="label")
    result = verify(model, data="digits")
    assert result.approved, result.metadata["reasons"]
    found = result.metadata
    assert found["runtime"] == "onnxruntime"
    assert found["original"] == "the file as it came, in onnxruntime without optimisations"
    assert found["max_difference"] < 1e-5
    assert found["rows"] == ROWS
    assert found["metrics"]["accuracy"]["cloud"] is not None
    published = publish(
        edge_model_path=model,
        verification_path=tmp_path / "verification",
        bundle_path=tmp_path / "bundle",
        name="fields",
        destination=str(tmp_path / "store"),
    )
    checked = verify_bundle(published.uri)  # in onnxruntime, as a site of its own would
    assert (checked.vector_rows, checked.max_difference) == (32, 0.0)
    manifest = bundle.read(published.uri)
    assert (manifest.target, manifest.takes, manifest.evaluated) == ("onnx", "transformed", False)
    (served,) = load(Path(published.uri), "fields", 1, 1, 1)  # with the same recorded rows
    assert served.description.runtime == "onnxruntime"


def test_channels_first_or_last_the_model_sees_the_same_picture(take, folder):
    answers = []
    picture = np.random.default_rng(1).integers(0, 256, (3, 28, 28, 1)).astype(np.float32)
    for first in (False, True):
        path = onnx_model(folder / f"seen-{first}.onnx", first)
        model = original.load(take(f"seen-{first}", path))
        answers.append(model.evaluate({"image": picture})["prediction"])
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-6)


@pytest.mark.parametrize(
    ("tensor", "spread"),
    [
        (Tensor("x", "uint8", (1, 4, 4, 3), 0.0078125, 128), True),
        (Tensor("x", "int8", (-1, 4, 4), 1 / 255, -128), True),
        (Tensor("x", "uint8", (1, 4, 4, 3), 1.0, 0), False),
        (Tensor("x", "int8", (1, 16), 0.5, 3), False),
        (Tensor("x", "float32", (1, 4, 4, 3)), False),
    ],
)
def test_a_pixel_is_the_stored_value_of_a_quantised_picture(tensor, spread):
    rows = np.arange(256, dtype=np.float32)
    assert pixels.over_range(tensor) is spread
    if spread:
        real = pixels.to_range(rows, tensor)
        stored = interpreter.quantise({"x": real}, (tensor,))["x"]
        lowest = np.iinfo(tensor.dtype).min
        np.testing.assert_array_equal(stored.astype(int) - lowest, rows)


def test_rows_that_do_not_fit_an_input_are_said_in_a_sentence():
    rows = {"x": np.full((2, 1), 0.5, np.float32)}
    vector = original.prepare(rows, [Tensor("x", "float64", (-1,))])["x"]
    assert (vector.shape, vector.dtype) == ((2,), np.float64)
    with pytest.raises(EdgelineError, match="'x' of the model is uint8, which does not hold"):
        original.prepare(rows, [Tensor("x", "uint8", (-1, 1))])
    with pytest.raises(EdgelineError, match=r"'x' of the model has the open shape \[-1, -1\]"):
        original.prepare(rows, [Tensor("x", "float32", (-1, -1))])


def test_the_wrong_original_is_refused(verify, mobilenet, take, tmp_path):
    other = take("other", MOBILENET)
    with pytest.raises(EdgelineError, match="is not the imported model"):
        verify(mobilenet, edge=other)
    converted = tmp_path / "converted"
    source = artifacts.read(mobilenet, models.EDGE_SCHEMA)
    with artifacts.writing(converted, models.EDGE_SCHEMA) as draft:
        shutil.copy(source.path / "model.tflite", draft.path)
        facts = {name: value for name, value in source.metadata.items() if name != "origin"}
        draft.metadata.update(facts)
    with pytest.raises(EdgelineError, match="is converted, not imported"):
        verify(converted)


def test_what_has_no_way_to_litert_is_said_in_a_sentence(
    take, mobilenet, folder, tmp_path, monkeypatch
):
    onnx = take("stays", onnx_model(folder / "stays.onnx"))
    monkeypatch.setattr(child, "call", None)  # nothing is begun
    output, page = str(tmp_path / "edge"), str(tmp_path / "page.html")
    with pytest.raises(EdgelineError, match="stays is an ONNX model: import it with to_litert"):
        convert(str(onnx), str(folder / "digits"), output, page)
    with pytest.raises(
        EdgelineError, match="mobilenet is a LiteRT model that is int8 already: take it as it is"
    ):
        convert(str(mobilenet), str(folder / "digits"), output, page)
    with pytest.raises(EdgelineError, match="stays is an ONNX model, and the Edge TPU takes"):
        check(onnx)
    with pytest.raises(EdgelineError, match=r"Target litert takes a LiteRT model, but .*stays"):
        compile_edge_model("litert", output, str(onnx))
    assert not Path(output).exists()


def test_a_label_that_the_model_takes_as_an_input_is_refused(take):
    with pytest.raises(EdgelineError, match="label is 'image', which the model takes as an input"):
        take("confused", MOBILENET, label="image")
