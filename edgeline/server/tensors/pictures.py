"""JPEG and PNG to a vision model's input, so that a client need not know its size and scale.

An input takes images if it is [batch, height, width, 1 or 3] or [batch, height, width]. A file is
decoded as `ingest` does it (see `edgeline.artifacts.pixels`), so a model meets in service what it
met in training; then it is scaled to the input's dtype:

| dtype       | bundle takes | a pixel p from 0 to 255 becomes                                   |
|-------------|--------------|-------------------------------------------------------------------|
| float32     | raw          | p: the transform is inside the model                              |
| float32     | transformed  | p / 255                                                           |
| uint8, int8 | raw          | p, quantised by the input's scale and zero point                  |
| uint8, int8 | transformed  | p, or p - 128: the input's real range is spread over its values   |
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterable

import numpy as np

from edgeline.artifacts import pixels
from edgeline.artifacts.bundle import Signature, Tensor
from edgeline.errors import EdgelineError
from edgeline.formats.dtypes import Array
from edgeline.runtimes.interpreter import Arrays, quantise
from edgeline.server.errors import Code, ServingError, invalid

MEDIA_TYPES = ("image/jpeg", "image/png")
DECODING = 20.0  # seconds of a core that the images of a request may take
_CENTRE = {"uint8": 0, "int8": 128}


def is_image_type(content_type: bytes) -> bool:
    """Whether a body says that it is an image."""
    return content_type.lstrip()[:6].lower() == b"image/"


def from_body(body: bytes, model: str, signature: Signature, takes: str) -> Arrays:
    """The only input of a vision model, [1, ...], from a body that is an image.

    Args:
        model: its name.
        takes: what it takes, `raw` or `transformed`.

    Raises:
        ServingError: the model takes no single image, or the image cannot be decoded.
    """
    inputs = signature.inputs
    if len(inputs) != 1 or not pixels.takes_images(inputs[0]):
        raise invalid(f"Model {model!r} does not take one image: send its inputs as JSON.")
    return {inputs[0].name: decode([body], inputs[0], takes)}


def decode(images: Iterable[bytes], tensor: Tensor, takes: str) -> Array:
    """Encoded images as an input's array [images, *shape].

    Args:
        images: JPEG or PNG files.
        tensor: an input that `pixels.takes_images`.
        takes: what the bundle takes, `raw` or `transformed`.

    Raises:
        ServingError: one is not a JPEG or PNG, is damaged or too large; together they take longer
            than `DECODING`; or Pillow is missing (501).
    """
    if importlib.util.find_spec("PIL") is None:
        raise ServingError(
            Code.UNIMPLEMENTED,
            "Images are decoded by Pillow, which is not installed here: pip install "
            "'edgeline[serve]', or send the pixels as a tensor.",
        )
    height, width = tensor.shape[1:3]
    channels = tensor.shape[3] if len(tensor.shape) == 4 else 1
    try:
        found: list[Array] = []
        until = time.thread_time() + DECODING
        for data in images:
            found.append(pixels.decode(data, (height, width, channels), until))
    except pixels.LateError as error:
        raise invalid(
            f"Input {tensor.name!r} cannot be taken: decoding takes more than {DECODING:g} s of a "
            f"core with image {len(found) + 1}: send fewer or smaller ones."
        ) from error
    except EdgelineError as error:
        raise invalid(f"Input {tensor.name!r} cannot be taken: {error}") from error
    if not found:
        raise invalid(f"Input {tensor.name!r} holds no image.")
    array = np.stack(found).reshape(-1, *tensor.shape[1:])
    if tensor.dtype == "float32":
        return array.astype(np.float32) / np.float32(1.0 if takes == "raw" else 255.0)
    if takes == "raw" and tensor.scale is not None:
        return quantise({tensor.name: array}, (tensor,))[tensor.name]
    return (array.astype(np.int16) - _CENTRE[tensor.dtype]).astype(tensor.dtype)
