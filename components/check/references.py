"""The models that a reference names: files here, in a store, on a web server or a model hub."""

from __future__ import annotations

from pathlib import Path

from edgeline import artifacts
from edgeline.components.import_model import source
from edgeline.errors import EdgelineError, UsageError
from edgeline.stores.remote import PIN


def models(reference: str, folder: Path) -> dict[str, Path]:
    """The model files of a reference, by the name to show.

    Args:
        reference: a path, or what import_model takes: https://, s3://, gs://, hf://, kaggle://,
            a .tar or .zip, perhaps with a pin (#sha256=). A folder stands for the .tflite files
            in it, one that an earlier step wrote for its model.
        folder: an empty one, for what is fetched.

    Raises:
        UsageError: a folder here has no model.
        EdgelineError: it is not there, has another digest, or has no model.
    """
    bare, _, _ = reference.partition(PIN)
    if bare == reference and "://" not in reference:
        found = Path(reference)
    else:
        found = source.fetch(reference, "", folder).path
    if not found.is_dir() or artifacts.schema_of(found):
        return {bare: found}
    files = sorted(path for path in found.rglob("*.tflite") if path.is_file())
    if not files and found == Path(reference):
        raise UsageError(
            f"{bare} is neither a .tflite file nor an edge_model/v1 folder, and no .tflite file is "
            "in it: name one."
        )
    if not files:
        raise EdgelineError(f"{bare} holds no .tflite file: name one that is LiteRT's.")
    return {f"{bare.rstrip('/')}/{path.relative_to(found)}": path for path in files}
