"""The vectors that a training has learnt, as files that TensorBoard's projector reads.

Beside the logs of a run lie `projector_config.pbtxt` (ProjectorConfig of TensorBoard's
projector_config.proto), and of each table its vectors, a line a row, and the words that its rows
stand for. Which word is which row is asked of the model's own transform: of each word that it looks
up, or compares with, alone in its column, which rows come of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgeline import artifacts
from edgeline.artifacts import features, models
from edgeline.artifacts.features import Feature
from edgeline.components.verify import vocabularies
from edgeline.formats import typed
from edgeline.formats.dtypes import Array

CONFIG = "projector_config.pbtxt"
PIECE = 4096  # words that are asked at once
_SEPARATORS = str.maketrans(dict.fromkeys("\t\r\n\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029", " "))
_KIND = tuple[Mapping[str, object], ...]


def told(model: Path) -> tuple[Mapping[str, Any], ...]:
    """What a `model/v1` folder says of its tables of vectors; nothing where it has none.

    Raises:
        EdgelineError: it is damaged.
    """
    found = artifacts.read(model, models.SCHEMA).metadata.get(models.EMBEDDINGS, [])
    return typed.convert(found, _KIND, f"{models.EMBEDDINGS} of {model}")  # type: ignore[no-any-return]


def write(model: Path, folder: Path) -> list[Path]:
    """Write the tables of a model. Needs TensorFlow.

    Args:
        model: a `model/v1` folder with some.
        folder: that of the events of its training.

    Returns:
        The files, the projector's configuration last.

    Raises:
        EdgelineError: the folder is damaged.
    """
    tables = told(model)
    found = artifacts.read(model, models.SCHEMA)
    call, takes = models.load_signature(found, models.TRANSFORM)
    words = _words(call, takes, {str(each["feature"]) for each in tables})
    folder.mkdir(parents=True, exist_ok=True)
    files, config = [], []
    for place, each in enumerate(tables):
        vectors = call.loaded.states[each["variable"]].numpy()  # type: ignore[attr-defined]
        file = folder / f"embedding-{place}.tsv"
        np.savetxt(file, vectors, "%.9g", "\t")
        files.append(file)
        lines = [
            f"tensor_name: {_quoted(str(each['layer']))}",
            f"tensor_path: {_quoted(file.name)}",
        ]
        if known := words.get(str(each["feature"])):
            file = folder / f"embedding-{place}-words.tsv"
            file.write_text(_metadata(known, len(vectors)), "utf-8")
            files.append(file)
            lines.append(f"metadata_path: {_quoted(file.name)}")
        config.append("embeddings {\n" + "".join(f"  {line}\n" for line in lines) + "}\n")
    (folder / CONFIG).write_text("".join(config), "utf-8")
    return [*files, folder / CONFIG]


def _words(
    call: Any, takes: Sequence[Feature], wanted: set[str]
) -> dict[str, dict[int, list[str]]]:
    """Of transformed features the words that give each number.

    A feature that words of several columns change has none: a number of it is of all of them.
    """
    found: dict[str, dict[str, dict[int, list[str]]]] = {}
    looked_up = vocabularies.by_feature(call.loaded.signatures[models.TRANSFORM])
    for raw in takes:
        values = vocabularies.values(raw, looked_up.get(raw.name, ()))
        for name, word, numbers in _numbers(call, takes, raw, values, wanted):
            by_number = found.setdefault(name, {}).setdefault(raw.name, {})
            for number in numbers:
                by_number.setdefault(number, []).append(word)
    return {name: next(iter(by_raw.values())) for name, by_raw in found.items() if len(by_raw) == 1}


def _numbers(
    call: Any,
    takes: Sequence[Feature],
    raw: Feature,
    values: Sequence[bytes | int],
    wanted: set[str],
) -> Iterator[tuple[str, str, list[int]]]:
    """Feature, word and the numbers that come of the word and not of a row without any."""
    for start in range(0, len(values), PIECE):
        piece = values[start : start + PIECE]
        rows = len(piece) + 1
        given = {each.name: _missing(each, rows) for each in takes}
        given[raw.name][1:, 0] = piece
        answer = call(given)
        for name in sorted(wanted & answer.keys()):
            numbers = answer[name].reshape(rows, -1)
            if numbers.dtype.kind not in "iu":
                continue
            empty = set(numbers[0].tolist())
            for word, own in zip(piece, numbers[1:].tolist(), strict=True):
                if new := sorted(set(own) - empty):
                    shown = word.decode(errors="replace") if isinstance(word, bytes) else str(word)
                    yield name, shown, new


def _missing(feature: Feature, rows: int) -> Array:
    shape = (rows, *feature.shape)
    dtype = object if feature.dtype == "string" else feature.dtype
    return np.full(shape, features.MISSING[feature.dtype], dtype)


def _metadata(words: Mapping[int, Sequence[str]], rows: int) -> str:
    """A head and a line per row: several words of one row, as of a bucket, beside each other."""
    lines = ["word\trow"]
    for row in range(rows):
        found = ", ".join(words.get(row, ())) or f"(row {row})"
        lines.append(f"{found.translate(_SEPARATORS)}\t{row}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """A string of a protobuf message in text form."""
    from google.protobuf import text_encoding

    return f'"{text_encoding.CEscape(text.encode(), as_utf8=False)}"'
