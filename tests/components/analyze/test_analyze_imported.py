"""Models that were trained elsewhere, evaluated here: Keras and LiteRT."""

from __future__ import annotations

import html
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from make_endless import VALUE, endless_at_value

from edgeline import artifacts
from edgeline.artifacts import models
from edgeline.artifacts.verdicts import reasons_against
from edgeline.components.analyze.analyze import analyze
from edgeline.components.import_model.import_model import import_model
from edgeline.components.import_model.wanted import Wanted
from edgeline.components.publish.publish import publish
from edgeline.errors import EdgelineError
from edgeline.runtimes import child, isolated, limits, original

pytestmark = pytest.mark.slow

DATA = Path(__file__).parents[2] / "data"
SOURCES = {
    "small.keras": (32, {}),
    "coral/mobilenet_v1_0.25_128_quant.tflite": (128, {"input": "image"}),
}
ROWS, WRONG = 10, 2


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    """TensorFlow is imported here already."""

    def call(function, *arguments, memory, time_limit=900):
        assert time_limit > 0 and memory > 0
        return function(len, *arguments)

    monkeypatch.setattr(child, "call", call)
    monkeypatch.setattr(isolated, "signature", models.load_signature)


def taken(name, folder, label="label"):
    """The imported model's folder and examples whose labels are its decisions, two of them not."""
    size, rename = SOURCES[name]
    wanted = Wanted(rename=rename, label=label)
    import_model(str(DATA / name), str(folder / "model"), wanted=wanted)
    images = np.random.default_rng(0).integers(0, 256, (ROWS, size, size, 3)).astype(np.float32)
    given = {"image": images, "label": np.zeros((ROWS, 1), np.int64)}
    decided = original.load(folder / "model").evaluate(given)[models.PREDICTION].argmax(1)
    decided[:WRONG] = (decided[:WRONG] + 1) % 3
    pixels = pa.FixedSizeListArray.from_arrays(pa.array(images.ravel()), size * size * 3)
    with artifacts.writing(folder / "examples", "examples/v1") as draft:
        (draft.path / "eval").mkdir()
        table = pa.table({"image": pixels, "label": decided})
        pq.write_table(table, draft.path / "eval/part-00000.parquet")
        draft.metadata["splits"] = {"eval": {"rows": ROWS}}
    return str(folder / "examples"), str(folder / "model")


@pytest.mark.parametrize("name", SOURCES)
def test_it_is_judged_as_any_model(tmp_path, name):
    examples, model = taken(name, tmp_path)
    output, page = str(tmp_path / "evaluation"), str(tmp_path / "page.html")
    found = analyze(examples, model, output, page, confidence_intervals=False)
    assert found.metadata["metrics"]["accuracy"] == pytest.approx(1 - WRONG / ROWS)
    assert found.metadata["model_digest"] == original.read(model).digest


def test_without_a_label_it_is_said_in_a_sentence(tmp_path):
    examples, model = taken("coral/mobilenet_v1_0.25_128_quant.tflite", tmp_path, label="")
    with pytest.raises(EdgelineError, match="was imported without a label, so nothing says how"):
        analyze(examples, model, str(tmp_path / "evaluation"), str(tmp_path / "page.html"))
    assert not (tmp_path / "evaluation").exists()


def imported(path, folder):
    import_model(str(path), str(folder), wanted=Wanted(task="regression", label="y"))
    return folder


@pytest.fixture(scope="module")
def endless(tmp_path_factory):
    """Examples, and a model that answers all of them but the last ones."""
    folder = tmp_path_factory.mktemp("endless")
    imported(endless_at_value(folder / "endless.onnx"), folder / "model")
    x = np.arange(6000, dtype=np.float32)
    x[5990] = VALUE
    with artifacts.writing(folder / "examples", "examples/v1") as draft:
        (draft.path / "eval").mkdir()
        pq.write_table(pa.table({"x": x, "y": x}), draft.path / "eval/part-00000.parquet")
        draft.metadata["splits"] = {"eval": {"rows": len(x)}}
    return folder


ENDED = (
    r"source\.onnx exceeded (2 s of a core|6 s) \(EDGELINE_MODEL_TIME allows more\) on rows "
    r"1,024 to 1,903 \(from 0\) of a batch \(eval/part-00000\.parquet, rows from 4096\): "
)


@pytest.mark.parametrize("whose", ["candidate", "baseline"])
def test_one_that_ends_its_runtime_on_a_late_row_is_not_blessed(
    endless, tmp_path, monkeypatch, whose
):
    monkeypatch.setattr(child, "_tensorflow_runs", lambda: False)  # a fork is enough for this
    monkeypatch.setenv(limits.TIME_VARIABLE, "2")
    model = endless / "model"
    if whose == "baseline":
        model = imported(endless_at_value(tmp_path / "good.onnx", value=-1.0), tmp_path / "model")
    found = analyze(
        str(endless / "examples"),
        str(model),
        str(tmp_path / "evaluation"),
        str(tmp_path / "page.html"),
        confidence_intervals=False,
        baseline_model_uri=str(endless / "model") if whose == "baseline" else "",
    )
    assert not found.blessed
    assert found.overall == {}
    place = re.escape(str(endless / "model"))
    subject = f"The baseline {place}" if whose == "baseline" else place
    way_out = "name another as baseline_model_uri" if whose == "baseline" else "convert or export"
    kept = artifacts.read(tmp_path / "evaluation", "evaluation/v1")
    text = (kept.path / "validation.json").read_text()
    (reason,) = reasons_against("validation.json", text)
    assert re.match(rf"{subject}/{ENDED}{way_out}", reason)
    assert kept.metadata["rows"] == 6000
    assert html.escape(reason) in (tmp_path / "page.html").read_text()
    with artifacts.writing(tmp_path / "verification", "verification/v1") as draft:
        draft.metadata["approved"] = True
    with pytest.raises(EdgelineError, match="analyze did not bless it"):
        publish(
            edge_model_path=model,
            verification_path=tmp_path / "verification",
            evaluation_path=kept.path,
            bundle_path=tmp_path / "bundle",
            name="endless",
            destination=str(tmp_path / "store"),
        )
