"""A run's parameters as people read them, and what differs between two runs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from typing import Any

from edgeline.components.settings.objects import PREFIX
from edgeline.local.surroundings import differing
from edgeline.stores.remote import PIN

SHOWN = 12  # characters of a digest
LONGEST = 200  # characters of a value in a cell
BEFORE = 40  # and of what two long ones have in common, before where they differ


def flat(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Values by name; of an object each field: `training.steps`."""
    found: dict[str, Any] = {}
    for name, value in parameters.items():
        fields = value if name.startswith(PREFIX) and isinstance(value, dict) else {"": value}
        called = name.removeprefix(PREFIX)
        found |= {f"{called}.{key}".rstrip("."): each for key, each in fields.items()}
    return found


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What differs between two records of runs before their first task, a sentence each.

    Args:
        before, after: records; see `edgeline.local.record`.
    """
    said = []
    old, new = flat(before["parameters"]), flat(after["parameters"])
    for name in dict.fromkeys([*old, *new]):
        if old.get(name) != new.get(name):
            found = differences(name, (old.get(name), new.get(name)))
            said += [f"{path}: {change(*values)}" for path, values in found]
    for name, digest in after["pins"].items():
        was = before["pins"].get(name, digest)
        if was != digest and old.get(name) == new.get(name):  # a module by its import name
            said.append(f"{name}: its code (sha256 {was[:SHOWN]} -> {digest[:SHOWN]})")
    if before["pipeline_digest"] != after["pipeline_digest"]:
        said.append("the pipeline itself")
    if before["code"] != after["code"]:
        said.append("edgeline's own code")
    for name, how in differing(before["packages"], after["packages"]).items():
        said.append(f"package {name}: {how}")
    return said


def differences(name: str, values: Sequence[Any]) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """What differs between values of one name: of objects, lists and JSON texts of these each leaf,
    by its path such as `eval_config.metrics_specs[0].metrics`, else the values themselves.

    Args:
        values: of which two differ at least; None for one that is not set.
    """
    parts = [_structure(value) for value in values]
    found: list[tuple[str, tuple[Any, ...]]] = []
    if all(part is not None for part in parts):
        flattened = [dict(_leaves(part)) for part in parts]
        paths = dict.fromkeys(path for each in flattened for path in each)
        for path in paths:
            own = tuple(each.get(path) for each in flattened)
            if any(other.startswith((f"{path}.", f"{path}[")) for other in paths) and all(
                one in ({}, [], None) for one in own
            ):
                continue  # empty here, and filled there: what it is filled with tells
            if any(one != own[0] for one in own):
                found.append((f"{name}{path}", own))
    yield from found or [(name, tuple(values))]


def _structure(value: Any) -> Any:
    """An object or a list, also of a text that is JSON; None for all else."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            value = json.loads(value)
        except ValueError:
            return None
    return value if isinstance(value, (Mapping, list)) else None


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, each in value.items():
            yield from _leaves(each, f"{path}.{key}")
    elif isinstance(value, list) and value:
        for place, each in enumerate(value):
            yield from _leaves(each, f"{path}[{place}]")
    else:
        yield path, "null" if value is None else value  # None is of a leaf that is not there


def change(old: Any, new: Any) -> str:
    """How a value has changed; of a pinned file that its content has."""
    if isinstance(old, str) and isinstance(new, str) and PIN in old and PIN in new:
        (place, _, was), (other, _, now) = old.partition(PIN), new.partition(PIN)
        if place == other:
            return f"the content of {place} (sha256 {was[:SHOWN]} -> {now[:SHOWN]})"
    return " -> ".join(shown_beside((old, new)))


def shown(value: Any) -> str:
    """A value for a cell of a table: short, digests cut, a text without quotes."""
    return _cut(_text(value))


def shown_beside(values: Sequence[Any]) -> list[str]:
    """As `shown`, of values that differ: long ones are cut where they do so."""
    texts = [_text(value) for value in values]
    long = {text for text in texts if len(text) > LONGEST}
    together = zip(*long, strict=False) if len(long) > 1 else ()
    alike = sum(1 for _ in takewhile(lambda each: len({*each}) == 1, together))
    start = max(alike - BEFORE, 0)
    return [_cut(text, start) if text in long else text for text in texts]


def _text(value: Any) -> str:
    if value is None:
        return "not set"
    text = str(value)
    place, mark, digest = text.partition(PIN)
    return f"{place} (sha256 {digest[:SHOWN]})" if mark else text


def _cut(text: str, start: int = 0) -> str:
    end = start + LONGEST
    return ("…" if start else "") + text[start:end] + ("…" if len(text) > end else "")
