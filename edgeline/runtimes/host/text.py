"""TensorFlow's operators that cut, join and change text, on object arrays of bytes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgeline.formats.dtypes import Array
from edgeline.runtimes.host import hashes, regex
from edgeline.runtimes.host.elements import Attributes, HostFunction, UnfitError, each, only
from edgeline.runtimes.host.patterns import PatternError

BLANKS = b" \t\n\v\f\r"
BYTE, UTF8 = "BYTE", "UTF8_CHAR"
TRAIL = range(0x80, 0xC0)
# have another case since Unicode 14, which TensorFlow's ICU (Unicode 13) does not know
SINCE_UNICODE_14 = frozenset(
    {
        *(0x19B, 0x264, 0x1C89, 0x1C8A, 0x2C2F, 0x2C5F, 0xA7C0, 0xA7C1, 0xA7D0, 0xA7D1),
        *(*range(0xA7CB, 0xA7CE), *range(0xA7D6, 0xA7DD)),
        *(*range(0x10570, 0x105BD), *range(0x10D50, 0x10D86)),
    }
)
SIGMA = "\u03a3"  # its small letter depends on the letters around it
# what is a letter among these has not changed since: up to Arabic, Greek, punctuation, Chinese
SETTLED = (range(0x870), range(0x1F00, 0x2070), range(0x3400, 0xA000), range(0xFFFD, 0xFFFE))


def substr(attributes: Attributes) -> HostFunction:
    """Substr: part of a text, by bytes or by UTF-8 characters."""
    unit = only(attributes, "unit", BYTE, UTF8)
    cut = _bytes_from if unit == BYTE else _characters_from
    return lambda text, start, length: each(cut, object, text, start, length)


def length(attributes: Attributes) -> HostFunction:
    """StringLength: int32."""
    unit = only(attributes, "unit", BYTE, UTF8)
    count = len if unit == BYTE else _count
    return lambda text: each(count, np.int32, text)


def strip(_: Attributes) -> HostFunction:
    """StringStrip: without ASCII's white space at the ends."""
    return lambda text: each(lambda value: value.strip(BLANKS), object, text)


def lower(attributes: Attributes) -> HostFunction:
    """StringLower: of ASCII, or of Unicode with encoding utf-8."""
    return _cased(attributes, bytes.lower, str.lower)


def upper(attributes: Attributes) -> HostFunction:
    """StringUpper: of ASCII, or of Unicode with encoding utf-8."""
    return _cased(attributes, bytes.upper, str.upper)


def join(attributes: Attributes) -> HostFunction:
    """StringJoin: of one text of each input; those that are scalars stand for all."""
    separator = str(attributes.get("separator", "")).encode()
    return lambda *texts: each(lambda *values: separator.join(values), object, *texts)


def full_match(attributes: Attributes) -> HostFunction:
    """StaticRegexFullMatch: bool."""
    try:
        matches = regex.full_match(str(attributes["pattern"]))
    except PatternError as error:
        raise UnfitError(f"of its pattern {attributes['pattern']!r}: {error}") from error
    return lambda text: each(matches, np.bool_, text)


def replace(attributes: Attributes) -> HostFunction:
    """StaticRegexReplace."""
    pattern, rewrite = str(attributes["pattern"]), str(attributes["rewrite"])
    try:
        replaced = regex.replace(pattern, rewrite, bool(attributes.get("replace_global", True)))
    except PatternError as error:
        raise UnfitError(f"of its pattern {pattern!r}: {error}") from error
    return lambda text: each(replaced, object, text)


def split(attributes: Attributes) -> HostFunction:
    """StringSplitV2: indices [parts, 2], the parts, and the shape that holds them."""
    most = int(attributes.get("maxsplit", -1))

    def apply(text: Array, separator: Array) -> tuple[Array, Array, Array]:
        sign = separator.item() or None
        if sign is None and most >= 0:
            raise UnfitError("it splits at white space and has a maxsplit")
        parts = [value.split(sign, most) for value in text.reshape(-1).tolist()]
        indices = [(row, place) for row, found in enumerate(parts) for place in range(len(found))]
        values = np.empty(len(indices), object)
        values[:] = [part for found in parts for part in found]
        shape = np.array([len(parts), max(map(len, parts), default=0)], np.int64)
        return np.array(indices, np.int64).reshape(-1, 2), values, shape

    return apply


def reduce_join(attributes: Attributes) -> HostFunction:
    """ReduceJoin along one axis."""
    separator = str(attributes.get("separator", "")).encode()
    keep = bool(attributes.get("keep_dims", False))

    def apply(text: Array, axes: Array) -> Array:
        if axes.size != 1:
            raise UnfitError(f"it joins along {axes.size} axes")
        moved = np.moveaxis(text, int(axes.item()), -1)
        flat = moved.reshape(-1, moved.shape[-1])
        found = np.empty(len(flat), object)
        found[:] = [separator.join(row) for row in flat.tolist()]
        joined = found.reshape(moved.shape[:-1])
        return np.expand_dims(joined, int(axes.item())) if keep else joined

    return apply


def fingerprint_bucket(attributes: Attributes) -> HostFunction:
    """StringToHashBucketFast: int64."""
    return _bucket(attributes, hashes.fingerprint64)


def hash_bucket(attributes: Attributes) -> HostFunction:
    """StringToHashBucket: int64."""
    return _bucket(attributes, hashes.hash64)


def siphash_bucket(attributes: Attributes) -> HostFunction:
    """StringToHashBucketStrong: int64."""
    key = [int(word) & hashes.MASK for word in attributes["key"]]
    if len(key) != 2:
        raise UnfitError(f"its key has {len(key)} numbers")
    return _bucket(attributes, lambda text: hashes.siphash(text, key))


def _bucket(attributes: Attributes, found: Callable[[bytes], int]) -> HostFunction:
    buckets = int(attributes["num_buckets"])
    if buckets < 1:
        raise UnfitError(f"it has {buckets} buckets")
    return lambda text: each(lambda value: found(value) % buckets, np.int64, text)


def _cased(
    attributes: Attributes, ascii_: Callable[[bytes], bytes], unicode: Callable[[str], str]
) -> HostFunction:
    if only(attributes, "encoding", "", "utf-8") == "":
        return lambda text: each(ascii_, object, text)

    def change(value: bytes) -> bytes:
        text = value.partition(b"\0")[0].decode(errors="replace")  # TensorFlow stops there
        if not SINCE_UNICODE_14.isdisjoint(map(ord, text)):
            raise ValueError("it has a letter whose case is newer than TensorFlow's Unicode 13")
        if SIGMA in text and not all(_is_settled(ord(letter)) for letter in text):
            raise ValueError("a capital sigma stands among letters whose case is not settled")
        return unicode(text).encode()

    return lambda text: each(change, object, text)


def _is_settled(code: int) -> bool:
    return any(code in settled for settled in SETTLED)


def _bytes_from(text: bytes, start: int, length: int) -> bytes:
    begin = start if start >= 0 else len(text) + start
    if not 0 <= begin <= len(text):
        raise ValueError(f"position {start} is outside of it")
    return text[begin:] if length < 0 else text[begin : begin + length]


def _characters_from(text: bytes, start: int, length: int) -> bytes:
    """As TensorFlow counts: a character begins at the text's begin and at each byte but a trail."""
    if start < 0 or length < 0:
        raise ValueError("a negative position or length of characters is not supported")
    begins = [place for place, byte in enumerate(text) if not place or byte not in TRAIL]
    begins.append(len(text))
    if start >= len(begins):
        raise ValueError(f"position {start} is outside of it")
    return text[begins[start] : begins[min(start + length, len(begins) - 1)]]


def _count(text: bytes) -> int:
    return sum(byte not in TRAIL for byte in text)
