"""Trained and converted models: what their artifact folders hold and how to call them.

`model/v1` holds `saved_model/`, a SavedModel with four signatures. Raw features are dense
tensors [batch, n] as in `edgeline.artifacts.features`; every signature takes and gives named
tensors. In the SavedModel itself a name that no signature can have stands as
`edgeline.formats.signature_names` writes it; edge models have the columns' own names.

| signature             | takes                        | gives                               |
|-----------------------|------------------------------|-------------------------------------|
| `serving_default`     | raw features of a prediction | the outputs, `prediction` if one    |
| `evaluate`            | raw features and the label's | the outputs and `label`             |
| `transform`           | raw features of a prediction | transformed features                |
| `predict_transformed` | transformed features         | the outputs                         |

Metadata: `features` (raw inputs of `serving_default`, as `Feature.to_json`), `task`
(`binary_classification`, `multiclass_classification` or `regression`), `label`,
`hyperparameters`, `labels` (class names or null), `transform_digest`, `require_raw` (whether an
edge model of it must take raw features); where the network has tables of vectors, `embeddings`
(see `edgeline.components.train.embeddings`), places in the SavedModel's list `states`.

For a binary task `prediction` is the probability of the positive class, [batch, 1]; for a
multiclass task the probabilities, [batch, classes], and `label` the class index, int64.

`edge_model/v1` holds `model.tflite`, `signature.json` (see `edgeline.artifacts.bundle.Signature`),
`operators.json` and, where there are class names, `labels.txt`, one a line.
Metadata: `features` (what it takes), `task`, `labels`, `quantisation`, `takes` (`raw`,
`transformed` or `mixed`), `because` (why not raw, or null), the same as fields (see
`edgeline.artifacts.transformed`), and what `convert` measured with `model_digest`, the digest of
the model that it was made of; `decision_threshold`, the score above which a binary prediction is a
yes; and `host_operations`, where the file takes what these give (see
`edgeline.artifacts.host_operations`): `features` and the signature are what is sent to the two
together. `onnx_model/v1` holds the same of `model.onnx`, with `opset` and a
count of its operators.

`origin` in the metadata says that a model was imported: `source`, `kind`, `sha256`, `revision`.
Beside an imported LiteRT or ONNX model lies the file as it came, and `origin` says how it is
called: `file`, its `signature` (or ""), its names of `inputs` and `outputs` by ours (see
`edgeline.runtimes.original`). Where the LiteRT file was made of an ONNX file, `origin` has also
`described`, what that file takes and gives under our names, `channels_last` and `answers_last`, the
inputs and outputs whose channels are first there and last here, `converter`, and the `difference`
on so many made-up `rows`.
Such a model's metadata also has `label`, the column
of the examples that holds it, or null, and its `label_type`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from edgeline import artifacts
from edgeline.artifacts import Artifact
from edgeline.artifacts.bundle import BINARY, Signature
from edgeline.artifacts.features import Feature
from edgeline.errors import EdgelineError
from edgeline.formats.dtypes import Array
from edgeline.formats.signature_names import as_taken, by_original

SCHEMA = "model/v1"
EDGE_SCHEMA = "edge_model/v1"
ONNX_SCHEMA = "onnx_model/v1"
SIGNATURE_FILE = "signature.json"
SERVING = "serving_default"
EVALUATE = "evaluate"
TRANSFORM = "transform"
PREDICT_TRANSFORMED = "predict_transformed"
PREDICTION = "prediction"
# what goes along with what is made of an imported model, into the bundle
ORIGIN = (
    *("source", "kind", "sha256", "revision", "scaling", "converter"),
    *("channels_last", "answers_last"),
)
LABEL = "label"
EMBEDDINGS = "embeddings"
TASKS = (BINARY, "multiclass_classification", "regression")

Arrays = Mapping[str, Array]


def raw_features(model: Artifact) -> list[Feature]:
    """The raw features a model takes for a prediction, in their order."""
    return [Feature.from_json(value) for value in model.metadata["features"]]


def load_signature(model: Artifact, name: str) -> tuple[Callable[[Arrays], Arrays], list[Feature]]:
    """A signature of a trained model as a function on numpy arrays, and what it takes.

    Strings go in and come out as object arrays of bytes. Arrays beyond those
    that the signature takes are ignored.

    Raises:
        EdgelineError: the SavedModel has no such signature.
    """
    import tensorflow as tf

    loaded = tf.saved_model.load(str(saved_model_path(model)))
    if name not in loaded.signatures:
        raise EdgelineError(
            f"{model.path} has no signature {name!r}, only {', '.join(loaded.signatures)}: "
            "train the model with edgeline's train component."
        )
    signature = loaded.signatures[name]
    specs = signature.structured_input_signature[1]
    takes = [
        Feature(name, spec.dtype.name, tuple(spec.shape[1:]))
        for name, spec in sorted(by_original(specs).items())
    ]

    def call(arrays: Arrays) -> Arrays:
        given = as_taken(specs, arrays)
        tensors = {key: tf.constant(given[key], spec.dtype) for key, spec in specs.items()}
        answer = by_original(signature(**tensors))
        return {name: np.asarray(value.numpy()) for name, value in answer.items()}

    call.loaded = loaded  # type: ignore[attr-defined]  # variables live as long as the function
    return call, takes


def saved_model_path(model: Artifact) -> Path:
    """The SavedModel inside a `model/v1` folder."""
    return model.path / "saved_model"


def read_edge(folder: str | Path) -> Artifact:
    """Check an `edge_model/v1` or `onnx_model/v1` folder and return it.

    Raises:
        EdgelineError: it is neither, or damaged.
    """
    onnx = artifacts.schema_of(folder) == ONNX_SCHEMA
    return artifacts.read(folder, ONNX_SCHEMA if onnx else EDGE_SCHEMA)


def edge_signature(edge_model: Artifact) -> Signature:
    """What an edge model takes and gives.

    Raises:
        EdgelineError: the folder does not say so.
    """
    file = edge_model.path / SIGNATURE_FILE
    try:
        return Signature.from_json(json.loads(file.read_text()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EdgelineError(f"{file} is missing or damaged ({error}): make it again.") from error


def edge_model_path(edge_model: Artifact) -> Path:
    """The flatbuffer inside an `edge_model/v1` folder, the ONNX file of an `onnx_model/v1` one."""
    onnx = edge_model.schema == ONNX_SCHEMA
    return edge_model.path / ("model.onnx" if onnx else "model.tflite")
