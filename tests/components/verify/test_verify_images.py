"""Images: inputs of several dimensions, integers in and out, on every row of a split."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from edgeline import artifacts
from edgeline.artifacts.features import Feature, with_shape
from edgeline.components.verify.findings import Limits
from edgeline.components.verify.verify import verify
from edgeline.runtimes.interpreter import load

pytestmark = pytest.mark.slow

ROWS, SHAPE = 1500, (12, 12, 1)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A model of images [12, 12, 1] from 0 to 255, its examples, and a maker of edge models."""
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("images")
    spec = tf.TensorSpec([None, *SHAPE], tf.float32, name="image")
    label = tf.TensorSpec([None, 1], tf.int64, name="digit")

    class Digits(tf.Module):
        def __init__(self):
            super().__init__()
            self.filters = tf.Variable(tf.random.stateless_normal([3, 3, 1, 4], [1, 2]))
            self.last = tf.Variable(tf.random.stateless_normal([400, 3], [3, 4]) / 5)

        @tf.function(input_signature=[spec])
        def serve(self, image):
            hidden = tf.nn.relu(tf.nn.conv2d(image / 255.0, self.filters, 1, "VALID"))
            return {"prediction": tf.nn.softmax(tf.reshape(hidden, [-1, 400]) @ self.last)}

        @tf.function(input_signature=[spec, label])
        def evaluate(self, image, digit):
            return {**self.serve(image), "label": digit}

    module, random = Digits(), np.random.default_rng(3)
    pixels = random.integers(0, 256, (ROWS, *SHAPE)).astype(np.float32)
    digits = np.argmax(module.serve(tf.constant(pixels))["prediction"], axis=1)
    with artifacts.writing(folder / "examples", "examples/v1") as draft:
        (draft.path / "eval").mkdir()
        size = int(np.prod(SHAPE))
        column = pa.FixedSizeListArray.from_arrays(pa.array(pixels.reshape(-1)), size)
        fields = [with_shape(pa.field("image", column.type), SHAPE), pa.field("digit", pa.int64())]
        table = pa.table([column, pa.array(digits)], schema=pa.schema(fields))
        pq.write_table(table, draft.path / "eval/part-00000.parquet")
        draft.metadata["splits"] = {"eval": {"rows": ROWS}}
    with artifacts.writing(folder / "model", "model/v1") as draft:
        signatures = {"serving_default": module.serve, "evaluate": module.evaluate}
        tf.saved_model.save(module, str(draft.path / "saved_model"), signatures=signatures)
        draft.metadata.update(
            features=[Feature("image", "float32", SHAPE).to_json()],
            task="multiclass_classification",
            label="digit",
        )
    source = str(folder / "model/saved_model")

    def edge(dtype):
        converter = tf.lite.TFLiteConverter.from_saved_model(
            source, signature_keys=["serving_default"]
        )
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.representative_dataset = lambda: (
            ("serving_default", {"image": pixels[row : row + 1]}) for row in range(50)
        )
        converter.inference_input_type = converter.inference_output_type = tf.as_dtype(dtype)
        with artifacts.writing(folder / dtype, "edge_model/v1") as draft:
            (draft.path / "model.tflite").write_bytes(converter.convert())
            draft.metadata.update(
                features=[Feature("image", "float32", SHAPE).to_json()],
                task="multiclass_classification",
                quantisation="int8",
                takes="raw",
            )
        return folder / dtype

    return folder, edge


@pytest.mark.parametrize("dtype", ["uint8", "int8", "float32"])
def test_integer_models_get_and_give_real_values(images, tmp_path, dtype):
    folder, edge = images
    result = verify(
        model_path=folder / "model",
        edge_model_path=edge(dtype),
        examples_path=folder / "examples",
        verification_path=tmp_path / "verification",
        verification_report_path=tmp_path / "report.html",
        limits=Limits(max_metric_drop=0.05),
    )
    [image] = load(folder / dtype / "model.tflite").signature.inputs
    assert (image.dtype, image.shape) == (dtype, (-1, *SHAPE))
    assert result.approved, result.metadata["reasons"]
    assert result.metadata["rows"] == ROWS
    assert result.metadata["metrics"]["accuracy"]["cloud"] == 1.0
    assert result.metadata["metrics"]["accuracy"]["edge"] > 0.95
    assert 0 < result.metadata["max_difference"] < 0.1
