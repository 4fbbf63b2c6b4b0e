"""An image file as an array of pixels, the same wherever it is decoded: ingest and server.

An image is turned as its EXIF orientation says, made grey or RGB (transparency is dropped), and
stretched to the wanted size (bilinear over the whole area, as Pillow does).
"""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt

from edgeline.errors import EdgelineError
from edgeline.extras import install_hint

FORMATS = ("JPEG", "PNG")
MOST_PIXELS = 1 << 25  # of a file: only its header is read before this is known


def decode(data: bytes, shape: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    """The pixels of a JPEG or PNG, uint8 [height, width, 1 or 3], 0 is black.

    Args:
        data: the file.
        shape: height, width and channels: 1 for grey, 3 for RGB.

    Raises:
        EdgelineError: it is no JPEG or PNG, is damaged or too large, or Pillow is missing.
    """
    try:
        from PIL import Image, ImageOps
    except ModuleNotFoundError as error:
        raise EdgelineError(f"{install_hint(error)}, to decode images.") from None
    height, width, channels = shape
    mode = "L" if channels == 1 else "RGB"
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            columns, rows = image.size
            if columns * rows > MOST_PIXELS:
                raise EdgelineError(
                    f"the image has {columns} x {rows} pixels, at most {MOST_PIXELS:,} are taken: "
                    "make it smaller."
                )
            image.draft(mode, (width, height))  # a JPEG is decoded smaller at once
            turned = ImageOps.exif_transpose(image)
            if turned.mode.startswith("I"):  # 16 bits, which a conversion would cut off
                turned = Image.fromarray((np.asarray(turned) >> 8).astype(np.uint8))
            plain = turned.convert(mode)
            if plain.size != (width, height):
                plain = plain.resize((width, height), Image.Resampling.BILINEAR)
            return np.asarray(plain).reshape(shape)
    except EdgelineError:
        raise
    except Exception as error:  # of a damaged file Pillow raises whatever its decoder met
        reason = "damaged"
        if "cannot identify" in str(error):
            reason = "no JPEG or PNG"
        elif isinstance(error, Image.DecompressionBombError):
            reason = f"of more than {MOST_PIXELS:,} pixels"
        raise EdgelineError(f"the image is {reason}: replace or remove it.") from error
