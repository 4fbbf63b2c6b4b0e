"""TFLite Metadata: what an app's library has to know of a model, written into its .tflite file.

It is a flatbuffer of its own in one of the model's buffers, under the name `TFLITE_METADATA`; the
files that it names (labels, score calibration) are a zip behind the model's flatbuffer, stored
without compression, since MediaPipe reads them where they lie. What the model computes, and what
its converter noted (`min_runtime_version`), stays. Field numbers and values are those of schema
1.5.0 (mediapipe/tasks/metadata/metadata_schema.fbs).
"""

from __future__ import annotations

import enum
import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgeline.formats.flatbuffer import Table, root
from edgeline.formats.flatbuffer_writing import Scalar, TableFields, written
from edgeline.formats.packing import packed, unpacked
from edgeline.formats.tflite import Model

NAME, IDENTIFIER = "TFLITE_METADATA", "M001"
_BEGINNING = (1980, 1, 1, 0, 0, 0)  # the first that a zip can tell: equal content, equal bytes
_NORMALISATION, _CALIBRATION = 1, 2  # of the union ProcessUnitOptions
_INVERSE_LOGISTIC = 2
PerChannel = tuple[float, ...]  # one, or one for each channel


class FileKind(enum.IntEnum):
    """What an associated file is for."""

    AXIS_LABELS = 2  # a line for each place of a tensor
    VALUE_LABELS = 3  # a line for each value that a tensor may have
    SCORE_CALIBRATION = 4  # a line for each class: scale,slope,offset


class TensorContent(enum.Enum):
    """What a tensor is: the union ContentProperties, and the colours of a picture."""

    FEATURE, RGB, GREY, BOXES = "feature", "rgb", "grey", "boxes"


@dataclass(frozen=True)
class AssociatedFile:
    """A file behind the model; its name is unique among them."""

    name: str
    kind: FileKind
    content: bytes
    description: str = ""


@dataclass(frozen=True)
class TensorMetadata:
    """What is known of an input or output.

    Attributes:
        axis: the one along which each place is a thing of its own, such as a box of many; 0 where
            the tensor is one thing.
        normalisation: mean and standard deviation: the model's real value is (pixel - mean) / std.
        calibrated: whether one of the files says how scores become probabilities:
            scale / (1 + exp(-(slope * logit(score) + offset))).
    """

    name: str
    description: str
    content: TensorContent = TensorContent.FEATURE
    axis: int = 0
    normalisation: tuple[PerChannel, PerChannel] | None = None
    calibrated: bool = False
    files: tuple[AssociatedFile, ...] = ()


@dataclass(frozen=True)
class ModelMetadata:
    """What is known of a model.

    Attributes:
        inputs: in the order of the main subgraph's.
        outputs: likewise.
        groups: names of outputs that belong together, by the group's name.
    """

    name: str
    version: str
    description: str
    inputs: tuple[TensorMetadata, ...]
    outputs: tuple[TensorMetadata, ...]
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def files(self) -> tuple[AssociatedFile, ...]:
        """Those of all tensors, each name once."""
        tensors = (*self.inputs, *self.outputs)
        return tuple({file.name: file for each in tensors for file in each.files}.values())


def with_metadata(file: bytes, metadata: ModelMetadata) -> bytes:
    """A .tflite file with metadata, in place of what it had; equal input gives equal bytes."""
    from ai_edge_litert.schema_py_generated import BufferT, MetadataT

    model = unpacked(file)
    model.metadata = [each for each in model.metadata or [] if each.name != NAME.encode()]
    buffer, entry = BufferT(), MetadataT()
    buffer.data = np.frombuffer(flatbuffer_of(metadata), np.uint8)
    entry.name, entry.buffer = NAME, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata.append(entry)
    flat = packed(model, len(file))
    return flat + _zip(metadata.files, len(flat))


def normalisations(model: Model) -> tuple[tuple[PerChannel, PerChannel] | None, ...]:
    """What a file's own metadata tell of the main subgraph's inputs; () where it has none.

    Raises:
        EdgelineError: the metadata are damaged.
    """
    content = model.metadata.get(NAME)
    if content is None or not len(content):
        return ()
    told = root(content, IDENTIFIER, f"the metadata of {model.path}").tables(3)
    return tuple(map(_normalisation, told[0].tables(2))) if told else ()


def _normalisation(tensor: Table) -> tuple[PerChannel, PerChannel] | None:
    for unit in tensor.tables(4):
        options = unit.table(1)
        if unit.integer(0, "B") != _NORMALISATION or options is None:
            continue
        mean, std = (options.array(field, "<f4").astype(np.float64) for field in (0, 1))
        if mean.size and mean.size == std.size and np.isfinite([mean, std]).all() and all(std > 0):
            return tuple(mean.tolist()), tuple(std.tolist())
    return None


def flatbuffer_of(metadata: ModelMetadata) -> bytes:
    """The metadata alone, as a flatbuffer."""
    groups = [{0: name, 1: list(tensors)} for name, tensors in metadata.groups.items()]
    subgraph = {
        2: [_tensor(tensor) for tensor in metadata.inputs],
        3: [_tensor(tensor) for tensor in metadata.outputs],
        8: groups or None,
    }
    return written(
        {
            0: metadata.name,
            1: metadata.description,
            2: metadata.version,
            3: [subgraph],
            7: "1.2.0" if groups else "1.0.0",  # the oldest parser that knows all these fields
        },
        IDENTIFIER,
    )


def _tensor(tensor: TensorMetadata) -> TableFields:
    units = []
    if tensor.normalisation is not None:
        mean, std = tensor.normalisation
        units.append(_union(_NORMALISATION, {0: _floats(mean), 1: _floats(std)}))
    if tensor.calibrated:
        units.append(_union(_CALIBRATION, {0: Scalar("b", _INVERSE_LOGISTIC)}))
    axis = {0: Scalar("i", tensor.axis), 1: Scalar("i", tensor.axis)} if tensor.axis else None
    stats = None
    if tensor.normalisation is not None:  # of a picture
        mean_, std_ = map(np.array, tensor.normalisation)
        stats = {0: _floats((255 - mean_) / std_), 1: _floats((0 - mean_) / std_)}
    files = [
        {0: file.name, 1: file.description, 2: Scalar("b", file.kind)} for file in tensor.files
    ]
    return {
        0: tensor.name,
        1: tensor.description,
        3: {**_union(*_content(tensor.content)), 2: axis},
        4: units or None,
        5: stats,
        6: files or None,
    }


def _content(content: TensorContent) -> tuple[int, TableFields]:
    if content in (TensorContent.RGB, TensorContent.GREY):
        return 2, {0: Scalar("b", 1 if content is TensorContent.RGB else 2)}
    if content is TensorContent.BOXES:
        # top, left, bottom, right: the places of the schema's left, top, right, bottom
        order = np.array([1, 0, 3, 2], np.uint32)
        return 3, {0: order, 1: Scalar("b", 1)}  # boundaries, as shares of the picture's sides
    return 1, {}


def _union(kind: int, fields: TableFields) -> dict[int, Any]:
    return {0: Scalar("B", kind), 1: fields}


def _floats(values: Any) -> Any:
    return np.array(values, np.float32)


def _zip(files: tuple[AssociatedFile, ...], before: int) -> bytes:
    """A zip of files that lies behind so many bytes; none of none."""
    if not files:
        return b""
    stream = io.BytesIO()
    stream.seek(before)  # the places that a zip tells count from the file's beginning
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for file in files:
            entry = zipfile.ZipInfo(file.name, _BEGINNING)
            entry.create_system = 3  # whatever system writes it
            archive.writestr(entry, file.content)
    return stream.getvalue()[before:]
