"""An output's metadata, as KFP's metadata store and the run's workflow take it.

The metadata of a task's input artifacts are written six times into the Argo workflow of a run, and
above 1 MiB Kubeflow no longer tells how its tasks end. So an artifact's metadata says what it is,
and little more; all facts lie in its `artifact.json`, which is what later steps read.

A cluster's launcher ends a task, after all its work, over a fact that the store cannot hold: JSON
null, a number that is not finite, text that is not Unicode.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from pathlib import PurePath
from typing import Any

from edgeline.artifacts import folder
from edgeline.errors import EdgelineError
from edgeline.formats.doubles import LARGEST

__all__ = ["record", "record_metrics"]

MOST = 150  # bytes of an artifact's metadata as JSON
DIGITS = 16  # of a digest; the whole one lies with the artifact
LONGEST_NAME = 255  # characters of a name, in the store's database


def record(artifact: Any, facts: Mapping[str, object], *headline: str) -> None:
    """Put into the metadata of an output artifact what it is.

    That is its `edgeline_schema`, the first `DIGITS` of the `digest` of its folder, how many `rows`
    it is about, and the facts that a person looks for first: scalars, together at most `MOST`
    bytes. What does not fit any more, is null or is not a finite number is left out; the others are
    for `artifact.json` (see `edgeline.artifacts.writing`).

    Args:
        artifact: kfp's output artifact, whose folder has been written.
        facts: what the worker found, by name.
        headline: the names of a few of them, the most important first.

    Raises:
        EdgelineError: a fact that is asked for is not a scalar.
    """
    told: dict[str, object] = {"edgeline_schema": facts.get("edgeline_schema")}
    digest = folder.digest_of(artifact.path) if artifact.path else None
    told |= {"digest": digest and digest[:DIGITS], "rows": _rows(facts)}
    told |= {name: facts.get(name) for name in headline}
    for name, fact in told.items():
        value = _scalar(fact, name)
        added = {**artifact.metadata, name: value}
        if value is not None and len(json.dumps(added, ensure_ascii=False).encode()) <= MOST:
            artifact.metadata[name] = value


def record_metrics(artifact: Any, metrics: Mapping[str, object]) -> None:
    """Put numbers into an output of the type Metrics, where Kubeflow's pages show them.

    No task takes such an output, so there may be many. What is null, not finite or not a number is
    left out. Names that differ in case alone, which the store's database takes for one, are
    numbered.
    """
    held = {name.casefold() for name in artifact.metadata}
    for given, fact in metrics.items():
        name = _text(str(given))[:LONGEST_NAME]
        value = _plain(fact)
        if not isinstance(value, (int, float)) or not math.isfinite(value):
            continue
        unlike, number = name, 1
        while unlike not in artifact.metadata and unlike.casefold() in held:
            number += 1
            unlike = f"{name[: LONGEST_NAME - 4]}_{number}"
        held.add(unlike.casefold())
        artifact.metadata[unlike] = value


def _rows(facts: Mapping[str, object]) -> object:
    """The rows of all splits together, or those that are said."""
    splits = facts.get("splits")
    if isinstance(splits, Mapping):
        return sum(int(split["rows"]) for split in splits.values())
    return facts.get("rows")


def _scalar(value: Any, name: str) -> Any:
    """A value as the store takes it; None where it takes none.

    A whole number that a double does not hold becomes text, and so do dates, durations and paths.
    """
    value = _plain(value)
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, (date, datetime, time)):
        return value.isoformat()
    if isinstance(value, (timedelta, PurePath)):
        return _text(str(value))
    if isinstance(value, int) and abs(value) > LARGEST:
        return str(value) if abs(value) < 10**MOST else None
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    raise EdgelineError(
        f"Fact {name} of an artifact's metadata is of the type {type(value).__name__}: record a "
        "text or a number, and leave the rest to artifact.json."
    )


def _plain(value: Any) -> Any:
    """What a scalar of numpy is in Python's types; anything else itself."""
    if not hasattr(value, "tolist"):
        return value
    kind = value.dtype.kind if hasattr(value, "dtype") else ""
    if kind in ("m", "M"):  # of nanoseconds `tolist` makes whole numbers
        return str(value)
    found = value.tolist()
    return float(found) if hasattr(found, "tolist") and kind == "f" else found  # a long double


def _text(value: str) -> str:
    """Text that is Unicode, and without NUL, which PostgreSQL refuses.

    A byte of a file's name that is not UTF-8 becomes a question mark, as does a NUL.
    """
    return value.encode("utf-8", "replace").decode("utf-8").replace("\0", "?")
