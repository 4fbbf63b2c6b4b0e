"""Pictures with their labels and predictions as a folder that FiftyOne imports.

The layout of `fiftyone.types.FiftyOneDataset`: `metadata.json` is the data set's document with its
fields, `samples.json` has a document per picture, `data/` the pictures; documents are MongoDB's
extended JSON. No time and no random number is in it, so equal content gives an equal folder.

    fiftyone.Dataset.from_dir(dataset_dir=FOLDER, dataset_type=fiftyone.types.FiftyOneDataset)
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgeline.artifacts import write_json
from edgeline.components.analyze.confident_learning import DoubtfulLabel

VERSION = "1.0.0"  # of FiftyOne's format, which a newer FiftyOne brings up to its own
_FIELDS = "fiftyone.core.fields"
_CLASSIFICATION = "fiftyone.core.labels.Classification"


def write(
    folder: Path, name: str, listed: Sequence[DoubtfulLabel], images: Sequence[bytes]
) -> None:
    """Write a data set into an empty folder.

    Args:
        name: of the data set, where whoever imports it gives no other.
        images: of the rows that are listed, as PNG files.
    """
    (folder / "data").mkdir(parents=True)
    samples = []
    for each, image in zip(listed, images, strict=True):
        file = f"data/row-{each.row:08}.png"
        (folder / file).write_bytes(image)
        samples.append(_sample(each, file))
    write_json(folder / "samples.json", {"samples": samples})
    write_json(folder / "metadata.json", _dataset(name, [each.row for each in listed]))


def _sample(each: DoubtfulLabel, file: str) -> dict[str, Any]:
    return {
        "_id": _id("sample", each.row),
        "filepath": file,
        "tags": ["doubtful label"],
        "metadata": None,
        "_media_type": "image",
        "_rand": int(_digest("rand", each.row)[:8], 16) / 2**32,
        "ground_truth": _classification("label", each.row, each.label, each.label_score),
        "likely": _classification("likely", each.row, each.likely, each.likely_score),
        "row": each.row,
        "margin": each.margin,
    }


def _classification(kind: str, row: int, label: str, score: float) -> dict[str, Any]:
    return {
        "_id": _id(kind, row),
        "_cls": "Classification",
        "tags": [],
        "label": label,
        "confidence": score,
        "logits": None,
    }


def _dataset(name: str, rows: Sequence[int]) -> dict[str, Any]:
    classification = [
        _field("id", "ObjectIdField", db_field="_id"),
        _field("tags", "ListField", subfield="StringField"),
        _field("label", "StringField"),
        _field("confidence", "FloatField"),
        _field("logits", "VectorField"),
    ]
    return {
        "_id": _id("dataset", *rows),
        "name": name,
        "version": VERSION,
        "media_type": "image",
        "info": {},
        "tags": [],
        "sample_fields": [
            _field("id", "ObjectIdField", db_field="_id"),
            _field("filepath", "StringField"),
            _field("tags", "ListField", subfield="StringField"),
            _field(
                "metadata", "EmbeddedDocumentField", embedded="fiftyone.core.metadata.ImageMetadata"
            ),
            _field("created_at", "DateTimeField"),
            _field("last_modified_at", "DateTimeField"),
            *(
                _field(
                    each, "EmbeddedDocumentField", embedded=_CLASSIFICATION, fields=classification
                )
                for each in ("ground_truth", "likely")
            ),
            _field("row", "IntField"),
            _field("margin", "FloatField"),
        ],
    }


def _field(
    name: str,
    kind: str,
    db_field: str = "",
    subfield: str = "",
    embedded: str = "",
    fields: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:
    return {
        "name": name,
        "ftype": f"{_FIELDS}.{kind}",
        "embedded_doc_type": embedded or None,
        "subfield": f"{_FIELDS}.{subfield}" if subfield else None,
        "fields": list(fields),
        "db_field": db_field or name,
        "description": None,
        "info": None,
        "read_only": False,
    }


def _id(*of: object) -> dict[str, str]:
    """A MongoDB id that the content determines."""
    return {"$oid": _digest(*of)[:24]}


def _digest(*of: object) -> str:
    return hashlib.sha256(repr(of).encode()).hexdigest()
