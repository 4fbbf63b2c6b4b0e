"""Facts of an output as KFP's metadata store takes them.

A cluster's launcher ends a task, after all its work, over a fact that the store cannot hold: JSON
null, a number that is not finite, text that is not Unicode. The next task gets the facts of all
its inputs in one argument, of which Linux takes 128 KiB, so a long fact is told by its size. All
of it stays in the artifact's `artifact.json`, which is what later steps read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import date, datetime, time, timedelta
from pathlib import PurePath
from typing import Any

from edgeline.errors import EdgelineError

__all__ = ["record"]

MOST = 4096  # bytes of one fact as JSON; a task has some 25 inputs at most
LONGEST_NAME = 255  # characters of a name, in the store's database
WHOLE = 2**53  # the store keeps numbers as doubles, which hold each whole number up to here
LARGEST = 10**MOST  # as text, a whole number has no more than a fact's bytes
DEEPEST = 24  # lists and objects within each other; protobuf's Python reads 31 at most


def record(artifact: Any, facts: Mapping[str, object]) -> None:
    """Put facts into the metadata of an output artifact.

    What is null or not a finite number is left out, in a list it is an empty text, so that the
    others keep their places. A whole number that a double does not hold becomes text, and so do
    dates, durations, bytes and paths. Of a fact above `MOST` bytes its size is said. Names that
    differ in case alone, which the store's database takes for one, are numbered.

    Args:
        artifact: kfp's output artifact.
        facts: by name; of numpy's numbers their value is taken.

    Raises:
        EdgelineError: a fact is nothing that JSON knows, or contains itself.
    """
    held = {name.casefold() for name in artifact.metadata}
    for given, fact in facts.items():
        name = _text(str(given))
        value = _stored(fact, name)
        if value is None:
            continue
        name = name[:LONGEST_NAME]
        unlike, number = name, 1
        while unlike not in artifact.metadata and unlike.casefold() in held:
            number += 1
            unlike = f"{name[: LONGEST_NAME - 4]}_{number}"
        held.add(unlike.casefold())
        artifact.metadata[unlike] = _short(value)


def _stored(value: object, path: str, depth: int = 0) -> object:
    """A value without what the store refuses; None where nothing is left of it.

    Args:
        path: where the value is, for example `metrics.auc`; for errors.
    """
    if isinstance(value, (Mapping, list, tuple, AbstractSet)) and depth >= DEEPEST:
        raise EdgelineError(
            f"Fact {path[:LONGEST_NAME]} of an artifact's metadata contains itself or is nested "
            f"more than {DEEPEST} levels deep, which Kubeflow does not take: record less of it."
        )
    if isinstance(value, Mapping):
        named = ((_text(str(key)), each) for key, each in value.items())
        found = {key: _stored(each, f"{path}.{key}", depth + 1) for key, each in named}
        return {key: each for key, each in found.items() if each is not None}
    if isinstance(value, (list, tuple, AbstractSet)):
        entries = [_stored(each, f"{path}[{i}]", depth + 1) for i, each in enumerate(value)]
        entries = ["" if each is None else each for each in entries]
        # the order of a set is another in each process
        return sorted(entries, key=json.dumps) if isinstance(value, AbstractSet) else entries
    if isinstance(value, str):
        return _text(value)
    if hasattr(value, "tolist"):
        return _stored(_of_numpy(value), path, depth)
    if isinstance(value, (bytes, bytearray)):
        return _text(value.decode("utf-8", "replace"))
    if isinstance(value, (date, datetime, time)):
        return value.isoformat()
    if isinstance(value, (timedelta, PurePath)):
        return _text(str(value))
    if isinstance(value, int) and abs(value) > WHOLE:
        return str(value) if abs(value) < LARGEST else None
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    raise EdgelineError(
        f"Fact {path[:LONGEST_NAME]} of an artifact's metadata is of the type "
        f"{type(value).__name__}, which JSON does not have: record a text, number, list or object."
    )


def _of_numpy(value: Any) -> object:
    """What a scalar or an array of numpy is in Python's types."""
    kind = value.dtype.kind if hasattr(value, "dtype") else ""
    if kind in ("m", "M"):  # of nanoseconds `tolist` makes whole numbers
        return value.astype(str).tolist()
    found = value.tolist()
    if hasattr(found, "tolist"):  # of a long double, which Python does not have, itself
        return complex(found) if kind == "c" else float(found)
    return found


def _text(value: str) -> str:
    """Text that is Unicode, and without NUL, which PostgreSQL refuses.

    A byte of a file's name that is not UTF-8 becomes a question mark, as does a NUL.
    """
    return value.encode("utf-8", "replace").decode("utf-8").replace("\0", "?")


def _short(value: object) -> Any:
    size = len(json.dumps(value, ensure_ascii=False).encode())
    if size <= MOST:
        return value
    entries = f"{len(value):,} entries, " if isinstance(value, (list, dict)) else ""
    return f"{entries}{size:,} bytes as JSON: see artifact.json"
