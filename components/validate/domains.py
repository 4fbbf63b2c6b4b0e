"""Whether the values of a column are in its domain, from its statistics."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator

import numpy as np
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from edgeline.components.validate import image_formats
from edgeline.components.validate import statistics as stats
from edgeline.components.validate.anomalies import Breach, Unchecked
from edgeline.reports.report import number

NAMED_VALUES = 5
_WHOLE = re.compile(r"\s*[+-]?\d+\s*")
_DECIMAL = re.compile(
    r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*|\s*[+-]?(inf(inity)?|nan)\s*", re.I
)
_INT64 = range(-(2**63), 2**63)
_ANY = (-math.inf, math.inf)
_UNFIT = "DOMAIN_INVALID_FOR_TYPE"
_OF_BYTES = ("natural_language_domain", "image_domain", "url_domain")
Result = Iterator[Breach | Unchecked]


def check(expected: schema_pb2.Feature, found: statistics_pb2.FeatureNameStatistics) -> Result:
    """What is wrong with a column's values by its domain, and what could not be told.

    Args:
        expected: the feature as `specification.complete` gives it.
        found: its statistics, of a type that fits.
    """
    kind = expected.WhichOneof("domain_info")
    if kind and found.type == statistics_pb2.FeatureNameStatistics.BYTES and kind not in _OF_BYTES:
        yield Breach(_UNFIT, f"holds bytes, which no {kind} can be of.")
    elif kind in _CHECKS:
        yield from _CHECKS[kind](expected, found)


def _check_strings(
    expected: schema_pb2.Feature, found: statistics_pb2.FeatureNameStatistics
) -> Result:
    if found.WhichOneof("stats") == "num_stats":
        return  # told of the type
    values, allowed = stats.listed(found), set(expected.string_domain.value)
    invalid = found.string_stats.invalid_utf8_count
    if invalid:
        sentence = f"has text that is not UTF-8, in {plural(invalid)}."
        yield Breach("ENUM_TYPE_INVALID_UTF8", sentence, guessed=True)
        return
    outside = [(value, count) for value, count in values.counts if value not in allowed]
    count = sum(count for _, count in outside) + values.unlisted
    mass = expected.distribution_constraints.min_domain_mass
    if (outside or values.unlisted) and (mass >= 1 or values.total - count < mass * values.total):
        more = len(outside) - NAMED_VALUES
        rest = f" and {more:,} more" if more > 0 else ""
        least = "" if values.complete else "at least "
        listed = f": {_named(outside)}{rest}" if outside else ""
        sentence = f"has {least}{plural(int(count))} outside its domain{listed}."
        yield Breach("ENUM_TYPE_UNEXPECTED_STRING_VALUES", sentence, guessed=True)
    elif not values.complete:
        yield from _rare(expected, found, allowed)


def _rare(
    expected: schema_pb2.Feature,
    found: statistics_pb2.FeatureNameStatistics,
    allowed: set[str],
) -> Result:
    """More distinct values than are listed: some are outside for sure, or it cannot be told."""
    unique, _ = stats.distinct(found)
    beyond = (unique or 0) - len(allowed)
    if beyond > 0 and expected.distribution_constraints.min_domain_mass == 1:
        sentence = f"has at least {unique:,} distinct values, but its domain {len(allowed):,}."
        yield Breach("ENUM_TYPE_UNEXPECTED_STRING_VALUES", sentence, guessed=True)
    else:
        yield _partly("string_domain")


def _check_bool(
    expected: schema_pb2.Feature, found: statistics_pb2.FeatureNameStatistics
) -> Result:
    if found.type == stats.STRING:
        domain, values = expected.bool_domain, stats.listed(found)
        allowed = [getattr(domain, f) for f in ("true_value", "false_value") if domain.HasField(f)]
        outside = [(value, count) for value, count in values.counts if value not in allowed]
        if (
            outside
            or values.unlisted
            or not values.complete
            or found.string_stats.invalid_utf8_count
        ):
            named = f" ({_named(outside)})" if outside else ""
            wanted = " or ".join(map(repr, allowed)) or "true_value and false_value to be given"
            sentence = f"has values{named} that are not booleans: its bool_domain wants {wanted}."
            yield Breach("BOOL_TYPE_UNEXPECTED_STRING", sentence)
    elif found.type == stats.FLOAT:
        yield from _check_bool_floats(found)
    elif held := stats.bounds(found):
        if held[0] < 0:
            sentence = f"has values down to {number(held[0])}, below the schema's 0."
            yield Breach("BOOL_TYPE_SMALL_INT", sentence)
        elif held[1] > 1:
            sentence = f"has values up to {number(held[1])}, above the schema's 1."
            yield Breach("BOOL_TYPE_BIG_INT", sentence)


def _check_bool_floats(found: statistics_pb2.FeatureNameStatistics) -> Result:
    kind, held = "BOOL_TYPE_UNEXPECTED_FLOAT", stats.bounds(found)
    if any(histogram.num_nan for histogram in found.num_stats.histograms):
        yield Breach(kind, "has NaN, which is not a boolean.")
        return
    if held is None:
        return
    odd = next((value for value in held if value not in (0, 1)), None)
    if odd is not None:
        yield Breach(kind, f"has values such as {number(odd)}, which are not booleans.")
        return
    quantiles = stats.histogram(found, "QUANTILES")
    for bucket in quantiles.buckets if quantiles else ():
        if bucket.sample_count > 0 and bucket.low_value > 0 and bucket.high_value < 1:
            yield Breach(kind, "has values between 0 and 1, which are not booleans.")
            return
    reason = "of floats between 0 and 1, those that are rarer than one in a hundred are not seen"
    yield Unchecked("", "bool_domain", reason)


def _check_ints(
    expected: schema_pb2.Feature, found: statistics_pb2.FeatureNameStatistics
) -> Result:
    domain = expected.int_domain
    low = domain.min if domain.HasField("min") else -math.inf
    high = domain.max if domain.HasField("max") and domain.max < _INT64[-1] else math.inf
    held = None if found.type == stats.FLOAT else stats.bounds(found)
    if held is None and (values := stats.listed(found)).counts:
        numbers = _parsed(found, values, _WHOLE, int)
        if numbers is None or not all(value in _INT64 for value in numbers):
            text = found.type != stats.INT
            sentence = f"has values that are not whole numbers of 64 bits: {_odd(values, _WHOLE)}."
            yield Breach("INT_TYPE_NOT_INT_STRING" if text else _UNFIT, sentence)
            return
        held = min(numbers), max(numbers)
        if not values.complete:
            yield _partly("int_domain")
    elif held and (held[0] < _INT64[0] or held[1] > 2**63) and (low, high) != _ANY:
        sentence = f"has values from {number(held[0])} to {number(held[1])}, beyond 64 bits."
        yield Breach(_UNFIT, sentence)
        return
    yield from _outside("INT", held, (low, high))


def _check_floats(
    expected: schema_pb2.Feature, found: statistics_pb2.FeatureNameStatistics
) -> Result:
    domain, held = expected.float_domain, stats.bounds(found)
    if held is None and (values := stats.listed(found)).counts:
        numbers = _parsed(found, values, _DECIMAL, float)
        if numbers is None:
            sentence = f"has text that is not a number: {_odd(values, _DECIMAL)}."
            yield Breach("FLOAT_TYPE_STRING_NOT_FLOAT", sentence)
            return
        if domain.disallow_nan and any(map(math.isnan, numbers)):
            yield Breach("FLOAT_TYPE_HAS_NAN", "holds NaN as text, which the schema disallows.")
        if domain.disallow_inf and any(map(math.isinf, numbers)):
            sentence = "holds infinity as text, which the schema disallows."
            yield Breach("FLOAT_TYPE_HAS_INF", sentence)
        numbers = [value for value in numbers if not math.isnan(value)]
        held = (min(numbers), max(numbers)) if numbers else None
        if not values.complete:
            yield _partly("float_domain")
    low = domain.min if domain.HasField("min") else -math.inf
    high = domain.max if domain.HasField("max") else math.inf
    if held is not None:  # the limits have 32 bits: 0.7 is not above a limit of 0.7
        with np.errstate(over="ignore"):
            held = float(np.float32(held[0])), float(np.float32(held[1]))
    yield from _outside("FLOAT", held, (low, high))


def _outside(
    unit: str, held: tuple[float, float] | None, limits: tuple[float, float]
) -> Iterator[Breach]:
    if held is None:
        return
    if held[0] < limits[0]:
        sentence = f"has values down to {number(held[0])}, below the schema's {number(limits[0])}."
        yield Breach(f"{unit}_TYPE_SMALL_{unit}", sentence, guessed=True)
    if held[1] > limits[1]:
        sentence = f"has values up to {number(held[1])}, above the schema's {number(limits[1])}."
        yield Breach(f"{unit}_TYPE_BIG_{unit}", sentence, guessed=True)


def _check_images(
    expected: schema_pb2.Feature, found: statistics_pb2.FeatureNameStatistics
) -> Result:
    domain = expected.image_domain
    formats = stats.custom(found, "image_format_histogram")
    if domain.HasField("minimum_supported_image_fraction"):
        least = domain.minimum_supported_image_fraction
        counts = (
            {b.label: b.sample_count for b in formats.rank_histogram.buckets} if formats else {}
        )
        total = sum(counts.values())
        share = np.float32(1 - counts.get(image_formats.UNKNOWN, 0) / total) if total else 1
        if not total:
            reason = "the formats of its values were not counted"
            yield Unchecked("", "image_domain.minimum_supported_image_fraction", reason)
        elif share < least:
            held = f"holds images in {share:.2%} of its values"
            sentence = f"{held}, but at least {least:.2%} by the schema."
            yield Breach("LOW_SUPPORTED_IMAGE_FRACTION", sentence)
    if domain.HasField("max_image_byte_size"):
        longest = stats.longest(found)
        if longest is None:
            yield Unchecked("", "image_domain.max_image_byte_size", "its lengths were not counted")
        elif longest > domain.max_image_byte_size:
            most = domain.max_image_byte_size
            sentence = f"has a value of {longest:,} bytes, but at most {most:,} by the schema."
            yield Breach("MAX_IMAGE_BYTE_SIZE_EXCEEDED", sentence)


_CHECKS: dict[str, Callable[[schema_pb2.Feature, statistics_pb2.FeatureNameStatistics], Result]] = {
    "string_domain": _check_strings,
    "bool_domain": _check_bool,
    "int_domain": _check_ints,
    "float_domain": _check_floats,
    "image_domain": _check_images,
}


def plural(count: int) -> str:
    """A number of values, in words."""
    return f"{count:,} value" if count == 1 else f"{count:,} values"


def _parsed(
    found: statistics_pb2.FeatureNameStatistics,
    values: stats.ListedValues,
    pattern: re.Pattern[str],
    read: Callable[[str], float],
) -> list[float] | None:
    """The listed values as numbers; None where one is none."""
    if found.string_stats.invalid_utf8_count or values.unlisted:
        return None
    if not all(pattern.fullmatch(value) for value, _ in values.counts):
        return None
    return [read(value) for value, _ in values.counts]


def _odd(values: stats.ListedValues, pattern: re.Pattern[str]) -> str:
    odd = [(value, n) for value, n in values.counts if not pattern.fullmatch(value)]
    return _named(odd) or _named(values.counts) or "what is too long or not UTF-8"


def _named(values: list[tuple[str, float]] | tuple[tuple[str, float], ...]) -> str:
    return ", ".join(f"{value!r} ({number(int(n))})" for value, n in values[:NAMED_VALUES])


def _partly(constraint: str) -> Unchecked:
    reason = f"only its {stats.RANKED_VALUES:,} most frequent values are listed"
    return Unchecked("", constraint, reason)
