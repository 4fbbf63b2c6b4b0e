"""Tensors to and from JSON.

Small documents become Python objects (orjson). In a large one numbers go straight from text to
numpy (simdjson), without an object for each. `loads` decides; `to_array` takes what either gives.

NaN, Infinity and -Infinity are not JSON. They are read in every protocol, and `null` is the
missing value of a float tensor (NaN); TensorFlow Serving's protocol writes them too, the Open
Inference Protocol writes `null`.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
import threading
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import orjson
import simdjson

from edgeline.artifacts.features import MISSING
from edgeline.formats.dtypes import BY_NAME, Array
from edgeline.server.errors import invalid
from edgeline.server.work_memory import take

LARGE = 16 * 1024  # bytes from which simdjson is faster, copying its results included
_NOT_STRUCTURE = bytes(byte for byte in range(256) if byte not in b"[],")
_MAX_DIMENSIONS = 8
_FEW = 64
_KEPT = 1 << 20
# bytes that simdjson takes for a value of a document; and what it is and holds as an object
_OF_VALUE, _OF_OBJECT, _OF_LIST = 16, 48, 96
_COUNTED = 0xFFFFFF  # the most elements that simdjson counts
_WIDE = re.compile(r"\d{19}|[eE]\+?0*\d{3}")  # numbers that may be beyond 64 bits or a double
_local = threading.local()


class _ManyObjectsError(Exception):
    """A document is rows rather than arrays."""


@dataclass(slots=True)
class _Document:
    body: bytes
    lists: int = 0  # those that were met on the way to the arrays
    objects: int = 0  # bytes that it takes as objects, until they are counted


@dataclass(slots=True)
class Large:
    """An array in a large document, not yet made objects of."""

    array: Any
    document: _Document

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, place: int) -> object:
        return self.array[place]

    def as_list(self) -> list[Any]:
        """As Python's own nested lists.

        Raises:
            ServingError: they take more memory than there is.
        """
        document = self.document
        size, document.objects = document.objects, 0
        take(size)
        found: list[object] = self.array.as_list()
        return found


def loads(body: bytes) -> object:
    """Parse a document; arrays in a large one may be `Large`, for `to_array`.

    What a document of over a megabyte takes is counted before it is taken, by its brackets and
    commas: small ones are quick, and make little.

    Raises:
        ServingError: it is not JSON in UTF-8, or takes more memory than there is.
    """
    try:
        if len(body) < LARGE:
            return orjson.loads(body)
        return _loads_large(body)
    except (ValueError, RecursionError) as error:  # orjson and json raise kinds of ValueError
        if b"NaN" not in body and b"Infinity" not in body:
            raise invalid(f"The body is not JSON ({_first(error)}).") from error
    take(_sizes(body)[1])
    try:
        return _loads_python(body)
    except (ValueError, RecursionError) as error:
        raise invalid(f"The body is not JSON ({_first(error)}).") from error


def to_array(value: object, dtype: str, what: str, raw: bool = False) -> Array:
    """A nested list, or a scalar, as an array of a dtype by numpy's name.

    Args:
        value: what `loads` gave.
        dtype: for example `float32`; strings become an object array of bytes.
        what: the tensor in words, for errors.
        raw: take `null` in integers and strings too, as their missing value.

    Raises:
        ServingError: a value is of another kind or out of range, or lists differ in length.
    """
    if isinstance(value, Large):
        array = _large_to_array(value, dtype, what)
        if array is not None:
            return array
        value = value.as_list()
    if dtype == "string":
        return _strings(value, what, raw)
    return _numbers(value, dtype, what, raw)


def dumps(value: object) -> bytes:
    """A document in which values may be numpy arrays; what is not finite becomes null."""
    try:
        return orjson.dumps(value, default=_default, option=orjson.OPT_SERIALIZE_NUMPY)
    except TypeError:  # of a file's name, say, that is not UTF-8
        value = _spelled(value)
        return orjson.dumps(value, default=_default, option=orjson.OPT_SERIALIZE_NUMPY)


def dumps_not_finite(value: Any) -> bytes:
    """As `dumps`, but with NaN, Infinity and -Infinity (TensorFlow Serving's protocol)."""
    return json.dumps(value, default=_python, separators=(",", ":")).encode()


def text(array: Array) -> object:
    """Strings as nested lists of text; bytes that are not UTF-8 become {"b64": ...}."""
    if array.ndim:
        return [text(row) for row in array]
    return decode(array.item())


def decode(value: Any) -> Any:
    """One string as text, or as {"b64": ...} where it is not UTF-8."""
    if isinstance(value, str):
        return value
    try:
        return bytes(value).decode()
    except UnicodeDecodeError:
        return b64(value)


def b64(value: bytes) -> dict[str, str]:
    """Bytes as TensorFlow Serving writes them."""
    return {"b64": base64.b64encode(value).decode()}


def _sizes(body: bytes) -> tuple[int, int]:
    """Bytes that a document takes in simdjson, and as objects; 0 where it is small."""
    if len(body) <= _KEPT:
        return 0, 0
    letters = np.frombuffer(body, np.uint8)
    commas, *brackets = (int(np.count_nonzero(letters == ord(sign))) for sign in ",[{")
    lists = sum(brackets)
    return _OF_VALUE * (commas + lists), _OF_OBJECT * commas + _OF_LIST * lists


def _loads_large(body: bytes) -> object:
    parsed, objects = _sizes(body)
    take(parsed)
    parser = getattr(_local, "parser", None)
    if parser is None or len(body) > _KEPT:  # a parser keeps several times its largest document
        parser = simdjson.Parser()
        if len(body) <= _KEPT:
            _local.parser = parser
    try:
        try:
            document = parser.parse(body)
        except RuntimeError:  # something of the last document is still held: leave it the parser
            document = simdjson.Parser().parse(body)
    except (RuntimeError, ValueError):  # of an integer beyond 64 bits, which is a float, or no JSON
        take(objects)
        return orjson.loads(body)
    try:
        return _unfold(document, _Document(body, objects=objects), 0)
    except _ManyObjectsError:
        take(objects)
        return orjson.loads(body)  # makes objects faster


def _unfold(value: object, document: _Document, depth: int) -> object:
    """Objects and lists of objects as Python's own, down to arrays of values.

    Looking up a key or place takes time in their number: many are converted all at once.
    """
    if depth > _MAX_DIMENSIONS:
        raise ValueError("it is nested too deep")
    if isinstance(value, simdjson.Object):
        keys = list(value.keys()) if len(value) <= _FEW else []
        if len(set(keys)) < len(value):  # many, or of two of a name the last, as in a small one
            take(document.objects)
            document.objects = 0
            return value.as_dict()
        return {key: _unfold(value[key], document, depth + 1) for key in keys}
    if not isinstance(value, simdjson.Array):
        return value
    document.lists += 1
    if len(value) and not isinstance(value[0], simdjson.Object):
        return Large(value, document)
    if len(value) > _FEW:
        raise _ManyObjectsError
    return [_unfold(value[place], document, depth + 1) for place in range(len(value))]


def _loads_python(body: bytes) -> object:
    """A document with NaN or Infinity; for the rest what orjson takes and no more."""
    text = body.decode()
    wide = _WIDE.search(text) is not None
    value = json.loads(
        text, parse_int=_whole if wide else None, parse_float=_finite if wide else None
    )
    if "\\u" in text:
        json.dumps(value, ensure_ascii=False).encode()  # raises at half a surrogate pair
    return value


def _whole(text: str) -> int | float:
    number = int(text) if len(text) <= 20 else 1 << 64
    return number if -(1 << 63) <= number < 1 << 64 else _finite(text)


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text[:20]}... is beyond a double")
    return number


def _spelled(value: object) -> object:
    """A value whose text is UTF-8: what is not is spelled as Python spells it, `\\udcff`."""
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, dict):
        return {_spelled(key): _spelled(entry) for key, entry in value.items()}
    return [_spelled(entry) for entry in value] if isinstance(value, list | tuple) else value


def _large_to_array(value: Large, dtype: str, what: str) -> Array | None:
    """Numbers by simdjson's own flattening; None where it has to be done value by value."""
    if dtype in ("string", "bool"):
        return None
    wanted = BY_NAME[dtype].numpy
    kind, held = ("d", "<f8") if wanted.kind == "f" else ("i", "<i8")
    if dtype == "uint64":
        kind, held = "u", "<u8"
    shape = _first_shape(value.array)
    if max(shape) >= _COUNTED:
        return None
    try:
        flat = np.frombuffer(value.array.as_buffer(of_type=kind), held)
    except (TypeError, ValueError):
        return None  # the slow way finds out what is wrong, or takes it
    if int(np.prod(shape)) != len(flat):
        raise _ragged(what)
    if not _is_regular(value, shape):
        raise _ragged(what)
    return cast(flat, wanted, what).reshape(shape)


def _first_shape(value: object) -> tuple[int, ...]:
    shape: list[int] = []
    while isinstance(value, simdjson.Array):
        shape.append(len(value))
        if len(shape) > _MAX_DIMENSIONS or not len(value):
            break
        value = value[0]
    return tuple(shape)


def _is_regular(value: Large, shape: tuple[int, ...]) -> bool:
    """Whether each list is as long as the first of its level: its brackets and commas tell.

    Where the body has no other brackets than those known, the body tells; else the array is
    written anew.
    """
    body = value.document.body
    brackets = int(np.count_nonzero(np.frombuffer(body, np.uint8) == ord("[")))
    if len(shape) == 1 and brackets == value.document.lists:
        return True
    lists = 1 + sum(int(np.prod(shape[:depth])) for depth in range(1, len(shape)))
    wanted = b"[" + b"," * (shape[-1] - 1) + b"]"
    for size in reversed(shape[:-1]):
        wanted = b"[" + (wanted + b",") * (size - 1) + wanted + b"]"
    if brackets == lists:
        structure = body.translate(None, _NOT_STRUCTURE)
        return structure.startswith(wanted, structure.index(b"["))
    minified: bytes = value.array.mini
    return minified.translate(None, _NOT_STRUCTURE) == wanted


def _numbers(value: object, dtype: str, what: str, raw: bool) -> Array:
    wanted = BY_NAME[dtype].numpy
    try:
        array = np.array(value)
    except (ValueError, OverflowError):
        raise _ragged(what) from None
    if array.dtype.kind == "f" and wanted.kind in "iu":
        array = np.array(value, object)  # decimal numbers, or integers that numpy made such
    if array.dtype == object:
        array = _with_missing(array, dtype, what, raw)
    kinds = {"f": "iuf", "b": "b", "i": "iu", "u": "iu"}[wanted.kind]
    if array.dtype.kind not in kinds and array.size:
        found = {"f": "decimal numbers", "b": "booleans", "U": "text", "i": "numbers"}
        raise invalid(f"{what} holds {found.get(array.dtype.kind, 'objects')}: give {dtype}.")
    if array.dtype.kind in "iu" and _holds_bool(value):
        raise invalid(f"{what} holds booleans among numbers: give {dtype}.")
    return cast(array, wanted, what)


def _with_missing(array: Array, dtype: str, what: str, raw: bool) -> Array:
    """Values among which there are nulls, or integers that numpy has no type for."""
    floating = BY_NAME[dtype].numpy.kind == "f"
    missing = MISSING.get(dtype, float("nan")) if floating or (raw and dtype == "int64") else None
    for number in array.flat:
        if number is None and missing is None:
            raise invalid(f"{what} holds null, which is not of type {dtype}.")
        if not isinstance(number, (int, float, type(None))) or isinstance(number, bool):
            if isinstance(number, list):
                raise _ragged(what)
            raise invalid(f"{what} holds a {type(number).__name__}: give {dtype}.")
        if isinstance(number, float) and not floating:
            raise invalid(f"{what} holds decimal numbers: give {dtype}.")
    filled: Array = np.array(array, copy=True)
    filled.reshape(-1)[[number is None for number in array.flat]] = missing
    try:
        return filled.astype(np.float64 if floating else BY_NAME[dtype].numpy)
    except OverflowError:
        raise invalid(f"{what} holds a value that is out of range for {dtype}.") from None


def _holds_bool(value: object) -> bool:
    """Whether True or False is among the values; numpy would silently make them 1 and 0."""
    if not isinstance(value, list):
        return isinstance(value, bool)
    while value and isinstance(value[0], list):  # numpy has found it regular
        value = list(chain.from_iterable(value))
    return bool in set(map(type, value))


def cast(array: Array, wanted: Any, what: str) -> Array:
    if array.dtype == wanted:
        return array
    if wanted.kind in "iu" and array.size:
        bounds = np.iinfo(wanted)
        low, high = array.min(), array.max()
        if low < bounds.min or high > bounds.max:
            worst = low if low < bounds.min else high
            raise invalid(f"{what} holds {worst}, which is out of range for {wanted.name}.")
    with np.errstate(over="ignore"):
        cast = array.astype(wanted)
    if wanted.kind == "f" and array.dtype.kind == "f" and np.isinf(cast).any():
        worst = array[np.isinf(cast) & ~np.isinf(array)]
        if worst.size:
            raise invalid(f"{what} holds {worst[0]}, which is out of range for {wanted.name}.")
    return cast


def _strings(value: Any, what: str, raw: bool) -> Array:
    shape: list[int] = []
    flat = [value]
    while flat and isinstance(flat[0], list) and len(shape) < _MAX_DIMENSIONS:
        shape.append(len(flat[0]))
        if any(not isinstance(item, list) or len(item) != shape[-1] for item in flat):
            raise _ragged(what)
        flat = [inner for item in flat for inner in item]
    made: dict[str, bytes] = {}  # a column's texts are often alike, and are kept once
    for place, item in enumerate(flat):
        if type(item) is not str:
            flat[place] = _string(item, what, raw)
        elif (known := made.get(item)) is not None:
            flat[place] = known
        else:
            flat[place] = made[item] = item.encode()
    array = np.empty(len(flat), object)
    array[:] = flat
    return array.reshape(shape)


def _string(value: object, what: str, raw: bool) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if value is None and raw:
        return b""
    if isinstance(value, dict) and value.keys() == {"b64"} and isinstance(value["b64"], str):
        try:
            return base64.b64decode(value["b64"], validate=True)
        except (binascii.Error, ValueError):
            raise invalid(f"{what} holds base64 that cannot be decoded.") from None
    if isinstance(value, list):
        raise _ragged(what)
    raise invalid(f"{what} holds a {type(value).__name__}: give text or {{'b64': ...}}.")


def _default(value: object) -> object:
    """What orjson leaves: strings, and arrays that are not contiguous."""
    if isinstance(value, np.ndarray):
        return text(value) if value.dtype.kind in "OSU" else np.ascontiguousarray(value)
    return decode(value)


def _python(value: object) -> object:
    if isinstance(value, np.ndarray):
        return text(value) if value.dtype.kind in "OSU" else _shortest(value)
    return decode(value) if isinstance(value, bytes) else _shortest(value)


def _shortest(value: Any) -> object:
    """Python numbers; a float32 with the fewest digits that give it back."""
    if value.dtype == np.float32:
        return np.array([float(str(v)) for v in np.ravel(value)]).reshape(np.shape(value)).tolist()
    return value.tolist()


def _ragged(what: str) -> Exception:
    return invalid(f"{what} is not a regular array: give lists of equal length.")


def _first(error: BaseException) -> str:
    message = str(error) or type(error).__name__
    return message.splitlines()[0].rstrip(".")[:200]
