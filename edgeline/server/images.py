"""JPEG and PNG to a vision model's input, so that a client need not know its size and scale.

An input takes images if it is [batch, height, width, 1 or 3] or [batch, height, width]. An image
is turned as its EXIF orientation says, made grey or RGB, stretched to the input's size (bilinear
over the whole area, as Pillow does) and scaled to the input's dtype:

| dtype   | a pixel p from 0 to 255 becomes                                                |
|---------|--------------------------------------------------------------------------------|
| uint8   | p: a quantised input spreads its real range over its 256 values                |
| int8    | p - 128                                                                        |
| float32 | p where the bundle takes raw features, as the transform is inside; else p / 255 |

Of a file only the header is read before its size is known to be within `MAX_PIXELS`.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeline.bundle import Tensor
from edgeline.server.errors import Code, ServingError, invalid
from edgeline.server.model import Arrays, Description

MAX_PIXELS = 1 << 25
FORMATS = ("JPEG", "PNG")
MEDIA_TYPES = ("image/jpeg", "image/png")
_CENTRE = {"uint8": 0, "int8": 128}


def is_image_type(content_type: bytes) -> bool:
    """Whether a body says that it is an image."""
    return content_type.lstrip()[:6].lower() == b"image/"


def takes_images(tensor: Tensor) -> bool:
    """Whether an input has the shape and dtype of images."""
    sizes = tensor.shape[1:]
    return (
        tensor.dtype in ("uint8", "int8", "float32")
        and len(sizes) in (2, 3)
        and all(size > 0 for size in sizes)
        and (len(sizes) == 2 or sizes[2] in (1, 3))
    )


def from_body(body: bytes, description: Description) -> Arrays:
    """The only input of a vision model, [1, ...], from a body that is an image.

    Raises:
        ServingError: the model takes no single image, or the image cannot be decoded.
    """
    inputs = description.signature.inputs
    if len(inputs) != 1 or not takes_images(inputs[0]):
        raise invalid(
            f"Model {description.name!r} does not take one image: send its inputs as JSON."
        )
    return {inputs[0].name: decode([body], inputs[0], description.takes)}


def decode(images: Iterable[bytes], tensor: Tensor, takes: str) -> npt.NDArray[Any]:
    """Encoded images as an input's array [images, *shape].

    Args:
        images: JPEG or PNG files.
        tensor: an input that `takes_images`.
        takes: what the bundle takes, `raw` or `transformed`.

    Raises:
        ServingError: one is no JPEG or PNG, is damaged or has more than `MAX_PIXELS`; or there
            is no Pillow (501).
    """
    grey = len(tensor.shape) == 3 or tensor.shape[3] == 1
    height, width = tensor.shape[1:3]
    pixels = [_pixels(data, grey, width, height).reshape(tensor.shape[1:]) for data in images]
    if not pixels:
        raise invalid(f"Input {tensor.name!r} holds no image.")
    array: npt.NDArray[Any] = np.stack(pixels)
    if tensor.dtype == "float32":
        return array.astype(np.float32) / np.float32(1.0 if takes == "raw" else 255.0)
    return (array.astype(np.int16) - _CENTRE[tensor.dtype]).astype(tensor.dtype)


def _pixels(data: bytes, grey: bool, width: int, height: int) -> npt.NDArray[np.uint8]:
    try:
        from PIL import Image, ImageOps
    except ImportError:
        raise ServingError(
            Code.UNIMPLEMENTED,
            "Images are decoded by Pillow, which is not installed here: pip install "
            "'edgeline[serve]', or send the pixels as a tensor.",
        ) from None
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise Image.DecompressionBombError
            image.draft("L" if grey else "RGB", (width, height))  # JPEG: decoded smaller at once
            turned = ImageOps.exif_transpose(image)
            if turned.mode.startswith("I"):  # 16 bits, which a conversion would cut off
                turned = Image.fromarray((np.asarray(turned) >> 8).astype(np.uint8))
            plain = turned.convert("L" if grey else "RGB")
            return np.asarray(plain.resize((width, height), Image.Resampling.BILINEAR))
    except Image.DecompressionBombError:
        message = f"The image is too large: send one of at most {MAX_PIXELS:,} pixels."
        raise ServingError(Code.INVALID_ARGUMENT, message, 413) from None
    except Exception as error:  # of a damaged file Pillow raises whatever its decoder met
        reason = "it is no JPEG or PNG" if "cannot identify" in str(error) else "it is damaged"
        raise invalid(f"The image cannot be decoded: {reason}.") from error
