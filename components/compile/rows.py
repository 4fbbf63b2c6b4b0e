"""Representative rows for integer quantisation, from what a user has at hand."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgeline.artifacts.features import NUMPY_DTYPES, Feature
from edgeline.artifacts.sampling import spread
from edgeline.errors import EdgelineError, UsageError
from edgeline.extras import install_hint
from edgeline.formats.dtypes import Array

MOST_ROWS = 100
RANDOM_ROWS, SEED = 8, 0
SUFFIXES = (".png", ".jpg", ".jpeg")

Arrays = Mapping[str, Array]


def random_rows(features: Sequence[Feature]) -> Arrays:
    """Numbers from 0 to 1 and empty strings, of the shapes that a model takes."""
    random = np.random.default_rng(SEED)
    found: dict[str, Array] = {}
    for feature in features:
        shape = (RANDOM_ROWS, *feature.shape)
        if feature.dtype == "string":
            found[feature.name] = np.full(shape, b"", object)
        else:
            values = random.uniform(0, 2 if feature.dtype == "int64" else 1, shape)
            found[feature.name] = values.astype(NUMPY_DTYPES[feature.dtype])
    return found


def check_rows(path: Path) -> None:
    """Refuse what `read_rows` could not read for any model, without reading it.

    Raises:
        UsageError: there is no such file or folder, or it is of another kind.
    """
    if path.is_dir():
        _image_files(path)
    else:
        _load(path)


def read_rows(path: Path, features: Sequence[Feature]) -> Arrays:
    """Rows of a .npz file (arrays by feature), a .npy file (one feature) or a folder of images.

    At most 100 of them, evenly spread. Images are brought to the size of the model's input:
    pixels from 0 to 255, whatever the model makes of them.

    Raises:
        UsageError: the file is of another kind.
        EdgelineError: it is damaged, or does not fit the features.
    """
    if path.is_dir():
        return {_only(features, path).name: _images(path, _only(features, path))}
    loaded = _load(path)
    if isinstance(loaded, np.ndarray):
        return _chosen({_only(features, path): loaded}, path)
    with loaded:
        if len(features) == len(loaded.files) == 1:
            return _chosen({features[0]: loaded[loaded.files[0]]}, path)
        if absent := [feature.name for feature in features if feature.name not in loaded.files]:
            raise EdgelineError(
                f"{path} has no array {absent[0]!r}, only {', '.join(loaded.files)}: the model "
                f"takes {', '.join(feature.name for feature in features)}."
            )
        return _chosen({feature: loaded[feature.name] for feature in features}, path)


def _load(path: Path) -> Any:
    """An array, which stays on the disk, or an archive of arrays."""
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        # numpy's words for a file of another kind are advice to run the pickle that it might be
        reason = getattr(error, "strerror", None) or "it has another format"
        raise UsageError(
            f"{path} is not an .npz or .npy file of numbers ({reason}): write it with numpy.savez."
        ) from error


def _image_files(folder: Path) -> list[Path]:
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not files:
        raise UsageError(
            f"{folder} has no {', '.join(SUFFIXES)} files, and is not an examples/v1 folder: give "
            "either, or a .npz file."
        )
    return files


def _only(features: Sequence[Feature], path: Path) -> Feature:
    if len(features) != 1:
        raise EdgelineError(
            f"{path} is for a model with one input, but this one takes "
            f"{', '.join(feature.name for feature in features)}: give a .npz file with an array "
            "for each."
        )
    return features[0]


def _chosen(arrays: Mapping[Feature, Array], path: Path) -> Arrays:
    """At most 100 rows, evenly spread and the same of each feature, in the features' dtypes."""
    shaped = {feature: _shaped(array, feature, path) for feature, array in arrays.items()}
    counts = {feature.name: len(array) for feature, array in shaped.items()}
    if len(set(counts.values())) > 1:
        raise EdgelineError(f"The arrays of {path} differ in their rows: {counts}.")
    return {
        feature.name: _typed(array[spread(len(array), MOST_ROWS)], feature, path)
        for feature, array in shaped.items()
    }


def _shaped(array: Array, feature: Feature, path: Path) -> Array:
    if array.ndim == len(feature.shape):  # [rows] for [rows, 1], or one row without its batch
        array = array[..., None] if feature.shape == (1,) else array[None]
    if array.shape[1:] != feature.shape:
        raise EdgelineError(
            f"{feature.name!r} in {path} has shape {list(array.shape)}, but the model takes "
            f"{['rows', *feature.shape]}."
        )
    return array


def _typed(array: Array, feature: Feature, path: Path) -> Array:
    if feature.dtype == "string":
        if array.dtype.kind not in "SU":
            raise EdgelineError(f"{feature.name!r} in {path} is {array.dtype}: give strings.")
        values = np.char.encode(array, "utf-8") if array.dtype.kind == "U" else array
        return values.astype(object)
    if array.dtype.kind not in "biuf":
        raise EdgelineError(f"{feature.name!r} in {path} is {array.dtype}: give numbers.")
    return array.astype(NUMPY_DTYPES[feature.dtype])


def _images(folder: Path, feature: Feature) -> Array:
    try:
        from PIL import Image, UnidentifiedImageError
    except ModuleNotFoundError as error:
        raise EdgelineError(install_hint(error)) from None
    files = _image_files(folder)
    if len(feature.shape) != 3 or feature.shape[2] not in (1, 3):
        raise EdgelineError(
            f"Input {feature.name!r} has shape {['rows', *feature.shape]}, which no image has: "
            "give a .npz file."
        )
    height, width, channels = feature.shape
    rows = []
    for file in (files[place] for place in spread(len(files), MOST_ROWS)):
        try:
            with Image.open(file) as image:
                pixels = image.convert("L" if channels == 1 else "RGB").resize((width, height))
        except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
            raise EdgelineError(
                f"{file} is not an image ({error}): replace or remove it."
            ) from error
        rows.append(np.asarray(pixels, np.float32).reshape(height, width, channels))
    return np.stack(rows).astype(NUMPY_DTYPES[feature.dtype])
