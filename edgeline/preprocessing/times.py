"""Features of points in time, the same in tf.Transform and on the device.

A point in time is an int64: microseconds since 1970-01-01 00:00 in UTC, as ingest stores timestamps
and dates. Results are int64, exact for any of them, also before 1970. A missing time (-2**63) gives
a missing result: fill it with `fill_missing`.

Where the day begins depends on where one is: `utc_offset` is how far its clocks are ahead of UTC,
`+01:00` for example. A zone such as Europe/Berlin changes its offset by rules that laws change,
which no model can hold, so it is refused: choose one of its offsets, or let the data tell it.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from edgeline.artifacts.features import MISSING_INT
from edgeline.errors import EdgelineError
from edgeline.preprocessing.missing import is_missing

if TYPE_CHECKING:
    import tensorflow as tf

UTC = "+00:00"
SECOND, MINUTE, HOUR, DAY = 10**6, 60 * 10**6, 3600 * 10**6, 86400 * 10**6  # microseconds
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
THURSDAY = 3  # of 1970-01-01
ZONE = r"(Z|UTC|[+-]\d{2}:?\d{2})"
TEXT = rf"\d{{4}}-\d{{2}}-\d{{2}}([T ]\d{{2}}:\d{{2}}(:\d{{2}}(\.\d+)?)?\s?{ZONE}?)?"


def hour_of_day(time: tf.Tensor, utc_offset: str = UTC) -> tf.Tensor:
    """The hour on the clock, 0 to 23.

    Args:
        time: points in time, int64 microseconds in UTC, of any shape.
        utc_offset: of that clock, `+HH:MM` or `-HH:MM`.

    Returns:
        int64 of the same shape; -2**63 where the time is missing.

    Raises:
        EdgelineError: `time` is not int64, or `utc_offset` is no fixed offset.
    """
    import tensorflow as tf

    _, clock = _split(time, utc_offset)
    return _kept_missing(time, tf.math.floordiv(clock, _constant(HOUR)))


def day_of_week(time: tf.Tensor, utc_offset: str = UTC) -> tf.Tensor:
    """The day of the week on the calendar, 0 (Monday) to 6 (Sunday).

    Args, Returns, Raises: as `hour_of_day`.
    """
    import tensorflow as tf

    days, _ = _split(time, utc_offset)
    week = tf.math.floormod(days, _constant(7)) + _constant(THURSDAY)
    return _kept_missing(time, tf.math.floormod(week, _constant(7)))


def seconds_since(time: tf.Tensor, since: str | tf.Tensor) -> tf.Tensor:
    """Whole seconds from one point in time to another, rounded towards the past.

    Args:
        time: points in time, int64 microseconds in UTC, of any shape.
        since: such points of the same shape, or one for all as ISO 8601 (`2024-01-01`,
            `2024-01-01T06:00+01:00`), in UTC where it names no offset.

    Returns:
        int64 of the same shape, negative where `time` is before; -2**63 where one is missing.

    Raises:
        EdgelineError: `time` or `since` is not int64, or `since` is no such text.
    """
    import tensorflow as tf

    _check(time)
    if isinstance(since, str):
        start, missing = _constant(_moment(since)), is_missing(time)
    else:
        _check(since)
        start, missing = since, tf.logical_or(is_missing(time), is_missing(since))
    # the difference itself may be beyond 64 bits
    second = _constant(SECOND)
    whole = tf.math.floordiv(time, second) - tf.math.floordiv(start, second)
    behind = tf.math.floormod(time, second) < tf.math.floormod(start, second)
    found = tf.where(behind, whole - _constant(1), whole)
    return tf.where(missing, _constant(MISSING_INT), found)


def parse_datetime(text: tf.Tensor, utc_offset: str = UTC) -> tf.Tensor:
    """Points in time out of ISO 8601 text, such as `2024-03-01 12:34:56.789+01:00`.

    The time of day, its seconds and their fraction may be left out, and an offset may be `Z` or
    `UTC`. Digits beyond the microsecond are cut off. LiteRT cannot read text, so this is a host
    operation on the device (see docs/text.md): edgeline's server computes it, other runtimes have
    to. Where that is to be avoided, give the column the type `timestamp` in `column_types`: then
    ingest reads the text.

    Args:
        text: string, of any shape.
        utc_offset: of text that names none, `+HH:MM` or `-HH:MM`.

    Returns:
        int64 microseconds in UTC, of the same shape; -2**63 where the text is empty or no time.

    Raises:
        EdgelineError: `text` is not a string, or `utc_offset` is no fixed offset.
    """
    import tensorflow as tf

    if text.dtype != tf.string:
        raise EdgelineError(f"parse_datetime takes strings, but the tensor is {text.dtype.name}.")
    usual = _offset(utc_offset) // MINUTE
    with tf.name_scope("parse_datetime"):
        strings = tf.strings
        formed = strings.regex_full_match(text, TEXT)
        text = tf.where(formed, text, "1970-01-01")
        zone = strings.regex_replace(text, rf"^.*?{ZONE}?$", r"\1")
        clock = strings.regex_replace(strings.regex_replace(text, rf"\s?{ZONE}$", ""), "^.{10}", "")
        zone, clock = (tf.where(strings.length(text) > 10, x, "") for x in (zone, clock))
        fraction = strings.regex_replace(clock, r"^.{0,9}\.?", "")

        def number(source: tf.Tensor, place: int, length: int, filling: str = "") -> tf.Tensor:
            filled = strings.join([source, filling])
            return strings.to_number(strings.substr(filled, place, length), tf.int64)

        year, month, day = number(text, 0, 4), number(text, 5, 2), number(text, 8, 2)
        clock = strings.substr(
            strings.join([clock, tf.where(clock == "", "T00:00:00", ":00")]), 0, 9
        )
        hour, minute, second = number(clock, 1, 2), number(clock, 4, 2), number(clock, 7, 2)
        digits = strings.regex_replace(zone, "[^0-9]", "")
        ahead = number(digits, 0, 2, "0000") * 60 + number(digits, 2, 2, "0000")
        ahead = tf.where(strings.regex_full_match(zone, "-.*"), -ahead, ahead)
        ahead = tf.where(zone == "", tf.constant(usual, tf.int64), ahead)

        right = (month >= 1) & (month <= 12) & (day >= 1) & (day <= _days_of(year, month))
        right &= (year >= 1) & (hour <= 23) & (minute <= 59) & (second <= 59) & formed
        seconds = ((_days_since_1970(year, month, day) * 24 + hour) * 60 + minute - ahead) * 60
        found = (seconds + second) * SECOND + number(fraction, 0, 6, "000000")
        return tf.where(right, found, _constant(MISSING_INT))


def _split(time: tf.Tensor, utc_offset: str) -> tuple[tf.Tensor, tf.Tensor]:
    """Days since 1970 and microseconds of the day, both where clocks are so far ahead of UTC."""
    import tensorflow as tf

    _check(time)
    day = _constant(DAY)
    # the offset is added to the time of the day: to the time itself it may be too much for 64 bits
    clock = tf.math.floormod(time, day) + _constant(_offset(utc_offset))
    days = tf.math.floordiv(time, day)
    days = tf.where(clock < 0, days - 1, tf.where(clock < day, days, days + 1))
    clock = tf.where(clock < 0, clock + day, tf.where(clock < day, clock, clock - day))
    return days, clock


def _days_of(year: tf.Tensor, month: tf.Tensor) -> tf.Tensor:
    """Days of a month."""
    import tensorflow as tf

    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    february = tf.where(leap, _constant(29), _constant(28))
    short = (month == 4) | (month == 6) | (month == 9) | (month == 11)
    return tf.where(month == 2, february, tf.where(short, _constant(30), _constant(31)))


def _days_since_1970(year: tf.Tensor, month: tf.Tensor, day: tf.Tensor) -> tf.Tensor:
    """Of the Gregorian calendar; years begin in March (H. Hinnant, days_from_civil)."""
    import tensorflow as tf

    year = tf.where(month <= 2, year - 1, year)
    since_march = tf.math.floormod(month + 9, _constant(12))
    era = year // 400
    of_era = year - era * 400
    of_year = (153 * since_march + 2) // 5 + day - 1
    return era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468


def _kept_missing(time: tf.Tensor, found: tf.Tensor) -> tf.Tensor:
    import tensorflow as tf

    return tf.where(is_missing(time), _constant(MISSING_INT), found)


def _check(time: tf.Tensor) -> None:
    if time.dtype.name != "int64":
        raise EdgelineError(
            f"A point in time is int64 microseconds, but the tensor is {time.dtype.name}: read "
            "text with parse_datetime, or give its column the type timestamp in column_types."
        )


def _offset(utc_offset: str) -> int:
    """Microseconds that an offset from UTC is ahead.

    Raises:
        EdgelineError: it is none, or a zone with rules.
    """
    if utc_offset in ("Z", "UTC"):
        return 0
    found = re.fullmatch(r"([+-])([01]\d|2[0-3]):([0-5]\d)", utc_offset)
    if not found:
        why = (
            "a zone whose offset changes by rules, which no model can hold"
            if re.match(r"[A-Za-z]", utc_offset)
            else "no offset from UTC"
        )
        raise EdgelineError(
            f"utc_offset is {utc_offset!r}, {why}: give a fixed one such as '+01:00'."
        )
    size = int(found[2]) * HOUR + int(found[3]) * MINUTE
    return -size if found[1] == "-" else size


def _moment(text: str) -> int:
    """Microseconds of a point in time that is written in a module."""
    plain = re.sub(r"\s?(Z|UTC)$", UTC, text)
    try:
        if not re.fullmatch(TEXT, text):
            raise ValueError
        moment = datetime.fromisoformat(plain)
    except ValueError:
        raise EdgelineError(
            f"since is {text!r}, which is not a time: give one such as '2024-01-01' or "
            "'2024-01-01T06:00+01:00'."
        ) from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
    return (moment - EPOCH) // timedelta(microseconds=1)


def _constant(value: int) -> tf.Tensor:
    import tensorflow as tf

    return tf.constant(value, tf.int64)
