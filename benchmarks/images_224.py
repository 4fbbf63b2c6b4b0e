"""Peak memory of each step on images of 224 x 224 x 3: `python benchmarks/images_224.py 6000`.

Synthetic JPEG files of ten classes, sorted by class, through ingest, validate, transform, train
(ten steps), convert (int8, 100 representative rows) and verify, each in a process of its own. As
float32, 6,000 images are 3.6 GB: what a step holds of them at once is what is measured here.
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from environment import undistorted
from measuring import measure
from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).resolve().parent / "results" / "images_224.json"
SIDE, CLASSES = 224, 10
STEPS = ("ingest", "validate", "transform", "train", "convert", "verify")
MODULE = f"""
def preprocessing_fn(inputs):
    import tensorflow as tf
    return {{"pixels": inputs["image"] / 255.0, "kind": inputs["kind"]}}


def build_model(features, hyperparameters):
    import keras
    pixels = keras.Input(features["pixels"].shape[1:], name="pixels")
    found = keras.layers.Conv2D(8, 5, strides=4, activation="relu")(pixels)
    found = keras.layers.Conv2D(16, 3, strides=4, activation="relu")(found)
    found = keras.layers.GlobalAveragePooling2D()(found)
    found = keras.layers.Dense({CLASSES}, activation="softmax")(found)
    model = keras.Model({{"pixels": pixels}}, found)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model
"""


def main() -> None:
    undistorted()
    if sys.argv[1] in STEPS:
        run(sys.argv[1], Path(sys.argv[2]))
        return
    count = int(sys.argv[1])
    with tempfile.TemporaryDirectory(prefix="edgeline-benchmark-") as folder:
        summary = {"images": count, "steps": compare(Path(folder), count)}
    RESULTS.write_text(json.dumps(summary, indent=1) + "\n")
    show(summary)


def compare(folder: Path, count: int) -> dict[str, Any]:
    """Seconds and peak memory of each step."""
    write_images(folder / "images.parquet", count)
    (folder / "module.py").write_text(MODULE)
    found = {}
    for step in STEPS:
        cost = measure([sys.executable, __file__, step, folder], folder, folder / "log")
        found[step] = {"seconds": round(cost.wall, 1), "peak_bytes": cost.memory}
        print(step, found[step], flush=True)
    return found


def write_images(path: Path, count: int) -> None:
    """JPEG files in a Parquet column, sorted by `kind`."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from PIL import Image

    random = np.random.default_rng(0)
    schema = pa.schema([("image", pa.binary()), ("kind", pa.int64())])
    with pq.ParquetWriter(path, schema) as writer:
        for kind in range(CLASSES):
            files = []
            for _ in range(count // CLASSES):
                small = random.integers(0, 256, [8, 8, 3]) // 2 + 12 * kind
                image = Image.fromarray(small.astype(np.uint8)).resize((SIDE, SIDE))
                file = io.BytesIO()
                image.save(file, "JPEG")
                files.append(file.getvalue())
            writer.write_table(pa.table([files, [kind] * len(files)], schema=schema))


def run(step: str, folder: Path) -> None:
    """One step, from the folders of those before it."""

    def at(name: str) -> str:
        return str(folder / name)

    page, module = at(f"{step}.html"), at("module.py")
    if step == "ingest":
        from edgeline.components.ingest.ingest import ingest

        shape = [SIDE, SIDE, 3]
        ingest(
            at("images.parquet"), at("examples"), examples_report_path=page, images={"image": shape}
        )
    elif step == "validate":
        from edgeline.components.validate.validate import validate

        validate(
            at("examples"),
            at("statistics"),
            at("schema"),
            at("anomalies"),
            page,
            on_anomalies="flag",
        )
    elif step == "transform":
        from edgeline.components.transform.transform import transform

        transform(at("examples"), at("schema"), module, at("graph"), at("transformed"), page)
    elif step == "train":
        from edgeline.components.train.fitting import Fitting
        from edgeline.components.train.train import train

        how = Fitting("kind", steps=10, batch_size=32)
        task = "multiclass_classification"
        train(at("transformed"), at("graph"), module, task, how, at("model"), page)
    elif step == "convert":
        from edgeline.components.convert.convert import convert

        edge = at("edge")
        convert(at("model"), at("examples"), edge, page, "int8", representative_rows=100)
    else:
        from edgeline.components.verify.findings import Limits
        from edgeline.components.verify.verify import verify

        limits = Limits(max_metric_drop=1.0)
        verify(at("model"), at("edge"), at("examples"), at("verified"), page, limits)


def show(summary: dict[str, Any]) -> None:
    table = Table(
        title=f"{summary['images']:,} images of {SIDE} x {SIDE} x 3", title_justify="left"
    )
    for name in ("step", "peak MB", "s"):
        table.add_column(name)
    for step, found in summary["steps"].items():
        table.add_row(step, f"{found['peak_bytes'] / 1e6:,.0f}", f"{found['seconds']}")
    Console().print(table)


if __name__ == "__main__":
    main()
