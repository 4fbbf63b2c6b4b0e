"""How CSV files are written, told from the beginning of the first: what ingest has to be told.

A guess would be silent, so each thing that differs from ingest's defaults comes with a sentence,
and stands in the project's pipeline.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from edgeline.components.ingest.csv_kinds import ABSENT, PERCENT
from edgeline.components.ingest.formats import BEGINNINGS, DELIMITERS, format_of, separator_of
from edgeline.errors import EdgelineError
from edgeline.stores import storage, tables

BEGINNING = 1 << 20  # bytes that are read
COMMA = r"^\s*[+-]?\d+,\d+\s*$"
# 1,234,567.8 and 1.234.567,8
GROUPED = r"^\s*[+-]?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?\s*$"
GROUPED_BY_POINTS = r"^\s*[+-]?[1-9]\d{0,2}(?:\.\d{3})+(?:,\d+)?\s*$"
NUMBER = r"^\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\s*$"
TIME = (
    r"^\d{4}-\d{2}-\d{2}"
    r"(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z| UTC|[+-]\d{2}:?\d{2})?)?$"
)


@dataclass
class CsvForm:
    """How files are written.

    Attributes:
        settings: what ingest takes for it, by the parameter's name; empty where its defaults fit.
        told: a sentence for each.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)

    def set(self, name: str, value: object, why: str) -> None:
        """Note a parameter and what it is set for."""
        self.settings[name] = value
        self.told.append(why)


def of_data(data: str) -> CsvForm:
    """How data is written; of other formats than CSV there is nothing to tell.

    Raises:
        EdgelineError: it cannot be found or reached.
    """
    form = CsvForm()
    if tables.look_up(data):
        return form
    sources = storage.resolve(data)
    try:
        if format_of(sources) != "csv":
            return form
    except EdgelineError:
        return form  # ingest says what is wrong with it
    with storage.open_source(sources[0]) as stream:
        beginning = _unpacked(stream.read(BEGINNING))
    if any(beginning.startswith(magic) for magic in BEGINNINGS):
        return form
    text = _decoded(beginning, form)
    given = separator_of(",", [source.name for source in sources])
    delimiter = _delimiter(text, given)
    if delimiter != given:
        shown = "tabs" if delimiter == "\t" else repr(delimiter)
        form.set("delimiter", delimiter, f"The cells are separated by {shown}.")
    _look_at_cells(text, delimiter, form)
    return form


def _unpacked(beginning: bytes) -> bytes:
    if beginning[:2] != b"\x1f\x8b":
        return beginning
    try:
        return zlib.decompressobj(31).decompress(beginning, BEGINNING)
    except zlib.error:
        return b""  # ingest says that it is damaged


def _decoded(beginning: bytes, form: CsvForm) -> str:
    """The text, up to the last whole line, in UTF-8 or what else it is."""
    if beginning.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        form.set("encoding", "utf-16", "The file is UTF-16.")
        text = beginning.decode("utf-16", "replace")
    else:
        whole = beginning[: beginning.rfind(b"\n") + 1] or beginning
        try:
            text = whole.decode("utf-8-sig")
        except UnicodeDecodeError:
            form.set(
                "encoding",
                "cp1252",
                "The file is not UTF-8 and is read as Windows' cp1252: look at its accents.",
            )
            text = whole.decode("cp1252", "replace")
    return text


def _delimiter(text: str, given: str) -> str:
    """What separates the cells: the given sign, unless its header is one cell that another cuts
    into as many as the rows."""
    if len(_rows(text, given)[0]) > 1:
        return given
    for sign in DELIMITERS:
        rows = _rows(text, sign)
        if len(rows[0]) > 1 and all(len(row) == len(rows[0]) for row in rows[1:20]):
            return sign
    return given


def _rows(text: str, delimiter: str) -> list[list[str]]:
    """Header and rows with cells, but not the last, which may be cut off; at least one, of none."""
    found: list[list[str]] = []
    try:
        for cells in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter):
            if cells and not re.fullmatch("sep=.", delimiter.join(cells), re.IGNORECASE):
                found.append(cells)
    except csv.Error:
        pass  # ingest says where
    return found or [[]]


def _look_at_cells(text: str, delimiter: str, form: CsvForm) -> None:
    header, *rows = _rows(text, delimiter)
    names = [name.strip() for name in header]
    whole = [row for row in rows if len(row) == len(names)]
    if not whole:
        return
    columns = dict(zip(names, zip(*whole, strict=True), strict=True))
    if len(columns) < len(names):
        return  # two have one name, which ingest refuses
    if "" in columns and _counts(columns[""]):
        form.set(
            "columns", {"": False}, "The column without a name counts the rows and is left out."
        )
    _signs(columns.values(), delimiter, form)
    absent = {cell for cells in columns.values() for cell in _absent(cells)}
    if absent:
        shown = ", ".join(sorted(absent))
        form.set("null_values", ["", *sorted(absent)], f"Cells that count as missing: {shown}.")
    types = {}
    for name, cells in columns.items():
        filled = [cell for cell in cells if cell not in ("", *absent)]
        if filled and all(re.match(TIME, cell.strip()) for cell in filled):
            types[name] = "timestamp"
        elif filled and all(re.match(PERCENT, cell) for cell in filled):
            types[name] = "percent"
    if types:
        shown = ", ".join(f"{name} ({kind})" for name, kind in types.items())
        form.set("column_types", types, f"Text that is read as more: {shown}.")


def _counts(cells: Sequence[str]) -> bool:
    """Whether cells are 0, 1, 2 ... or 1, 2, 3 ..."""
    return any(all(cell == str(n) for n, cell in enumerate(cells, start)) for start in (0, 1))


def _signs(columns: Iterable[Sequence[str]], delimiter: str, form: CsvForm) -> None:
    """The signs before the fraction and between thousands, where no column is against them.

    `674,197` may be either. With `;` between cells, as programs write them where the comma stands
    before the fraction, it is a fraction; between other cells it stays text, of which ingest tells.
    """
    decimal = grouped = by_points = points = False
    for cells in columns:
        filled = [cell for cell in cells if cell.strip() and not re.match(ABSENT, cell)]
        if not filled:
            continue
        if _all(filled, NUMBER):
            pointed = [cell for cell in filled if "." in cell]
            by_points |= bool(pointed) and _all(pointed, GROUPED_BY_POINTS)
            points |= bool(pointed) and not _all(pointed, GROUPED_BY_POINTS)
            continue
        is_decimal = _all(filled, NUMBER, COMMA, GROUPED_BY_POINTS)
        is_grouped = _all(filled, NUMBER, GROUPED)
        if is_decimal and (delimiter == ";" or not is_grouped):
            decimal = True
            by_points |= any(re.match(GROUPED_BY_POINTS, cell) for cell in filled)
        elif is_grouped and (delimiter == "," or not is_decimal):
            grouped = True
    if decimal and not (points or grouped or delimiter == ","):
        form.set("decimal", ",", "Numbers have a comma before their fraction.")
        if by_points:
            form.set("thousands", ".", "Numbers have points between thousands.")
    elif grouped and not decimal:
        form.set("thousands", ",", "Numbers have commas between thousands.")


def _all(cells: Sequence[str], *forms: str) -> bool:
    return all(any(re.match(each, cell) for each in forms) for cell in cells)


def _absent(cells: Sequence[str]) -> Iterator[str]:
    """What stands for a gap in a column that is of numbers or of times but for it."""
    others = [cell for cell in cells if cell and not re.match(NUMBER, cell)]
    gaps = {cell for cell in others if re.match(ABSENT, cell)}
    rest = [cell for cell in others if cell not in gaps]
    numbers = len(cells) - len(others) > 0 and not rest
    marked = rest and _all(rest, COMMA, GROUPED, GROUPED_BY_POINTS, TIME, PERCENT)
    if gaps and (numbers or marked):
        yield from gaps
