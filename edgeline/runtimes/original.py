"""The original: the model whose answers an edge model is compared with.

| artifact                    | what answers                                                  |
|-----------------------------|---------------------------------------------------------------|
| `model/v1`                  | its signature `evaluate`, in TensorFlow                       |
| an imported `edge_model/v1` | the file as it came, in LiteRT's reference kernels            |
| `onnx_model/v1`, and one    | the file as it came, in onnxruntime without its optimisations |
| converted to `edge_model/v1`|                                                               |
| a published bundle          | its LiteRT file as devices run it; it knows no label          |

What somebody else made is loaded and asked in a process of its own (see `isolated`).

A file that was trained elsewhere has no cloud model. It is its own original: in kernels that are
written to be right rather than fast, beside which stand the same file as it is deployed, and what
`convert` and compilers made of it. Rows of examples are brought to its inputs by `prepare`:
images come as pixels with the channels last, and some files want them otherwise.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgeline import artifacts
from edgeline.artifacts import Artifact, models, pixels, transformed
from edgeline.artifacts.bundle import MANIFEST, Signature, Tensor
from edgeline.artifacts.bundle import read as read_bundle
from edgeline.artifacts.features import Feature
from edgeline.artifacts.transformed import Cause
from edgeline.errors import EdgelineError, first_line
from edgeline.formats.dtypes import Array
from edgeline.runtimes import interpreter, isolated
from edgeline.runtimes.host.program import hosted
from edgeline.runtimes.interpreter import EdgeModel, dequantise, quantise

BUNDLE = "bundle/v1"
# of the metadata's `origin`, where the model was converted from the file that came
DESCRIBED, CHANNELS_LAST, ANSWERS_LAST = "described", "channels_last", "answers_last"
Feed = Callable[[models.Arrays], models.Arrays]


@dataclass(frozen=True)
class Original:
    """A model to hold others to.

    Attributes:
        takes: the columns of examples that `evaluate` needs, the label's among them.
        evaluate: raw features to real outputs and `label`, NaN where none is known.
        feed: raw features to what its edge model takes, in real values.
        words: what it is, for people; `place` where an answer of it is given.
        labelled: whether it knows which column is the label.
        itself: whether the edge model that is to be compared with it is the same file.
    """

    artifact: Artifact
    takes: list[Feature]
    evaluate: Feed
    feed: Feed
    words: str
    place: str
    labelled: bool
    itself: bool = False

    @property
    def imported(self) -> bool:
        """Whether it is a file that was imported, with no cloud model behind it."""
        return self.artifact.schema != models.SCHEMA

    @property
    def foreign(self) -> bool:
        """Whether somebody else made it, so that only a child may load it."""
        return self.imported or "origin" in self.artifact.metadata

    def signature(self, name: str) -> tuple[Feed, list[Feature]]:
        """As `models.load_signature`; only of a `model/v1`."""
        return _signature(self.artifact, name)


def load(folder: str | Path, edge: Artifact | None = None) -> Original:
    """The original in an artifact folder.

    Args:
        edge: the edge model that is to be compared with it.

    Raises:
        EdgelineError: the folder is damaged or holds no original, or the edge model is not of it.
    """
    found = read(folder)
    if found.schema == models.SCHEMA:
        return _trained(found, edge)
    if found.schema == BUNDLE:
        return _published(found)
    if edge is None:
        return _imported(found)
    if found.digest not in (edge.digest, edge.metadata.get("model_digest")):
        raise EdgelineError(
            f"{edge.path} is not the imported model {found.path}, nor made of it: connect the "
            "model that it was made of, or none to compare an imported file with itself."
        )
    itself = edge.digest == found.digest and DESCRIBED not in found.metadata["origin"]
    return replace(_imported(found), itself=itself)


def read(folder: str | Path) -> Artifact:
    """Check the artifact folder of an original and return it.

    Raises:
        EdgelineError: the folder is damaged or holds no original.
    """
    if (Path(folder) / MANIFEST).is_file():
        return _bundle(Path(folder))
    if artifacts.schema_of(folder) not in (models.EDGE_SCHEMA, models.ONNX_SCHEMA):
        return artifacts.read(folder, models.SCHEMA)
    found = models.read_edge(folder)
    if "file" not in found.metadata.get("origin", {}):
        raise EdgelineError(
            f"{found.path} is converted, not imported: connect the model that it was made of."
        )
    return found


def keep(source: Path, model: Path, suffix: str = "") -> dict[str, str]:
    """Put the file as it came beside the model that was made of it, where they differ.

    Args:
        suffix: of the file as it is kept; by default the model's.

    Returns:
        `file` for the metadata's `origin`.
    """
    if source.read_bytes() == model.read_bytes():
        return {"file": model.name}
    kept = model.with_name(f"source{suffix or model.suffix}")
    shutil.copyfile(source, kept)
    return {"file": kept.name}


def not_raw(signature: Signature) -> list[Cause]:
    """Why a model's inputs are not raw features; empty where they are (see `prepare`)."""
    found = []
    for tensor in signature.inputs:
        reason = ""
        if pixels.over_range(tensor):
            reason = f"input {tensor.name!r} has its own range, over which pixels are spread"
        elif pixels.channels_first(tensor.shape[1:]):
            reason = f"input {tensor.name!r} takes images with the channels first"
        if reason:
            found.append(Cause((tensor.name,), reason=reason))
    return found


def prepare(raw: models.Arrays, tensors: Sequence[Tensor]) -> dict[str, Array]:
    """Raw features as a model's inputs, in real values.

    Pixels are spread over the range of a quantised image input, channels put first where it has
    them first, a column is a vector where it takes one, and whole numbers get its dtype.

    Raises:
        EdgelineError: an input has an open shape, or does not hold a value.
    """
    return {tensor.name: _prepared(raw[tensor.name], tensor) for tensor in tensors}


def _prepared(array: Array, tensor: Tensor) -> Array:
    shape = tensor.shape[1:]
    if min(shape, default=1) < 0:
        raise EdgelineError(
            f"Input {tensor.name!r} of the model has the open shape {list(tensor.shape)}, into "
            "which no row can be put: export it with fixed sizes behind the batch."
        )
    if pixels.channels_first(shape) and array.shape[1:] == (*shape[1:], shape[0]):
        array = np.moveaxis(array, -1, 1)
    if pixels.over_range(tensor):
        array = pixels.to_range(array, tensor)
    array = array.reshape(len(array), *shape)
    if tensor.scale is not None or tensor.dtype == "string" or array.dtype == tensor.dtype:
        return array
    return _typed(array, tensor)


def _typed(array: Array, tensor: Tensor) -> Array:
    with np.errstate(invalid="ignore"):
        typed = array.astype(tensor.dtype)
    if typed.dtype.kind in "iub" and not np.array_equal(typed, array):
        raise EdgelineError(
            f"Input {tensor.name!r} of the model is {tensor.dtype}, which does not hold all values "
            "of that column: give whole numbers in its range."
        )
    return typed


def _trained(model: Artifact, edge: Artifact | None) -> Original:
    evaluate, takes = _signature(model, models.EVALUATE)
    feed: Feed = dict
    if edge is not None and edge.metadata["takes"] != transformed.RAW:
        transform, _ = _signature(model, models.TRANSFORM)
        feed = _feed(transform, models.raw_features(edge))
    labelled = bool(model.metadata.get("label"))
    return Original(model, takes, evaluate, feed, "the cloud model", "in the cloud", labelled)


def _signature(model: Artifact, name: str) -> tuple[Feed, list[Feature]]:
    load = isolated.signature if "origin" in model.metadata else models.load_signature
    return load(model, name)


def _feed(transform: Feed, taken: Sequence[Feature]) -> Feed:
    """Raw features to those that an edge model takes, all or some of them transformed."""
    if not any(feature.transformed for feature in taken):
        return transform

    def feed(raw: models.Arrays) -> models.Arrays:
        made = transform(raw)
        return {f.name: made[f.transformed] if f.transformed else raw[f.name] for f in taken}

    return feed


def _bundle(folder: Path) -> Artifact:
    """A published bundle as an artifact: what it is, and the digests of its files."""
    found = read_bundle(folder)
    if found.takes != transformed.RAW:
        raise EdgelineError(
            f"{found.name} {found.version} takes {found.takes} features, which the rows do not "
            "have, so it cannot be evaluated beside another model: name a version that takes raw "
            "ones."
        )
    if Path(found.model).suffix != ".tflite" or found.target != "litert":
        raise EdgelineError(
            f"{found.name} {found.version} is made for {found.target}, and only a LiteRT model can "
            "be evaluated beside another: name a version of that."
        )
    labels = list(found.labels) if found.labels is not None else None
    metadata = {"task": found.task, "labels": labels, "label": None, "bundle": found.name}
    return Artifact(folder, BUNDLE, {**metadata, "version": found.version}, found.files)


def _published(model: Artifact) -> Original:
    """A bundle as devices run it: raw rows to real outputs."""
    found = read_bundle(model.path)
    loaded = isolated.model(model.path, _of_bundle, model.path)
    tensors, imported = loaded.signature.inputs, bool(found.provenance.get("origin"))

    def feed(raw: models.Arrays) -> models.Arrays:
        if imported:
            return prepare(raw, tensors)
        return {
            tensor.name: as_stored(
                raw[tensor.name], tensor, "the published model", "name another version"
            )
            for tensor in tensors
        }

    def evaluate(raw: models.Arrays) -> models.Arrays:
        answer = dequantise(loaded(quantise(feed(raw), tensors)), loaded.signature.outputs)
        rows = len(next(iter(raw.values())))
        return {**answer, models.LABEL: np.full((rows, 1), np.nan, np.float32)}

    words = f"{found.name} {found.version} as it is published"
    return Original(model, list(found.features), evaluate, feed, words, f"in {words}", False)


def _of_bundle(folder: Path) -> EdgeModel:
    found = read_bundle(folder)
    loaded = interpreter.load(folder / found.model)
    return hosted(loaded, found.host_operations, found.features)


def as_stored(array: Array, tensor: Tensor, model: str, way: str) -> Array:
    """Whole numbers in the dtype of an input without a scale: raw features have 64 bits, pixels 8.

    Args:
        model: whose input it is, for the sentence.
        way: out, in the imperative.

    Raises:
        EdgelineError: that dtype does not hold all values.
    """
    if tensor.scale is not None or array.dtype.kind not in "iu" or tensor.dtype == "string":
        return array
    typed = array.astype(tensor.dtype)
    if not np.array_equal(typed, array):
        raise EdgelineError(
            f"Input {tensor.name!r} of {model} is {tensor.dtype}, which does not hold all values "
            f"of that column: {way}."
        )
    return typed


def _imported(model: Artifact) -> Original:
    facts, origin = model.metadata, model.metadata["origin"]
    signature = models.edge_signature(model)
    path = model.path / origin["file"]
    onnx, converted = path.suffix == ".onnx", DESCRIBED in origin
    # what the file that came takes; a converted one takes the same in another order or dtype
    came = Signature.from_json(origin[DESCRIBED]) if converted else signature
    source = isolated.model(path, onnx_file if onnx else _litert, path, came, origin)
    kernels = "onnxruntime without optimisations" if onnx else "LiteRT's reference kernels"
    takes, label = models.raw_features(model), _label(facts)
    if facts["label"]:
        takes.append(Feature(facts["label"], facts["label_type"]))

    def feed(raw: models.Arrays) -> models.Arrays:
        prepared = prepare(raw, came.inputs)
        if not converted:
            return prepared
        return as_converted(prepared, signature.inputs, origin[CHANNELS_LAST])

    def evaluate(raw: models.Arrays) -> models.Arrays:
        answer = source(quantise(prepare(raw, came.inputs), came.inputs))
        real = dequantise(answer, came.outputs)
        for name in origin.get(ANSWERS_LAST, ()):
            real[name] = np.moveaxis(real[name], 1, -1)
        return {**real, models.LABEL: label(raw)}

    words = f"the file as it came, in {kernels}"
    place = "in the file as it came"
    return Original(model, takes, evaluate, feed, words, place, bool(facts["label"]))


def channels_last(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a row whose channels, which come first, are put last."""
    return (*shape[1:], shape[0])


def as_converted(
    arrays: models.Arrays, tensors: Sequence[Tensor], moved: Sequence[str]
) -> dict[str, Array]:
    """What a file takes as the model that was converted from it takes it.

    Args:
        tensors: the inputs of that model.
        moved: those whose channels are first in the file, and last in the model.

    Raises:
        EdgelineError: an input does not hold a value.
    """
    found = {}
    for tensor in tensors:
        array = arrays[tensor.name]
        if tensor.name in moved:
            array = np.moveaxis(array, 1, -1)
        found[tensor.name] = array
        if tensor.dtype != "string" and array.dtype != tensor.dtype:
            found[tensor.name] = _typed(array, tensor)
    return found


def _label(facts: Mapping[str, Any]) -> Callable[[models.Arrays], Array]:
    """What gives the label [rows, 1] of raw rows: a class index, a value, or NaN."""
    column = facts["label"]
    if not column:
        return lambda raw: np.full((len(next(iter(raw.values()))), 1), np.nan, np.float32)
    if facts["label_type"] != "string":
        return lambda raw: raw[column]
    places = {name.encode(): place for place, name in enumerate(facts["labels"])}
    return lambda raw: np.vectorize(lambda name: places.get(name, -1), [np.int64])(raw[column])


def _litert(path: Path, signature: Signature, origin: Mapping[str, Any]) -> EdgeModel:
    """A LiteRT file under our names, in the kernels that define what its operators mean."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    try:
        runtime = Interpreter(
            str(path), num_threads=1, experimental_op_resolver_type=OpResolverType.BUILTIN_REF
        )
        runtime.allocate_tensors()
        runner = runtime.get_signature_runner(origin["signature"]) if origin["signature"] else None
    except (ValueError, RuntimeError) as error:
        raise EdgelineError(
            f"{path} is not a model that LiteRT's reference kernels run ({first_line(error)}): "
            "export it with builtin operators only."
        ) from error
    takes, gives = origin["inputs"], origin["outputs"]
    inputs = {detail["name"]: detail for detail in runtime.get_input_details()}
    outputs = {detail["name"]: detail for detail in runtime.get_output_details()}

    def invoke(arrays: models.Arrays) -> models.Arrays:
        given = {takes[name]: array for name, array in arrays.items()}
        try:
            if runner is not None:
                answer: models.Arrays = runner(**given)
            else:
                answer = _invoke(runtime, given, inputs, outputs)
        except (ValueError, RuntimeError) as error:
            raise EdgelineError(
                f"{path} failed in LiteRT's reference kernels ({first_line(error)}): check the "
                "rows, or export it with builtin operators only."
            ) from error
        return {name: answer[former] for name, former in gives.items()}

    return EdgeModel(signature, invoke)


def _invoke(
    runtime: Any, given: models.Arrays, inputs: Mapping[str, Any], outputs: Mapping[str, Any]
) -> models.Arrays:
    """Run a model without signatures."""
    for name, array in given.items():
        runtime.resize_tensor_input(inputs[name]["index"], array.shape)
    runtime.allocate_tensors()
    for name, array in given.items():
        runtime.set_tensor(inputs[name]["index"], array)
    runtime.invoke()
    return {name: runtime.get_tensor(detail["index"]) for name, detail in outputs.items()}


def onnx_file(path: Path, signature: Signature, origin: Mapping[str, Any]) -> EdgeModel:
    """An ONNX file in onnxruntime under our names, each operator as it stands.

    Args:
        signature: what it takes and gives, under our names.
        origin: its own names of `inputs` and `outputs` by ours.

    Raises:
        EdgelineError: onnxruntime is not installed, or cannot load it.
    """
    from edgeline.runtimes import onnx_session

    takes, gives = origin["inputs"], origin["outputs"]
    former = Signature(
        tuple(replace(tensor, name=takes[tensor.name]) for tensor in signature.inputs),
        tuple(replace(tensor, name=gives[tensor.name]) for tensor in signature.outputs),
    )
    source = onnx_session.session(path, former, optimised=False)

    def invoke(arrays: models.Arrays) -> models.Arrays:
        answer = source.invoke({takes[name]: array for name, array in arrays.items()})
        return {name: answer[former] for name, former in gives.items()}

    return EdgeModel(signature, invoke)
