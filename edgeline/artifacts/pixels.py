"""An image file as an array of pixels, the same wherever it is decoded: ingest and server.

An image is turned as its EXIF orientation says, made grey or RGB (transparency is dropped), and
stretched to the wanted size (bilinear over the whole area, as Pillow does).
"""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeline.artifacts.bundle import Tensor
from edgeline.errors import EdgelineError
from edgeline.extras import install_hint
from edgeline.formats.dtypes import Array

FORMATS = ("JPEG", "PNG")
CHANNELS = (1, 3)
# of a file: only its header is read before these are known
MOST_PIXELS, LONGEST_SIDE = 1 << 25, 1 << 15
# of a JPEG: each goes over all pixels, in 16 bytes or more; a progressive one has some ten
MOST_SCANS = 64
_SCAN = b"\xff\xda"  # begins one, and stands nowhere else but in metadata
_OF_A_PIXEL = 12  # bytes: as it is decoded, turned and converted
_AT_ONCE = _OF_A_PIXEL << 24  # bytes that images may take which are decoded at once


class LateError(EdgelineError):
    """An image is not decoded in the time that there is."""


class Decoding:
    """The memory of the images that are decoded at once, over all threads.

    Attributes:
        size: bytes that they take at most at present.
    """

    def __init__(self, most: int) -> None:
        """An image that takes more than `most` bytes is decoded while no other is."""
        self.size, self._most = 0, most
        self._changed, self._turn = threading.Condition(), threading.Lock()

    @contextmanager
    def taking(self, size: int) -> Iterator[None]:
        """Wait until there is room for an image of so many bytes, and count it."""
        with self._turn, self._changed:  # one waits at a time: small ones do not pass a large one
            self._changed.wait_for(lambda: not self.size or self.size + size <= self._most)
            self.size += size
        try:
            yield
        finally:
            with self._changed:
                self.size -= size
                self._changed.notify_all()


decoding = Decoding(_AT_ONCE)


class _Timed(io.BytesIO):
    """A file that gives nothing more from a time on."""

    def __init__(self, data: bytes, until: float) -> None:
        super().__init__(data)
        self._until = until

    def read(self, size: int | None = -1, /) -> bytes:
        if time.thread_time() > self._until:
            raise LateError("the image takes too long to decode: make it smaller.")
        return super().read(size)


def decode(
    data: bytes, shape: tuple[int, int, int], until: float = float("inf")
) -> npt.NDArray[np.uint8]:
    """The pixels of a JPEG or PNG, uint8 [height, width, 1 or 3], 0 is black.

    Args:
        data: the file.
        shape: height, width and channels: 1 for grey, 3 for RGB.
        until: of `time.thread_time`, when it is given up; looked at after each 64 KiB of the file.

    Raises:
        LateError: it is not decoded by then.
        EdgelineError: it is not a JPEG or PNG, is damaged or too large, or Pillow is missing.
    """
    try:
        from PIL import Image, ImageOps
    except ModuleNotFoundError as error:
        raise EdgelineError(f"{install_hint(error)}, to decode images.") from None
    height, width, channels = shape
    mode = "L" if channels == 1 else "RGB"
    try:
        if data.startswith(b"\xff\xd8") and data.count(_SCAN) > MOST_SCANS:
            raise EdgelineError(
                f"the image has {data.count(_SCAN):,} scans, at most {MOST_SCANS} are taken: save "
                "it again."
            )
        with Image.open(_Timed(data, until), formats=FORMATS) as image:
            columns, rows = image.size
            if columns * rows > MOST_PIXELS:
                raise EdgelineError(
                    f"the image has {columns} x {rows} pixels, at most {MOST_PIXELS:,} are taken: "
                    "make it smaller."
                )
            if max(columns, rows) > LONGEST_SIDE:
                raise EdgelineError(
                    f"the image is {columns} x {rows} pixels, a side at most {LONGEST_SIDE:,}: "
                    "make it smaller."
                )
            image.draft(mode, (width, height))  # a JPEG is decoded smaller at once
            with decoding.taking(_OF_A_PIXEL * columns * rows):
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
            reason = "not a JPEG or PNG"
        elif isinstance(error, Image.DecompressionBombError):
            reason = f"of more than {MOST_PIXELS:,} pixels"
        raise EdgelineError(f"the image is {reason}: replace or remove it.") from error


def takes_images(tensor: Tensor) -> bool:
    """Whether an input has the shape and dtype of images, the channels last."""
    sizes = tensor.shape[1:]
    return (
        tensor.dtype in ("uint8", "int8", "float32")
        and len(sizes) in (2, 3)
        and all(size > 0 for size in sizes)
        and (len(sizes) == 2 or sizes[2] in CHANNELS)
    )


def channels_first(shape: tuple[int, ...]) -> bool:
    """Whether a row's shape is that of images with the channels first, as PyTorch has them."""
    return len(shape) == 3 and shape[0] in CHANNELS and shape[2] not in CHANNELS


def over_range(tensor: Tensor) -> bool:
    """Whether pixels from 0 to 255 are spread over the 256 values of an input.

    So are those of vision models with integers inside: a value is a pixel, and scale and zero
    point say what the network makes of it.
    """
    if tensor.scale is None or not takes_images(tensor):
        return False
    return any(abs(_real(tensor, pixel) - pixel) > 1 for pixel in (0, 255))


def to_range(array: Array, tensor: Tensor) -> Array:
    """Pixels from 0 to 255 as the real values of such an input (see `over_range`), float32."""
    return np.asarray(_real(tensor, array.astype(np.float64)), np.float32)


def _real(tensor: Tensor, pixel: Any) -> Any:
    lowest = np.iinfo(tensor.dtype).min
    return (tensor.scale or 1.0) * (pixel + lowest - (tensor.zero_point or 0))
