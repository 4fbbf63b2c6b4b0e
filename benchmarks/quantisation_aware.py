"""What int8 costs with and without quantisation-aware training, on real digits:
`python benchmarks/quantisation_aware.py`.

Two tf_keras networks, each trained twice with the same steps and seed: that of the `digits`
pipeline, and one of depthwise convolutions with batch normalisation, as mobile networks are.
Accuracy on the eval rows of 10,000 digits, of the trained model and of its int8 model, with a scale
a channel and with one a tensor (`per_channel`).
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from environment import undistorted, without_onednn
from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).resolve().parent / "results" / "quantisation_aware.json"
DIGITS = "package://edgeline.pipelines.digits/digits.parquet"
STEPS, EPOCH = 1000, 100
MODULE = """
from edgeline.pipelines.digits.module import CLASSES, preprocessing_fn


def build_model(features, hyperparameters):
    import tf_keras as keras

    layers = keras.layers

    def normalised(values):
        return layers.ReLU()(layers.BatchNormalization(momentum=0.9)(values))

    image = keras.Input(features["image"].shape[1:], name="image")
    hidden = image
    if hyperparameters["network"] == "digits":
        for filters in (24, 48):
            hidden = layers.Conv2D(filters, 3, activation="relu")(hidden)
            hidden = layers.MaxPooling2D()(hidden)
        hidden = layers.Dropout(0.5)(layers.Flatten()(hidden))
    else:
        hidden = normalised(layers.Conv2D(16, 3)(hidden))
        for filters, strides in ((32, 2), (32, 1), (48, 2), (48, 1)):
            hidden = normalised(layers.DepthwiseConv2D(3, strides, padding="same")(hidden))
            hidden = normalised(layers.Conv2D(filters, 1)(hidden))
        hidden = layers.GlobalAveragePooling2D()(hidden)
    odds = layers.Dense(CLASSES, activation="softmax", name="prediction")(hidden)
    model = keras.Model({"image": image}, odds)
    loss = "sparse_categorical_crossentropy"
    model.compile(keras.optimizers.Adam(0.002), loss, metrics=["accuracy"])
    return model
"""


def main() -> None:
    undistorted()
    without_onednn()
    with tempfile.TemporaryDirectory(prefix="edgeline-benchmark-") as folder:
        prepare(Path(folder))
        found = [
            judge(Path(folder), network, kind)
            for network in (sys.argv[1:] or ("digits", "depthwise"))
            for kind in ("", "qat")
        ]
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    show(found)


def prepare(folder: Path) -> None:
    """Examples, schema and transformed digits."""
    from edgeline.components.ingest.ingest import ingest
    from edgeline.components.transform.transform import transform
    from edgeline.components.validate.validate import validate

    def at(name: str) -> str:
        return str(folder / name)

    (folder / "module.py").write_text(MODULE)
    ingest(DIGITS, at("examples"), images={"image": [28, 28, 1]})
    facts = (at("statistics"), at("schema"), at("anomalies"))
    validate(at("examples"), *facts, at("v.html"), on_anomalies="flag")
    made = (at("graph"), at("transformed"))
    transform(at("examples"), at("schema"), at("module.py"), *made, at("t.html"))


def judge(folder: Path, network: str, kind: str) -> dict[str, Any]:
    """Train one network and give its accuracy as float and as int8."""
    from edgeline.components.convert.convert import convert
    from edgeline.components.train.fitting import Fitting
    from edgeline.components.train.optimising import Optimisation
    from edgeline.components.train.train import train

    name = f"{network}-{kind or 'plain'}"
    how = Fitting(
        "digit",
        steps=STEPS,
        batch_size=64,
        steps_per_epoch=EPOCH,
        optimisation=Optimisation(kind),
    )
    transformed, graph, module = (
        str(folder / part) for part in ("transformed", "graph", "module.py")
    )
    task, model, page = "multiclass_classification", folder / name, str(folder / "page.html")
    train(transformed, graph, module, task, how, str(model), page, {"network": network})
    found: dict[str, Any] = {"network": network, "optimisation": kind}
    for per_channel in (True, False):
        edge = folder / f"{name}-{per_channel}"
        examples = str(folder / "examples")
        convert(str(model), examples, str(edge), page, "int8", per_channel=per_channel)
        cloud, found["per channel" if per_channel else "per tensor"] = accuracy(folder, model, edge)
        found["float"] = cloud
    print(found, flush=True)
    return found


def accuracy(folder: Path, model: Path, edge: Path) -> tuple[float, float]:
    """Of a trained model and its edge model, on every eval row."""
    from edgeline import artifacts
    from edgeline.artifacts import examples, features, models
    from edgeline.runtimes import interpreter

    evaluate, takes = models.load_signature(artifacts.read(model, models.SCHEMA), models.EVALUATE)
    runtime = interpreter.load(edge / "model.tflite")
    data = artifacts.read(folder / "examples", examples.SCHEMA)
    right: list[Any] = []
    for batch in examples.read_batches(data, "eval"):
        rows = features.to_numpy(batch, takes)
        given = interpreter.quantise({"image": rows["image"]}, runtime.signature.inputs)
        answer = interpreter.dequantise(runtime(given), runtime.signature.outputs)
        cloud = evaluate(rows)
        label = cloud[models.LABEL].reshape(-1)
        pair = (cloud, answer)
        right.append([side[models.PREDICTION].argmax(1) == label for side in pair])
    whole = np.concatenate(right, 1).mean(1)
    return float(whole[0]), float(whole[1])


def show(found: list[dict[str, Any]]) -> None:
    table = Table(title="Accuracy on digits", title_justify="left")
    columns = ("network", "optimisation", "float", "per channel", "per tensor")
    for name in columns:
        table.add_column(name)
    for row in found:
        cells = (row[name] for name in columns)
        table.add_row(*(f"{cell:.4f}" if isinstance(cell, float) else cell for cell in cells))
    Console().print(table)


if __name__ == "__main__":
    main()
