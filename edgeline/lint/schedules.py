"""Rules on schedules files, alone or in a ConfigMap: what no server runs as it is meant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import msgspec

from edgeline.formats import plain_yaml
from edgeline.lint.documents import Document, Path_, Tree, listed, mapped
from edgeline.lint.rule import Found, Rule
from edgeline.schedules.declaration import SHORTEST, Schedule, faults


@dataclass(frozen=True)
class Scheduled:
    """A schedule of a schedules file, as it is written, and where.

    Attributes:
        path: of the schedule; in a ConfigMap, whose file is one text, of that text.
        deep: whether the schedule's own fields can be found below the path.
        shortest: the file's shortest interval in seconds.
    """

    document: Document
    path: Path_
    deep: bool
    value: Mapping[str, Any]
    shortest: int

    def at(self, *field: str) -> Path_:
        """Where a field is."""
        return (*self.path, *field) if self.deep else self.path


def scheduled(tree: Tree) -> Iterator[Scheduled]:
    """Each schedule of the schedules files, those in ConfigMaps as well."""
    for document in tree.documents:
        files: list[tuple[Path_, Any, bool]] = []
        if "kind" not in document.value:
            files.append(((), document.value, True))
        elif document.kind == "ConfigMap":
            for name, text in mapped(document.value, "data").items():
                if isinstance(text, str) and "schedules:" in text:
                    files.append((("data", name), _loaded(text), False))
        for above, value, deep in files:
            given = value.get("shortest_interval") if isinstance(value, Mapping) else None
            shortest = given if isinstance(given, int) else SHORTEST
            for index, schedule in enumerate(listed(value, "schedules")):
                if isinstance(schedule, Mapping):
                    path = (*above, "schedules", index) if deep else above
                    yield Scheduled(document, path, deep, schedule, shortest)


def _loaded(text: str) -> Any:
    try:
        return plain_yaml.read_one(text)
    except plain_yaml.YamlError:
        return None


def _is_ours(entry: Scheduled) -> bool:
    """Not a file of something else that has schedules."""
    return "pipeline" in entry.value and bool({"cron", "every"} & entry.value.keys())


def _refused(tree: Tree) -> Iterator[Found]:
    for entry in filter(_is_ours, scheduled(tree)):
        name = f"schedule {entry.value.get('name')}"
        try:
            schedule = msgspec.convert(entry.value, Schedule, builtin_types=(date, datetime))
        except msgspec.ValidationError as error:
            yield Found(entry.document, entry.path, f"{name} is not one ({error})")
            continue
        for fault in faults(schedule, entry.shortest):
            what = f"{name} {fault.what} ({fault.mend})"
            yield Found(entry.document, entry.at(fault.field), what)


def _not_pinned(tree: Tree) -> Iterator[Found]:
    for entry in filter(_is_ours, scheduled(tree)):
        if not (entry.value.get("version") or entry.value.get("from")):
            what = f"schedule {entry.value.get('name')} names no version"
            yield Found(entry.document, entry.path, what)


rules = (
    Rule(
        "schedule-refused",
        "The server answers 500, or takes it and no run works as meant.",
        "change it before it is applied",
        _refused,
    ),
    Rule(
        "schedule-not-pinned",
        "Each run takes what was uploaded last, by whomever.",
        "add the line `version: NAME`, `from: FILE` with the compiled pipeline, or "
        "`version: latest`",
        _not_pinned,
    ),
)
