"""Pictures: occlusion and gradients find the part that a network of known weights looks at."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from panel import cut_in_panel

from edgeline import artifacts
from edgeline.artifacts.features import Feature, with_shape
from edgeline.components.explain.explain import ExplainPlan, explain

pytestmark = pytest.mark.slow

SHAPE, ROWS = (16, 16, 1), 40


@pytest.fixture(scope="module")
def spots(tmp_path_factory):
    """Two classes by where a bright spot is, a network that looks there alone, and its edge."""
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("spots")
    image = tf.TensorSpec([None, *SHAPE], tf.float32, name="image")
    weights = np.zeros((16, 16, 2), np.float32)
    weights[2:6, 2:6, 0] = weights[10:14, 9:13, 1] = 0.4

    class Spots(tf.Module):
        def __init__(self):
            super().__init__()
            self.weights = tf.Variable(weights.reshape(256, 2))

        def scores(self, image):
            flat = tf.reshape(image, [-1, 256])
            return {"prediction": tf.nn.softmax(tf.nn.relu(flat @ self.weights))}

        @tf.function(input_signature=[image])
        def serve(self, image):
            return self.scores(image / 255.0)

        @tf.function(input_signature=[image])
        def transform(self, image):
            return {"image": image / 255.0}

        @tf.function(input_signature=[image])
        def predict(self, image):
            return self.scores(image)

        @tf.function(input_signature=[image, tf.TensorSpec([None, 1], tf.int64, name="place")])
        def evaluate(self, image, place):
            return {**self.scores(image / 255.0), "label": place}

    module, random = Spots(), np.random.default_rng(3)
    pixels = random.integers(0, 60, (2 * ROWS, *SHAPE)).astype(np.float32)
    places = random.integers(0, 2, 2 * ROWS)
    pixels[places == 0, 2:6, 2:6] = 250
    pixels[places == 1, 10:14, 9:13] = 250
    column = pa.FixedSizeListArray.from_arrays(pa.array(pixels.reshape(-1)), 256)
    fields = [with_shape(pa.field("image", column.type), SHAPE), pa.field("place", pa.int64())]
    table = pa.table([column, pa.array(places)], schema=pa.schema(fields))
    with artifacts.writing(folder / "examples", "examples/v1") as draft:
        for at, split in enumerate(("train", "eval")):
            (draft.path / split).mkdir()
            some = table.slice(at * ROWS, ROWS)
            pq.write_table(some, draft.path / split / "part-00000.parquet")
        draft.metadata["splits"] = {"train": {"rows": ROWS}, "eval": {"rows": ROWS}}
    facts = {
        "features": [Feature("image", "float32", SHAPE).to_json()],
        "task": "multiclass_classification",
        "labels": ["above", "below"],
    }
    signatures = {
        "serving_default": module.serve,
        "evaluate": module.evaluate,
        "transform": module.transform,
        "predict_transformed": module.predict,
    }
    with artifacts.writing(folder / "model", "model/v1") as draft:
        tf.saved_model.save(module, str(draft.path / "saved_model"), signatures=signatures)
        draft.metadata.update(facts, label="place")
    converter = tf.lite.TFLiteConverter.from_saved_model(
        str(folder / "model/saved_model"), signature_keys=["serving_default"]
    )
    with artifacts.writing(folder / "edge", "edge_model/v1") as draft:
        (draft.path / "model.tflite").write_bytes(converter.convert())
        draft.metadata.update(facts, quantisation="float", takes="raw")
    return folder, places[ROWS:]


def test_the_heat_lies_where_the_network_looks(spots, tmp_path):
    from edgeline.components.explain import report

    folder, places = spots
    kept = []
    write = report.write
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "write", lambda *given: (kept.append(given[1]), write(*given)))
        result = explain(
            str(folder / "model"),
            str(folder / "edge"),
            str(folder / "examples"),
            tmp_path / "explanation",
            tmp_path / "page.html",
            ExplainPlan(explained_slices=("place",)),
        )
    [heat] = kept[0].maps
    assert len(heat.numbers) == 12
    for at, number in enumerate(heat.numbers):
        own = np.s_[2:6, 2:6] if places[number] == 0 else np.s_[10:14, 9:13]
        for found in (heat.edge[at], heat.cloud[at], heat.gradients[at]):
            assert found[own].mean() > 5 * np.abs(found[12:, :4]).mean()
    assert result.agrees and result.metadata["agreement"] > 0.99
    assert result.metadata["completeness_error"] <= 1e-3
    page = (tmp_path / "page.html").read_text()
    assert page.count('class="picture"') == 4 * 12
    assert cut_in_panel({"explain": page}, tmp_path) == {}
    assert "Where in image" in page and "Partial dependence" not in page
    told = json.loads((tmp_path / "explanation" / "explanation.json").read_text())
    assert told["pictures"] == {"image": heat.numbers.tolist()}
    assert told["importance"] == []
    [few, no_slices] = told["notes"][:2]
    assert few.startswith("12 of the 40 rows are explained: of a model that takes pictures alone")
    assert no_slices.startswith("explained_slices (place) tells nothing of this model")
    assert no_slices in page


def test_a_baseline_that_the_transform_leaves_missing_costs_the_gradients_alone(spots, tmp_path):
    folder, _ = spots
    result = explain(
        *(str(folder / each) for each in ("model", "edge", "examples")),
        tmp_path / "explanation",
        tmp_path / "page.html",
        ExplainPlan(explained_rows=3, gradient_baseline="missing"),
    )
    told = json.loads((tmp_path / "explanation" / "explanation.json").read_text())
    assert "has a score of nan" in told["integrated_gradients"]["because"]
    assert result.metadata["agreement"] > 0.99 and "completeness_error" not in result.metrics
