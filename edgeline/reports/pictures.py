"""Pictures of the data as small images of a page, bounded in pixels and so in bytes."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from edgeline.artifacts import features
from edgeline.artifacts.features import Feature
from edgeline.formats.dtypes import Array

if TYPE_CHECKING:
    import pyarrow as pa

SIDE = 48  # pixels of a shown picture's longer side
SMOOTH = 32  # a larger one is written as JPEG, a smaller one as PNG, each pixel as it is
CHANNELS = (1, 3)


def picture_columns(schema: pa.Schema) -> list[Feature]:
    """The columns of examples that are pictures [height, width, channels], grey or RGB."""
    import pyarrow as pa

    found = []
    for field in schema:
        shape = features.shape_of(field)
        if len(shape) == 3 and shape[2] in CHANNELS and min(shape[:2]) > 1:
            found.append(field)
    return features.from_arrow_schema(pa.schema(found))


def shrunk(pictures: Array, side: int = SIDE) -> npt.NDArray[np.float32]:
    """Pictures [rows, height, width, channels], at most `side` high and wide, by means of areas."""
    found = np.asarray(pictures, np.float32)
    for axis in (1, 2):
        size = found.shape[axis]
        starts = np.arange(min(size, side)) * size // min(size, side)
        lengths = np.diff(starts, append=size).astype(np.float32)
        shape = [-1 if place == axis else 1 for place in range(4)]
        found = np.add.reduceat(found, starts, axis) / lengths.reshape(shape)
    return found


def span(pictures: Array) -> tuple[float, float]:
    """What is black and what is white in some pictures: 0 and 255, or where values are others, such
    as 0 to 1, their least and largest."""
    values = np.nan_to_num(np.asarray(pictures, np.float32))
    low, high = float(values.min(initial=0)), float(values.max(initial=0))
    return (0.0, 255.0) if low >= 0 and 16 < high <= 255 else (low, max(high, low + 1e-9))


def to_bytes(pictures: Array, within: tuple[float, float]) -> npt.NDArray[np.uint8]:
    """Values as uint8, from 0 for the first of `span` to 255 for the second."""
    low, high = within
    values = (np.nan_to_num(np.asarray(pictures, np.float32)) - low) * (255 / (high - low))
    return np.asarray(np.rint(np.clip(values, 0, 255)), np.uint8)


def image(picture: npt.NDArray[np.uint8], told: str) -> Markup:
    """A picture [height, width, 1 or 3] as an `<img>`, with what it shows in words."""
    from PIL import Image

    values: Any = picture[..., 0] if picture.shape[2] == 1 else picture
    stream = io.BytesIO()
    smooth = max(picture.shape[:2]) > SMOOTH
    Image.fromarray(values).save(
        stream, **({"format": "JPEG", "quality": 80} if smooth else {"format": "PNG"})
    )
    data = base64.b64encode(stream.getvalue()).decode()
    kind = "jpeg" if smooth else "png"
    return Markup('<img class="picture" src="data:image/{};base64,{}" alt="{}" title="{}">').format(
        kind, Markup(data), told, told
    )


def row(images: Sequence[Markup]) -> Markup:
    """Images beside each other, in as many lines as they need."""
    return Markup('<div class="pictures">{}</div>').format(Markup("").join(images))
