"""JSON that others wrote, as typed values: whatever is wrong with it is one sentence.

`read` gives the JSON of a file, `convert` makes of it what a type says: a dataclass, a tuple, a
mapping, an optional or a plain value. Nothing is guessed: `"1"` and `1.0` are not whole numbers.
"""

from __future__ import annotations

import json
import math
import stat
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from edgeline.errors import EdgelineError

LARGEST = 64 << 20  # bytes of a file of JSON
_NAMES = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
_SHOWN = 60  # characters of a wrong value


def read(file: str | Path) -> Any:
    """The JSON of a file.

    Raises:
        EdgelineError: it is missing, not a regular file, too large, or not JSON.
    """
    file = Path(file)
    try:
        state = file.stat()
        if not stat.S_ISREG(state.st_mode):  # opening a pipe would wait for ever
            raise EdgelineError(f"{file} is not a regular file.")
        if state.st_size > LARGEST:
            raise EdgelineError(f"{file} has {state.st_size:,} bytes, above {LARGEST:,}.")
        return parse(file.read_bytes(), str(file))
    except OSError as error:
        raise EdgelineError(f"{file} cannot be read ({error.strerror}).") from error


def parse(text: str | bytes, where: str) -> Any:
    """JSON of a text that `where` names.

    Raises:
        EdgelineError: it is not JSON.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise EdgelineError(f"{where} is not JSON that can be read (nested too deeply).") from None
    except ValueError as error:
        said = "a number has too many digits" if "int_max_str_digits" in str(error) else error
        raise EdgelineError(f"{where} is not JSON ({said}).") from error


def convert(value: object, kind: Any, where: str = "") -> Any:
    """A JSON value as a type says: lists become tuples, objects mappings or dataclasses.

    Args:
        kind: str, int, float, bool, object (anything), a dataclass, `tuple[X, ...]`,
            `Mapping[str, X]`, `X | None` or `Literal["a", "b"]`.
        where: the place of the value, for the sentence.

    Raises:
        EdgelineError: the value, or one inside it, is of another kind, missing or unknown.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if kind in (object, Any):
        return value
    if origin in (Union, types.UnionType):
        if value is None and types.NoneType in arguments:
            return None
        (kind,) = (argument for argument in arguments if argument is not types.NoneType)
        return convert(value, kind, where)
    if origin is Literal:
        if not isinstance(value, str) or value not in arguments:
            raise _wrong(value, " or ".join(arguments), where)
        return value
    if origin is tuple:
        if not isinstance(value, list):
            raise _wrong(value, "a list", where)
        return tuple(
            convert(item, arguments[0], f"{where}[{place}]") for place, item in enumerate(value)
        )
    if is_dataclass(kind) or (isinstance(origin, type) and issubclass(origin, Mapping)):
        if not isinstance(value, dict):
            raise _wrong(value, "an object", where)
        if is_dataclass(kind):
            return _dataclass(value, kind, where)
        return {
            convert(name, str, f"a name in {where}" if where else "a name"): convert(
                item, arguments[1], _inside(where, name)
            )
            for name, item in value.items()
        }
    if not _fits(value, kind):
        number = kind in (int, float) and type(value) is int
        raise _wrong(value, "a number of 64 bits" if number else _NAMES[kind], where)
    return float(value) if isinstance(value, int) and kind is float else value


def _dataclass(value: Mapping[str, object], kind: Any, where: str) -> Any:
    hints = _hints(kind)
    for name in value:
        if name not in hints:
            raise EdgelineError(f"{_inside(where, name)[:_SHOWN]!r} is unknown")
    for field in fields(kind):
        required = field.default is MISSING and field.default_factory is MISSING
        if required and field.name not in value:
            raise EdgelineError(f"{_inside(where, field.name)!r} is missing")
    return kind(**{n: convert(v, hints[n], _inside(where, n)) for n, v in value.items()})


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _fits(value: object, kind: object) -> bool:
    if kind is str:  # half a surrogate pair is in no file's name and in no answer
        return isinstance(value, str) and not any("\ud800" <= c <= "\udfff" for c in value)
    if kind is bool or isinstance(value, bool):
        return kind is bool and isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and -(2**63) <= value < 2**63
    if isinstance(value, int):
        return -(2**63) <= value < 2**63
    return isinstance(value, float) and math.isfinite(value)


def _inside(where: str, name: object) -> str:
    return f"{where}.{name}" if where else str(name)


def _wrong(value: object, wanted: str, where: str) -> EdgelineError:
    shown = ascii(value) if isinstance(value, (str, int, float)) else _kind(value)
    if len(shown) > _SHOWN:
        shown = shown[: _SHOWN - 3] + "..."
    place = repr(where[-2 * _SHOWN :]) if where else "it"
    return EdgelineError(f"{place} is {shown}, not {wanted}")


def _kind(value: object) -> str:
    return {dict: "an object", list: "a list", type(None): "null"}.get(
        type(value), type(value).__name__
    )
