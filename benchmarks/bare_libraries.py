"""Transform and evaluation with tf.Transform, TFMA and Beam alone, one process each.

`rows_150k.py` calls it: `python bare_libraries.py prepare|transform|evaluate ...`. Rows are
tf.Examples in TFRecord files and Beam runs in memory, in this process: the libraries' own ways,
and the fastest of their local ones that loses no rows. The last line printed is JSON; `imports`
are the seconds until the work began, `seconds` those of the work.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf
import tensorflow_model_analysis as tfma
import tensorflow_transform.beam as tft_beam
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from environment import undistorted
from google.protobuf import json_format
from taxi_to_analyze import EVALUATION
from tensorflow_model_analysis.proto import config_pb2
from tensorflow_transform.tf_metadata import schema_utils
from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder
from tfx_bsl.public import tfxio

from edgeline.artifacts import features
from edgeline.pipelines.taxi.module import LABEL, preprocessing_fn

ARROW_TYPES = {"float32": pa.float32(), "int64": pa.int64(), "string": pa.binary()}
TRAIN, EVAL = "train", "eval"


def prepare(examples: Path, folder: Path) -> dict[str, Any]:
    """The rows of `examples/v1` as TFRecord files, in both splits; not part of what is timed.

    Missing values are those of `edgeline.artifacts.features`, and the label is put beside them, so
    that both sides transform the same values and TFMA need not compute a label.
    """
    rows = {}
    for split in (TRAIN, EVAL):
        found = _columns(examples)
        encoder = RecordBatchToExamplesEncoder()
        with tf.io.TFRecordWriter(str(folder / split)) as writer:
            rows[split] = 0
            for batch in _batches(examples / split):
                for record in encoder.encode(_filled(batch, found)):
                    writer.write(record)
                rows[split] += batch.num_rows
    return {"rows": rows}


def transform(examples: Path, folder: Path) -> dict[str, Any]:
    """Analyse the training rows, transform both splits, write the graph and TFRecord files."""
    source = {split: _source(folder / split, _columns(examples)) for split in (TRAIN, EVAL)}
    started = time.monotonic()
    with (
        beam.Pipeline(runner=FnApiRunner()) as pipeline,
        tft_beam.Context(temp_dir=str(folder / "temporary")),
    ):
        data = {
            split: (
                pipeline | f"Read {split}" >> reader.BeamSource(),
                reader.TensorAdapterConfig(),
            )
            for split, reader in source.items()
        }
        graph = data[TRAIN] | tft_beam.AnalyzeDataset(preprocessing_fn)
        graph | tft_beam.WriteTransformFn(str(folder / "graph"))
        for split, rows in data.items():
            made, metadata = (rows, graph) | f"Transform {split}" >> tft_beam.TransformDataset(
                output_record_batches=True
            )
            encoder = RecordBatchToExamplesEncoder(metadata.schema)
            _ = (
                made
                | f"Encode {split}" >> beam.FlatMapTuple(lambda b, _, e=encoder: e.encode(b))
                | f"Write {split}" >> beam.io.WriteToTFRecord(str(folder / f"transformed-{split}"))
            )
    seconds = time.monotonic() - started
    counted = {split: _count(folder, f"transformed-{split}-*") for split in source}
    return {"seconds": seconds, "rows": counted}


def evaluate(examples: Path, folder: Path, model: Path) -> dict[str, Any]:
    """Predict and evaluate the eval rows with TFMA: the taxi pipeline's metrics and slices."""
    config = json_format.ParseDict(EVALUATION, config_pb2.EvalConfig())
    config.model_specs.add(signature_name="serving_default", label_key=LABEL)
    source = _source(folder / EVAL, _columns(examples), tfma.ARROW_INPUT_COLUMN)
    output = str(folder / "evaluation")
    started = time.monotonic()
    shared = tfma.default_eval_shared_model(str(model), eval_config=config)
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        _ = (
            pipeline
            | source.BeamSource()
            | tfma.ExtractEvaluateAndWriteResults(
                eval_shared_model=shared,
                eval_config=config,
                output_path=output,
                tensor_adapter_config=source.TensorAdapterConfig(),
            )
        )
    seconds = time.monotonic() - started
    result = tfma.load_eval_result(output)
    overall = result.get_metrics_for_slice(())
    return {
        "seconds": seconds,
        "rows": {EVAL: round(overall["example_count"]["doubleValue"])},
        "slices": len(result.slicing_metrics),
        "auc": overall["auc"]["doubleValue"],
    }


def _columns(examples: Path) -> list[features.Feature]:
    [first, *_] = sorted((examples / TRAIN).glob("*.parquet"))
    return features.from_arrow_schema(pq.read_schema(first))


def _batches(split: Path) -> Iterator[pa.RecordBatch]:
    for part in sorted(split.glob("*.parquet")):
        yield from pq.ParquetFile(part).iter_batches()


def _filled(batch: pa.RecordBatch, columns: list[features.Feature]) -> pa.RecordBatch:
    values = {name: value.ravel() for name, value in features.to_numpy(batch, columns).items()}
    arrays = {
        column.name: pa.array(values[column.name], ARROW_TYPES[column.dtype], from_pandas=False)
        for column in columns
    }
    tips, fare = (batch.column(name).fill_null(0).to_numpy() for name in ("tips", "fare"))
    arrays[LABEL] = pa.array((tips > 0.2 * fare).astype("int64"))
    offsets = pa.array(range(len(batch) + 1), pa.int32())
    lists = [pa.ListArray.from_arrays(offsets, array) for array in arrays.values()]
    return pa.RecordBatch.from_arrays(lists, list(arrays))


def _source(path: Path, columns: list[features.Feature], raw: str | None = None) -> Any:
    spec = {c.name: tf.io.FixedLenFeature(c.shape, tf.dtypes.as_dtype(c.dtype)) for c in columns}
    if raw:
        spec[LABEL] = tf.io.FixedLenFeature([1], tf.int64)
    schema = schema_utils.schema_from_feature_spec(spec)
    return tfxio.TFExampleRecord(str(path), schema=schema, raw_record_column_name=raw)


def _count(folder: Path, pattern: str) -> int:
    return sum(1 for _ in tf.data.TFRecordDataset(sorted(map(str, folder.glob(pattern)))))


if __name__ == "__main__":
    undistorted()
    imports = time.time() - psutil.Process().create_time()
    step, *places = sys.argv[1:]
    steps: dict[str, Callable[..., dict[str, Any]]] = {
        "prepare": prepare,
        "transform": transform,
        "evaluate": evaluate,
    }
    print(json.dumps({"imports": imports, **steps[step](*map(Path, places))}))
