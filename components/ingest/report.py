"""The page of ingested data: splits, columns, sources, and what was noted on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgeline.artifacts.windows import Windows
from edgeline.reports import report as html

SOURCES_SHOWN = 100


def write(path: str | Path, metadata: Mapping[str, Any]) -> None:
    """Write the page of the examples whose metadata this is."""
    splits, columns, sources = metadata["splits"], metadata["columns"], metadata["sources"]
    total = sum(facts["rows"] for facts in splits.values())
    size = sum(source["size"] for source in sources)
    equal = metadata.get("equal_rows", {})
    shares = [
        (name, f"{facts['rows']:,}", f"{facts['rows'] / total:.1%}", f"{equal.get(name, 0):,}")
        for name, facts in splits.items()
    ]
    shown = [
        (source["name"], f"{source['size']:,}", source["sha256"])
        for source in sources[:SOURCES_SHOWN]
    ]
    more = len(sources) - len(shown)
    html.write(
        path,
        "Ingested data",
        [
            html.Fact("rows", f"{total:,}"),
            html.Fact("columns", str(len(columns))),
            html.Fact("sources", f"{len(sources):,}"),
            html.Fact("size", html.size(size)),
        ],
        [
            html.Section(
                "Splits",
                html.table(["split", "rows", "share", "equal an earlier row"], shares),
                note="; ".join([_how(metadata.get("split_by", {})), *metadata.get("warnings", ())]),
            ),
            *_windows(metadata.get("windows"), metadata.get("left_out_of_windows", {})),
            *_noted(metadata.get("notes", ())),
            *_asked(metadata.get("query", "")),
            html.Section("Columns", html.table(["column", "type"], columns.items())),
            html.Section(
                "Sources",
                html.table(["source", "bytes", "sha256"], shown),
                note=f"and {more:,} more" if more else "",
            ),
        ],
    )


def _how(told: Mapping[str, Any]) -> str:
    """How rows were split."""
    match told:
        case {"key": key}:
            return f"split by the value of {key}"
        case {"column": column}:
            return f"split as {column} says"
        case {"time": column, "cuts": cuts}:
            return f"split by {column}, at {', '.join(cuts)}"
        case {"stratify": column}:
            return f"split so that each {column} has the same share"
        case _:
            return "split by a hash of the row"


def _windows(found: object, left_out: Mapping[str, int]) -> list[html.Section]:
    """What a row is made of, and what is in none."""
    if not found:
        return []
    rows = [(what, f"{count:,}") for what, count in left_out.items()]
    note = f"A row is a window: {Windows.from_json(found).words}."
    return [html.Section("Windows", html.table(["left out", "number"], rows), note=note)]


def _noted(notes: Sequence[str]) -> list[html.Section]:
    """What was made of files that do not agree, and what may be meant in another way."""
    rows = [(note,) for note in notes]
    return [html.Section("Notes", html.table(["on columns"], rows))] if rows else []


def _asked(query: str) -> list[html.Section]:
    return [html.Section("Query", html.table(["SQL"], [(query,)]))] if query else []
