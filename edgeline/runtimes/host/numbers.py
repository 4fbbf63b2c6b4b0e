"""Text as numbers and numbers as text, as TensorFlow reads and writes them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np

from edgeline.runtimes.host.elements import Attributes, HostFunction, UnfitError, each, only
from edgeline.runtimes.host.text import BLANKS

FLOATS: dict[str, Any] = {"float32": np.float32, "float64": np.float64}
INTEGERS = {"int32": 31, "int64": 63}
WHOLE = re.compile(rb"[+-]?[0-9]+")
DECIMAL = re.compile(rb"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
HEXADECIMAL = re.compile(
    rb"[+-]?0[xX]([0-9a-fA-F]+\.?[0-9a-fA-F]*|\.[0-9a-fA-F]+)([pP][+-]?[0-9]+)?"
)
NAMED = re.compile(rb"([+-]?)(?:(inf(?:inity)?)|nan(?:\([0-9A-Za-z_]*\))?)", re.IGNORECASE)


def to_number(attributes: Attributes) -> HostFunction:
    """StringToNumber: float32, float64, int32 or int64."""
    kind = only(attributes, "out_type", "float32", "float64", "int32", "int64")
    if kind in FLOATS:
        reads: Callable[[bytes], object] = _single if kind == "float32" else _double
        return lambda text: each(_read(reads, "a number"), FLOATS[kind], text)
    bits = INTEGERS[kind]

    def whole(text: bytes) -> int:
        if not WHOLE.fullmatch(text):
            raise ValueError
        digits = text.lstrip(b"+-").lstrip(b"0")
        value = int(digits or b"0") if len(digits) < 20 else 2**64
        value = -value if text.startswith(b"-") else value
        if not -(2**bits) <= value < 2**bits:
            raise ValueError
        return value

    return lambda text: each(_read(whole, f"a whole number of {bits + 1} bits"), kind, text)


def as_string(attributes: Attributes) -> HostFunction:
    """AsString: of int32, int64, float32, float64 or bool, as C's printf writes it."""
    kind = only(attributes, "T", *INTEGERS, *FLOATS, "bool")
    width, precision = int(attributes.get("width", -1)), int(attributes.get("precision", -1))
    if kind == "bool":
        return lambda values: each(lambda value: b"true" if value else b"false", object, values)
    fill = only(attributes, "fill", "", " ", "+", "-", "0", "#")
    code = "d"
    if kind in FLOATS:
        code = "g" if attributes.get("shortest") else "e" if attributes.get("scientific") else "f"
    if fill == "#" or max(width, precision) > 1000:
        raise UnfitError(f"its fill is {fill!r}, its width {width}, its precision {precision}")
    form = "%" + fill + (str(width) if width > -1 else "")
    whole = form + (f".{precision}" if precision > -1 else "") + code
    blank = (form.replace("%0", "%", 1) if fill == "0" else form) + "s"
    signed = {"+": "+", " ": " "}.get(fill, "")

    least = float(np.finfo(kind).smallest_normal) if kind in FLOATS else 0.0

    def write(value: float) -> bytes:
        text: str
        if abs(value) < least:
            value = math.copysign(0.0, value)  # TensorFlow's threads take denormal floats for 0
        if math.isfinite(value):
            text = whole % value
            return text.encode()
        name = "nan" if math.isnan(value) else "inf"
        sign = "-" if math.copysign(1.0, value) < 0 else signed
        text = blank.replace("%+", "%").replace("% ", "%") % (sign + name)
        return text.encode()

    return lambda values: each(write, object, values)


def _read(reads: Callable[[bytes], object], what: str) -> Callable[[bytes], object]:
    def read(text: bytes) -> object:
        try:
            return reads(text.strip(BLANKS))
        except ValueError:
            raise ValueError(f"it is not {what}") from None

    return read


def _double(text: bytes) -> float:
    if DECIMAL.fullmatch(text):
        return float(text)
    if HEXADECIMAL.fullmatch(text):
        try:
            return float.fromhex(text.decode())
        except OverflowError:
            return -math.inf if text.startswith(b"-") else math.inf
    if not (found := NAMED.fullmatch(text)):
        raise ValueError
    return math.copysign(math.inf if found[2] else math.nan, -1 if found[1] == b"-" else 1)


def _single(text: bytes) -> Any:
    """The nearest float32; the nearest float64 may lie just between two."""
    double = _double(text)
    with np.errstate(over="ignore", under="ignore"):
        found = np.float32(double)
    if not math.isfinite(double) or double == 0 or float(found) == double:
        return found
    other = np.nextafter(found, np.float32(math.copysign(math.inf, double - float(found))))
    ends = [
        math.copysign(2.0**128, value) if np.isinf(value) else float(value)
        for value in (found, other)
    ]
    if Fraction(ends[0]) + Fraction(ends[1]) != 2 * Fraction(double):
        return found
    exact = _exact(text)
    if exact == double:
        return found  # to even, as numpy has done
    nearer = exact > double if ends[0] > ends[1] else exact < double
    return found if nearer else other


def _exact(text: bytes) -> Any:
    if DECIMAL.fullmatch(text):
        return Decimal(text.decode())
    sign = -1 if text.startswith(b"-") else 1
    digits, _, power = text.lstrip(b"+-")[2:].lower().partition(b"p")
    whole, _, part = digits.partition(b".")
    shift = int(power or b"0") - 4 * len(part)
    value = int(whole + part, 16)
    return sign * (Fraction(value) * Fraction(2) ** shift)
