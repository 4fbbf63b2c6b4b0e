"""A SavedModel or Keras file as the SavedModel that `edgeline.artifacts.models` describes.

Runs in a child process, so that what crashes TensorFlow is an error. Its graph is traced, not
run. Operators that reach for files or Python, and Keras layers that carry code, are refused.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeline.artifacts import models
from edgeline.artifacts.features import Feature
from edgeline.components.import_model.wanted import SCALINGS, Wanted
from edgeline.components.train.export import variables
from edgeline.errors import EdgelineError
from edgeline.formats import archives
from edgeline.formats.signature_names import by_original, by_safe, told_apart

UNSAFE = {
    *("ReadFile", "WriteFile", "MatchingFiles"),
    *("PyFunc", "PyFuncStateless", "EagerPyFunc"),
}
# what a feature is made of, by the dtype that the model takes; uint8 are pixels
FEATURE_DTYPES = {
    **dict.fromkeys(("float16", "bfloat16", "float32", "float64", "uint8"), "float32"),
    **dict.fromkeys(("bool", "int8", "int16", "uint16", "int32", "uint32", "int64"), "int64"),
    "string": "string",
}
MOST_CONFIG = 1 << 26  # bytes of a Keras model's description


@dataclass(frozen=True)
class Network:
    """A loaded model as a function on named tensors.

    Attributes:
        takes: tf.TensorSpec by name, the batch first.
        call: tensors by name in and out.
        owner: holds the variables; a trackable object, or a list of such.
    """

    takes: Mapping[str, object]
    call: Callable[[Mapping[str, Any]], Mapping[str, object]]
    owner: object


@dataclass(frozen=True)
class Exported:
    """What the new SavedModel takes and gives, by name."""

    features: list[Feature]
    outputs: dict[str, tuple[str, tuple[int, ...]]]


def export(
    tell: Callable[[str], None], path: str, wanted: Wanted, target: str
) -> Exported | EdgelineError:
    """Write a model with the four signatures of `edgeline.artifacts.models`.

    Args:
        tell: is told what comes next.
        path: a SavedModel folder or a Keras file.
        target: the folder to write.

    Returns:
        What it takes and gives, or what is wrong with it.
    """
    import tensorflow as tf

    tf.get_logger().setLevel("ERROR")
    try:
        tell(f"loading {Path(path).name}")
        network = _load(path, wanted)
        tell("writing the model")
        return _write(network, wanted, target)
    except EdgelineError as error:
        return error


def _load(path: str, wanted: Wanted) -> Network:
    return _load_saved_model(path, wanted) if Path(path).is_dir() else _load_keras(path)


# --- SavedModel ---------------------------------------------------------------------------------


def _load_saved_model(path: str, wanted: Wanted) -> Network:
    import tensorflow as tf

    loaded = tf.saved_model.load(path, tags=_tags(path))
    signatures = {
        name: signature
        for name, signature in loaded.signatures.items()
        if not name.startswith("__saved_model")
    }
    chosen = wanted.signature or (
        next(iter(signatures)) if len(signatures) == 1 else models.SERVING
    )
    if not signatures:
        raise EdgelineError(
            f"{path} has no signature, so nothing says what it takes: save it again with "
            "tf.saved_model.save(model, folder, signatures={'serving_default': ...})."
        )
    if chosen not in signatures:
        raise EdgelineError(
            f"{path} has no signature {chosen!r}: set signature to one of "
            f"{', '.join(sorted(signatures))}."
        )
    signature = signatures[chosen]
    return Network(
        dict(sorted(signature.structured_input_signature[1].items())),
        lambda tensors: signature(**tensors),
        loaded,
    )


def _tags(path: str) -> list[str]:
    """The tags of the graph to load, after a look at every operator."""
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    file = Path(path) / "saved_model.pb"
    try:
        description = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    except DecodeError as error:
        raise EdgelineError(f"{file} is damaged: export or fetch the model again.") from error
    found = [list(graph.meta_info_def.tags) for graph in description.meta_graphs]
    if not found:
        raise EdgelineError(f"{file} holds no graph: export or fetch the model again.")
    for graph in description.meta_graphs:
        for node in _nodes(graph.graph_def):
            prints = node.op == "PrintV2" and b"file:" in node.attr["output_stream"].s
            if node.op in UNSAFE or prints:
                raise EdgelineError(
                    f"{path} uses {node.op} (node {node.name}), which reaches beyond the model: "
                    "build it without."
                )
    return next((tags for tags in found if "serve" in tags), found[0])


def _nodes(graph: Any) -> Iterator[Any]:
    yield from graph.node
    for function in graph.library.function:
        yield from function.node_def


# --- Keras --------------------------------------------------------------------------------------


def _load_keras(path: str) -> Network:
    import keras
    import tensorflow as tf

    _check_config(_config(path), Path(path).name)
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises what it likes on a damaged file
        first = (str(error).strip().splitlines() or [type(error).__name__])[0][:300].rstrip(".:")
        raise EdgelineError(
            f"{path} cannot be loaded by Keras {keras.__version__} ({first}): export it as a "
            "SavedModel where it was trained."
        ) from error
    if not getattr(model, "inputs", None):
        raise EdgelineError(
            f"{path} does not say what it takes: call the model on data once before it is saved."
        )
    specs = {
        tensor.name: tf.TensorSpec(tensor.shape, tensor.dtype, name=tensor.name)
        for tensor in model.inputs
    }

    def call(tensors: Mapping[str, object]) -> Mapping[str, object]:
        given = [tensors[name] for name in specs]
        # a Sequential model that was loaded does not know its `input`
        answer = model(
            given[0] if len(given) == 1 else tf.nest.pack_sequence_as(model.input, given),
            training=False,
        )
        if isinstance(answer, Mapping):
            return answer
        return {f"output_{place}": value for place, value in enumerate(tf.nest.flatten(answer))}

    return Network(specs, call, [model, variables(model)])


_DAMAGED: tuple[type[Exception], ...] = (*archives.DAMAGED, KeyError)


def _config(path: str) -> object:
    """The description of a Keras model, without anything of it being built."""
    try:
        if zipfile.is_zipfile(path):
            with (
                archives.open_zip(Path(path), path) as packed,
                packed.open("config.json") as stream,
            ):
                return json.loads(stream.read(MOST_CONFIG))
        import h5py  # type: ignore[import-untyped]

        with h5py.File(path, "r") as file:
            return json.loads(file.attrs["model_config"])
    except _DAMAGED as error:
        raise EdgelineError(
            f"{path} is not a whole Keras model ({error}): give what model.save('x.keras') wrote."
        ) from error


def _check_config(config: Any, name: str) -> None:
    """Refuse code: Lambda layers and classes that are not Keras' own."""
    if isinstance(config, Mapping):
        kind, module = config.get("class_name"), config.get("module")
        if kind in ("Lambda", "__lambda__", "function"):
            raise EdgelineError(
                f"{name} has a {kind} layer, whose Python code is not run here: build it of "
                "Keras' layers, or export it as a SavedModel where it was trained."
            )
        if ">" in str(config.get("registered_name")) or (
            isinstance(module, str) and not f"{module}.".startswith(("keras.", "builtins."))
        ):
            raise EdgelineError(
                f"{name} uses {module or 'a custom object'}.{kind}, which is not a class of "
                "Keras: export it as a SavedModel where it was trained."
            )
    inner = config.values() if isinstance(config, Mapping) else config
    if isinstance(inner, (list, tuple)) or isinstance(config, Mapping):
        for value in inner:
            _check_config(value, name)


# --- export -------------------------------------------------------------------------------------


def _write(network: Network, wanted: Wanted, target: str) -> Exported:
    import tensorflow as tf

    names = wanted.names(network.takes)
    features = [_feature(names[name], spec, wanted) for name, spec in network.takes.items()]
    if wanted.input_shape and len(features) > 1:
        raise EdgelineError(
            f"input_shape is set, but the model has {len(features)} inputs: export it with fixed "
            "shapes."
        )
    tables: list[Any] = []
    if wanted.label_type == "string":
        keys = tf.constant(wanted.labels)
        values = tf.range(len(wanted.labels), dtype=tf.int64)
        initializer = tf.lookup.KeyValueTensorInitializer(keys, values)
        tables.append(tf.lookup.StaticHashTable(initializer, -1))

    def predict(given: Mapping[str, Any]) -> dict[str, object]:
        tensors = {
            name: _as_taken(given[names[name]], spec, wanted)
            for name, spec in network.takes.items()
        }
        answer = network.call(tensors)
        wanted.check_rename([*network.takes, *answer])
        return _outputs(answer, wanted)

    def label(given: Mapping[str, Any]) -> object:
        if not wanted.label:  # a missing label: verify compares without a metric
            rows = tf.shape(next(iter(given.values())))[0]
            return tf.fill([rows, 1], tf.constant(float("nan")))
        value = given[wanted.label]
        return tables[0].lookup(value) if tables else value

    def passed(given: Mapping[str, object]) -> dict[str, object]:
        return {feature.name: tf.identity(given[feature.name]) for feature in features}

    evaluated = list(features)
    if wanted.label:
        if wanted.label in names.values():
            raise EdgelineError(f"label is {wanted.label!r}, which the model takes as an input.")
        evaluated.append(Feature(wanted.label, wanted.label_dtype))
    module = tf.Module()
    module.network, module.tables = network.owner, tables
    signatures = {
        models.SERVING: (predict, features),
        models.EVALUATE: (lambda given: {**predict(given), models.LABEL: label(given)}, evaluated),
        models.TRANSFORM: (passed, features),
        models.PREDICT_TRANSFORMED: (predict, features),
    }
    written = told_apart(feature.name for feature in evaluated)
    traced = {
        name: _traced(function, takes, written) for name, (function, takes) in signatures.items()
    }
    inference = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(module, target, signatures=traced, options=inference)
    outputs = {
        name: (spec.dtype.name, tuple(-1 if size is None else size for size in spec.shape[1:]))
        for name, spec in by_original(traced[models.SERVING].structured_outputs).items()
        if spec.shape.rank
    }
    if models.PREDICTION in outputs:
        wanted.check_prediction(outputs[models.PREDICTION][1])
    return Exported(features, outputs)


def _traced(
    function: Callable[[Mapping[str, Any]], dict[str, object]],
    takes: list[Feature],
    names: Mapping[str, str],
) -> Any:
    import tensorflow as tf

    specs = {
        names[f.name]: tf.TensorSpec([None, *f.shape], f.dtype, name=names[f.name]) for f in takes
    }

    def call(**inputs: tf.Tensor) -> dict[str, object]:
        return by_safe(function(by_original(inputs)))

    traced = tf.function(call, autograph=False)
    return traced.get_concrete_function(**specs)


def _feature(name: str, spec: Any, wanted: Wanted) -> Feature:
    """A raw feature for an input of the model."""
    if spec.dtype.name not in FEATURE_DTYPES:
        raise EdgelineError(
            f"Input {name!r} of the model is {spec.dtype.name}, which no feature is: export it "
            "with float32, int64 or string inputs."
        )
    if spec.shape.rank is not None and (spec.shape.rank == 0 or spec.shape[0] is not None):
        raise EdgelineError(
            f"Input {name!r} of the model has the shape {spec.shape}, where the first size must "
            "be open, for the batch: export it with a batch of None."
        )
    known = None if spec.shape.rank is None else tuple(spec.shape[1:])
    shape = wanted.input_shape or known or (() if known is None else (1,))
    if not shape or None in shape:
        raise EdgelineError(
            f"Input {name!r} of the model has the open shape {spec.shape}, which no edge model "
            "can have: set input_shape, for example to [224, 224, 3]."
        )
    if known and (
        len(shape) != len(known)
        or any(size not in (None, given) for size, given in zip(known, shape, strict=False))
    ):
        raise EdgelineError(
            f"input_shape is {list(shape)}, but input {name!r} of the model has the shape "
            f"{spec.shape}: keep its fixed sizes."
        )
    return Feature(name, FEATURE_DTYPES[spec.dtype.name], shape)


def _as_taken(value: Any, spec: Any, wanted: Wanted) -> object:
    import tensorflow as tf

    if spec.shape.rank == 1:
        value = tf.squeeze(value, 1)
    factor, offset = SCALINGS[wanted.scaling]
    if wanted.scaling and value.dtype == tf.float32:
        value = value * factor + offset if offset else value * factor
    return value if value.dtype == spec.dtype else tf.cast(value, spec.dtype)


def _outputs(given: Mapping[str, Any], wanted: Wanted) -> dict[str, object]:
    import tensorflow as tf

    names = wanted.names(given, sole=models.PREDICTION)
    outputs = {}
    for name, value in given.items():
        narrow = value.dtype.is_floating and value.dtype != tf.float32
        outputs[names[name]] = tf.cast(value, tf.float32) if narrow else value
    if (prediction := outputs.get(models.PREDICTION)) is not None:
        if prediction.shape.rank == 1:
            prediction = tf.expand_dims(prediction, -1)
        if wanted.logits:
            binary = wanted.task == "binary_classification"
            prediction = tf.sigmoid(prediction) if binary else tf.nn.softmax(prediction)
        outputs[models.PREDICTION] = prediction
    elif wanted.logits:
        raise EdgelineError(
            f"logits is set, but the model gives {', '.join(sorted(outputs))}: name one of them "
            "prediction with rename."
        )
    return outputs
