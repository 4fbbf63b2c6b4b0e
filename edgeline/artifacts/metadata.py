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
from typing import Any

MOST = 4096  # bytes of one fact as JSON; a task has some 25 inputs at most
LONGEST_NAME = 255  # characters of a name, in the store's database
WHOLE = 2**53  # the store keeps numbers as doubles, which hold each whole number up to here
LARGEST = 10**MOST  # as text, a whole number has no more than a fact's bytes


def record(artifact: Any, facts: Mapping[str, Any]) -> None:
    """Put facts into the metadata of an output artifact.

    What is null or not a finite number is left out, in a list it is an empty text, so that the
    others keep their places. A whole number that a double does not hold becomes text. Of a fact
    above `MOST` bytes its size is said. Names that differ in case alone, which the store's database
    takes for one, are numbered.

    Args:
        artifact: kfp's output artifact.
        facts: by name; of numpy's numbers their value is taken.

    Raises:
        TypeError: a fact is nothing that JSON knows.
    """
    held = {name.casefold() for name in artifact.metadata}
    for name, fact in facts.items():
        value = _stored(fact)
        if value is None:
            continue
        name = _text(name)[:LONGEST_NAME]
        unlike, number = name, 1
        while unlike not in artifact.metadata and unlike.casefold() in held:
            number += 1
            unlike = f"{name[: LONGEST_NAME - 4]}_{number}"
        held.add(unlike.casefold())
        artifact.metadata[unlike] = _short(value)


def _stored(value: Any) -> Any:
    """A value without what the store refuses; None where nothing is left of it."""
    if isinstance(value, Mapping):
        found = ((_text(str(key)), _stored(each)) for key, each in value.items())
        return {key: each for key, each in found if each is not None}
    if isinstance(value, (list, tuple)):
        return ["" if (found := _stored(each)) is None else found for each in value]
    if isinstance(value, str):
        return _text(value)
    if hasattr(value, "tolist"):  # numpy
        return _stored(value.tolist())
    if isinstance(value, int) and abs(value) > WHOLE:
        return str(value) if abs(value) < LARGEST else None
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    raise TypeError(f"a {type(value).__name__} cannot be put into an artifact's metadata")


def _text(value: str) -> str:
    """Text that is Unicode: a byte of a file's name that is not UTF-8 becomes a question mark."""
    return value.encode("utf-8", "replace").decode("utf-8")


def _short(value: Any) -> Any:
    size = len(json.dumps(value, ensure_ascii=False).encode())
    if size <= MOST:
        return value
    entries = f"{len(value):,} entries, " if isinstance(value, (list, dict)) else ""
    return f"{entries}{size:,} bytes as JSON: see artifact.json"
