"""Differences between two environments, and the list of those that are meant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any

import msgspec

from edgeline.environments.facts import About, same
from edgeline.errors import UsageError
from edgeline.formats import plain_file, plain_yaml

PlaceFacts = Mapping[About, Any]


class Meant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An entry of the list: a difference that is meant.

    Attributes:
        what: what differs, as the table says it; `*` stands for any letters.
        why: for who reads the list.
        pipelines, tasks: where alone it is meant; empty: in any.
        values: the two values, in any order, that alone are meant; null for one that is not there.
            Without it, whatever is there is meant.
    """

    what: Annotated[str, msgspec.Meta(min_length=1)]
    why: Annotated[str, msgspec.Meta(min_length=1)]
    pipelines: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    values: tuple[Any, Any] | None = None


@dataclass(frozen=True)
class Difference:
    """What one fact is in two environments; None where it is not there."""

    about: About
    pipeline: str
    one: Any
    other: Any


@dataclass(frozen=True)
class DifferenceRow:
    """A difference with all pipelines and tasks that have it.

    Attributes:
        tasks: empty for what is the pipeline's own.
        others: the pipelines' other tasks, which do not differ so.
        why: of the entry by which it is meant; "" where it is not.
    """

    what: str
    pipelines: tuple[str, ...]
    tasks: tuple[str, ...]
    others: tuple[str, ...]
    one: Any
    other: Any
    why: str = ""


def read(path: Path) -> tuple[Meant, ...]:
    """The list of differences that are meant.

    Raises:
        UsageError: it is missing or malformed.
    """
    try:
        return tuple(plain_yaml.load(plain_file.read(path), list[Meant]))
    except OSError as error:
        raise UsageError(
            f"{path}, the list of differences that are meant, cannot be read ({error.strerror}): "
            "write [] into it where none is."
        ) from error
    except ValueError as error:
        raise UsageError(
            f"{path} is not a list of differences that are meant ({error}): each entry has what "
            "and why, and perhaps pipelines, tasks and values."
        ) from error


def differences(pipeline: str, one: PlaceFacts, other: PlaceFacts) -> Iterator[Difference]:
    """The facts of a pipeline that are not the same in two environments."""
    for about in sorted(one.keys() | other.keys()):
        if not same(about, one.get(about), other.get(about)):
            yield Difference(about, pipeline, one.get(about), other.get(about))


def entry_for(difference: Difference, entries: Sequence[Meant]) -> Meant | None:
    """The first entry by which a difference is meant."""
    for entry in entries:
        about = difference.about
        if (
            fnmatchcase(about.what, entry.what)
            and (not entry.pipelines or difference.pipeline in entry.pipelines)
            and (not entry.tasks or about.task in entry.tasks)
            and (entry.values is None or _are(difference, entry.values))
        ):
            return entry
    return None


def _are(difference: Difference, values: tuple[Any, Any]) -> bool:
    about, found = difference.about, (difference.one, difference.other)
    return any(
        same(about, found[0], first) and same(about, found[1], second)
        for first, second in (values, values[::-1])
    )


def rows(
    found: Sequence[Difference], tasks: Mapping[str, set[str]], entries: Sequence[Meant] = ()
) -> list[DifferenceRow]:
    """Differences that are the same of several tasks and pipelines as one row each.

    Args:
        tasks: of each pipeline, all that run in a container.
        entries: what is meant. What is meant and what is not are never one row.
    """
    by_task: dict[str, list[Difference]] = {}
    for each in found:
        entry = entry_for(each, entries)
        key = repr((each.about.what, each.pipeline, each.one, each.other, entry and entry.why))
        by_task.setdefault(key, []).append(each)
    by_pipeline: dict[str, list[DifferenceRow]] = {}
    for group in by_task.values():
        first = group[0]
        names = {each.about.task for each in group} - {""}
        others = tasks.get(first.pipeline, set()) - names if names else set()
        entry = entry_for(first, entries)
        row = DifferenceRow(
            first.about.what,
            (first.pipeline,),
            tuple(sorted(names)),
            tuple(sorted(others)),
            first.one,
            first.other,
            entry.why if entry else "",
        )
        which = row.others if len(others) < len(names) else row.tasks
        key = repr((row.what, which, len(others) < len(names), row.one, row.other, row.why))
        by_pipeline.setdefault(key, []).append(row)
    merged = map(_merged, by_pipeline.values())
    return sorted(merged, key=lambda row: (row.what, row.tasks, row.pipelines))


def _merged(group: Sequence[DifferenceRow]) -> DifferenceRow:
    pipelines = {name for row in group for name in row.pipelines}
    tasks = {name for row in group for name in row.tasks}
    others = {name for row in group for name in row.others}
    return replace(
        group[0],
        pipelines=tuple(sorted(pipelines)),
        tasks=tuple(sorted(tasks)),
        others=tuple(sorted(others - tasks)),
    )


def unused(found: Sequence[Difference], entries: Sequence[Meant]) -> list[Meant]:
    """Entries of the list by which nothing is meant any more."""
    used = {id(entry_for(each, entries)) for each in found}
    return [entry for entry in entries if id(entry) not in used]
