"""A run's parameters as people read them, and what differs between two runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeline.components.settings.objects import PREFIX
from edgeline.local.surroundings import differing
from edgeline.stores.remote import PIN

SHOWN = 12  # characters of a digest


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
            said.append(f"{name}: {change(old.get(name), new.get(name))}")
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


def change(old: Any, new: Any) -> str:
    """How a value has changed; of a pinned file that its content has."""
    if isinstance(old, str) and isinstance(new, str) and PIN in old and PIN in new:
        (place, _, was), (other, _, now) = old.partition(PIN), new.partition(PIN)
        if place == other:
            return f"the content of {place} (sha256 {was[:SHOWN]} -> {now[:SHOWN]})"
    return f"{shown(old)} -> {shown(new)}"


def shown(value: Any) -> str:
    """A value for a cell of a table: short, digests cut, a text without quotes."""
    if value is None:
        return "not set"
    text = str(value)
    place, mark, digest = text.partition(PIN)
    if mark:
        text = f"{place} (sha256 {digest[:SHOWN]})"
    return text if len(text) <= 200 else f"{text[:200]}…"
