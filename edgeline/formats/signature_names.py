"""Names of columns inside a SavedModel's signatures, where only Python's parameters can stand.

A TensorFlow function takes its inputs as keyword arguments and names graph nodes after them, so a
signature refuses `sepal length (cm)`, `größe` and `class`. A name that is a parameter in ASCII
stays as it is. Of another, each character that cannot stand becomes its code point in hexadecimal,
`_x0020_` for a blank, as ISO/IEC 9075-14 writes SQL's names in XML and Office Open XML its strings:
`sepal_x0020_length_x0020__x0028_cm_x0029_`. At the beginning the first underscore is left out, as
no graph node begins with one: `x0033_d` for `3d`. What looks like an escape is escaped itself. So
no two names become one, and each can be read back from what it became: there is no table to lose.

Only signatures of SavedModels hold these names. Files, manifests, servers and reports have the
column's own.
"""

from __future__ import annotations

import keyword
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TypeVar

_Value = TypeVar("_Value")

_CODE = r"(?:[0-9A-F]{4}|[0-9A-F]{6})"
# what would be read back as an escape, also where its letters have become small
_LOOKALIKE = rf"(?i:_(?=x{_CODE}[^A-Za-z0-9])|\Ax(?={_CODE}[^A-Za-z0-9]))"
_UNFIT = re.compile(rf"{_LOOKALIKE}|\A[^A-Za-z]|[^A-Za-z0-9_]")
# there a capital is escaped, so what stands before it is read as if before an underscore
_UNFIT_OR_CAPITAL = re.compile(
    _UNFIT.pattern.replace("[^A-Za-z0-9])", "(?-i:[^a-z0-9]))") + "|[A-Z]"
)
_ESCAPED = re.compile(rf"(?:\A|_)x({_CODE})_")


def safe(name: str) -> str:
    """A column's name as a signature can have it, if no other differs from it in capitals alone."""
    return _written(name, _UNFIT)


def told_apart(names: Iterable[str]) -> dict[str, str]:
    """Columns, and their names as one signature can have them all.

    TensorFlow makes the letters of its nodes small, so of names that would then be one the capitals
    are escaped, too. `original` reads these back as all others.
    """
    written = {name: safe(name) for name in names}
    small = Counter(each.lower() for each in written.values())
    return {
        name: each if small[each.lower()] == 1 else _written(name, _UNFIT_OR_CAPITAL)
        for name, each in written.items()
    }


def original(name: str) -> str:
    """The name that was written so; of one that none is, itself."""
    found = _ESCAPED.sub(lambda escaped: _sign(escaped[1]) or escaped[0], name)
    return found if name in (safe(found), _written(found, _UNFIT_OR_CAPITAL)) else name


def by_safe(values: Mapping[str, _Value]) -> dict[str, _Value]:
    """Values by column, by the names that a signature has for these columns."""
    return {written: values[name] for name, written in told_apart(values).items()}


def by_original(values: Mapping[str, _Value]) -> dict[str, _Value]:
    """Values by a signature's names, by column."""
    return {original(name): value for name, value in values.items()}


def as_taken(names: Iterable[str], values: Mapping[str, _Value]) -> dict[str, _Value]:
    """Values by column, by the names that a signature has, which are given; others are left out."""
    return {name: values[original(name)] for name in names}


def _written(name: str, unfit: re.Pattern[str]) -> str:
    if keyword.iskeyword(name):
        return _escape(name[0])[1:] + name[1:]
    escaped = unfit.sub(lambda found: _escape(found[0]), name)
    return escaped.removeprefix("_")  # of an escape: what else begins with one is escaped


def _escape(sign: str) -> str:
    point = ord(sign)
    return f"_x{point:04X}_" if point <= 0xFFFF else f"_x{point:06X}_"


def _sign(code: str) -> str:
    """The character of a code point; "" where there is none."""
    point = int(code, 16)
    return chr(point) if point <= 0x10FFFF else ""
