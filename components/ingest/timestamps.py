"""Times as examples hold them: int64 microseconds since 1970 in UTC, whatever the source has.

A time of day is microseconds since midnight, a duration microseconds.

Text is ISO 8601: `2024-03-01`, `2024-03-01 12:34`, `2024-03-01T12:34:56.789+01:00`, also with `Z`
or ` UTC` behind it, as BigQuery exports it. What names no offset is UTC. Digits beyond the
microsecond are cut off, towards the past.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

NAME = "timestamp"  # in column_types
UTC = pa.timestamp("us", "UTC")


def holds(kind: pa.DataType) -> bool:
    """Whether a column of Arrow's type is of points in time, times of day or durations."""
    return common(kind) is not None


def common(kind: pa.DataType) -> pa.DataType | None:
    """The type in which times of all units are alike; None where a type is of none."""
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return UTC
    if pa.types.is_time(kind):
        return pa.time64("us")
    return pa.duration("us") if pa.types.is_duration(kind) else None


def stored(kind: pa.DataType) -> pa.DataType:
    """The type that examples have for a type, lists of it as well."""
    if pa.types.is_list(kind):
        return pa.list_(stored(kind.value_type))
    return pa.int64() if holds(kind) else kind


def microseconds(values: pa.Array) -> pa.Array:
    """Times of any unit as int64 microseconds; a date is its midnight in UTC.

    Raises:
        pa.ArrowInvalid: one is further from 1970 than 64 bits of microseconds hold.
    """
    kind = values.type
    if pa.types.is_time(kind) or pa.types.is_duration(kind):
        if kind.unit != "ns":
            return values.cast(common(kind)).cast(pa.int64())
        given = values.cast(pa.int64())
        whole = pc.divide(given, 1000)  # towards 0; what is cut off goes towards the past
        return pc.subtract(whole, pc.less(given, pc.multiply(whole, 1000)).cast(pa.int64()))
    if pa.types.is_date(kind):
        values = values.cast(pa.timestamp("s" if pa.types.is_date32(kind) else "ms"))
    if values.type.unit == "ns":
        values = pc.floor_temporal(values.cast(pa.timestamp("ns")), unit="microsecond")
        return values.cast(pa.timestamp("us"), safe=False).cast(pa.int64())
    return values.cast(pa.timestamp("us")).cast(pa.int64())


def first_cut(values: pa.Array) -> int:
    """The first place of a time with digits beyond the microsecond, which are cut; -1: none."""
    if not holds(values.type) or getattr(values.type, "unit", "") != "ns":
        return -1
    given = values.cast(pa.int64())
    rest = pc.subtract(given, pc.multiply(pc.divide(given, 1000), 1000))
    places = pc.indices_nonzero(rest)
    return int(places[0].as_py()) if len(places) else -1


def read(text: pa.Array) -> pa.Array:
    """Text as int64 microseconds in UTC.

    Raises:
        pa.ArrowInvalid: one is not a time of the form above.
    """
    plain = pc.utf8_trim_whitespace(text)
    plain = pc.replace_substring_regex(plain, r"^(\d{4}-\d{2}-\d{2})$", r"\1 00:00")
    plain = pc.replace_substring_regex(plain, r"(\.\d{6})\d+", r"\1")
    plain = pc.replace_substring_regex(plain, r"\s?(?:Z|UTC)$", "+00:00")
    plain = pc.replace_substring_regex(plain, r"(:\d{2}(?:\.\d+)?)$", r"\1+00:00")
    # of an offset, which Arrow takes last, the colon counts as the seconds' in the line before
    plain = pc.replace_substring_regex(plain, r"([+-]\d{2}:\d{2})\+00:00$", r"\1")
    return plain.cast(UTC).cast(pa.int64())
