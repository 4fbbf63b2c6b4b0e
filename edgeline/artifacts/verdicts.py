"""What analyze and verify write against a model that they refuse, read from their artifacts."""

from __future__ import annotations

import json
from collections.abc import Mapping

VERDICTS: Mapping[str, tuple[str, str]] = {
    # the file in an artifact's folder: its verdict and the reasons against the model
    "validation.json": ("blessed", "failures"),
    "verification.json": ("approved", "reasons"),
}

UNJUDGED = "Not judged: "  # how notes begin that say what was not held against a model
NO_BASELINE = "No baseline: "  # and so does this one


def reasons_against(name: str, text: str) -> list[str]:
    """The reasons in one of these files; none where the model is accepted.

    Args:
        name: a key of `VERDICTS`.
        text: the file's content.

    Raises:
        ValueError, LookupError, TypeError: the content is of another form.
    """
    verdict, reasons = VERDICTS[name]
    told = json.loads(text)
    return [] if told[verdict] else list(map(str, told[reasons]))


def not_judged(text: str) -> list[str]:
    """The notes of a validation.json on what was not judged.

    Raises:
        ValueError, LookupError, TypeError: the content is of another form.
    """
    notes = map(str, json.loads(text)["notes"])
    return [note for note in notes if note.startswith((UNJUDGED, NO_BASELINE))]
