"""Times as features, against Python's calendar, in TensorFlow and on the device."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest

from edgeline.artifacts.features import MISSING_INT
from edgeline.errors import EdgelineError
from edgeline.preprocessing import day_of_week, hour_of_day, parse_datetime, seconds_since

sys.path.insert(0, str(Path(__file__).parent / "components" / "convert"))

pytestmark = pytest.mark.slow

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
STEP = timedelta(microseconds=1)
SPAN = [(datetime(y, 1, 1, tzinfo=timezone.utc) - EPOCH) // STEP for y in (2, 9999)]
INT = np.iinfo(np.int64)
OFFSETS = ("+00:00", "+01:00", "-03:30", "+14:00", "-23:59")


def times():
    """Midnights and hours with their neighbours, and any times of the calendar; [n, 1]."""
    random = np.random.default_rng(3)
    edges = np.array([0, 3600 * 10**6, 86400 * 10**6, 1710000000 * 10**6, 951782400 * 10**6])
    near = [edges * sign + step for sign in (1, -1) for step in (-1, 0, 1)]
    return np.concatenate([*near, random.integers(*SPAN, 200)])[:, None]


def moments(offset="+00:00"):
    clock = timezone(timedelta(hours=int(offset[:3]), minutes=int(offset[0] + offset[4:])))
    return [(EPOCH + int(time) * STEP).astimezone(clock) for time in times().ravel()]


FEATURES = {
    **{f"hour {o}": (lambda x, o=o: hour_of_day(x, o)) for o in OFFSETS},
    **{f"day {o}": (lambda x, o=o: day_of_week(x, o)) for o in OFFSETS},
    "since": lambda x: seconds_since(x, "2024-02-29T06:00+01:00"),
    "between": lambda x: seconds_since(x, x * 3),
}


@pytest.fixture(scope="module")
def answers():
    """By feature what the cloud and the device give for `times`, then for times beyond."""
    from extreme_cases import both

    far = np.array([MISSING_INT, INT.max, INT.min + 1, INT.max - 1])[:, None]
    return both(FEATURES, np.concatenate([times(), far]), raw=True)


@pytest.mark.parametrize("name", FEATURES)
def test_the_device_answers_as_the_cloud(name, answers):
    cloud, edge = answers[name]
    assert cloud.dtype == edge.dtype == np.int64
    np.testing.assert_array_equal(edge, cloud)
    if name != "between":
        assert cloud[len(times())] == MISSING_INT
        assert (cloud[len(times()) + 1 :] != MISSING_INT).all()


@pytest.mark.parametrize("offset", OFFSETS)
def test_hours_and_days_are_those_of_python_s_calendar(offset, answers):
    hours, days = (
        answers[f"{what} {offset}"][0][: len(times())].ravel() for what in ("hour", "day")
    )
    assert hours.tolist() == [moment.hour for moment in moments(offset)]
    assert days.tolist() == [moment.weekday() for moment in moments(offset)]


def test_seconds_since_are_those_of_python(answers):
    start = datetime(2024, 2, 29, 5, tzinfo=timezone.utc)
    found = answers["since"][0][: len(times())].ravel()
    assert found.tolist() == [(each - start) // timedelta(seconds=1) for each in moments()]


def test_text_is_read_as_python_reads_it():
    import tensorflow as tf

    texts = [each.isoformat(" ", "microseconds") for each in moments("-03:30")]
    found = parse_datetime(tf.constant(texts)[:, None])
    assert found.numpy().tolist() == times().tolist()


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("1970-01-02", 86400 * 10**6),
        ("1970-01-01 00:01", 60 * 10**6),
        ("1970-01-01T00:00:01Z", 10**6),
        ("1970-01-01 00:00:01.5 UTC", 1500000),
        ("1970-01-01T01:00:00.0000019+0100", 1),
        ("2000-02-29", 951782400 * 10**6),
        *((wrong, MISSING_INT) for wrong in ("", "1900-02-29", "2024-13-01", "2024-01-00", "x")),
        *((wrong, MISSING_INT) for wrong in ("2024-01-01T24:00", "2024-01-01 1:00", "0000-01-01")),
        ("\xff2024-01-01", MISSING_INT),
    ],
)
def test_forms_of_text(text, time):
    import tensorflow as tf

    assert parse_datetime(tf.constant([[text.encode("latin-1")]])).numpy() == [[time]]


def test_text_without_an_offset_is_that_of_the_clock_named():
    import tensorflow as tf

    given = tf.constant(["1970-01-01", "1970-01-01T00:00Z"])
    assert parse_datetime(given, "-05:30").numpy().tolist() == [19800 * 10**6, 0]


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda x: hour_of_day(x, "Europe/Berlin"),
            "a zone whose offset changes by rules, which no",
        ),
        (lambda x: day_of_week(x, "+1"), "'\\+1', no offset from UTC: give a fixed one such as"),
        (lambda x: parse_datetime(x, "CET"), "takes strings, but the tensor is int64"),
        (lambda x: seconds_since(x, "yesterday"), "since is 'yesterday', which is not a time"),
        (lambda x: hour_of_day(x == x), "is int64 microseconds, but the tensor is bool"),
    ],
)
def test_what_cannot_be_is_refused(make, sentence):
    import tensorflow as tf

    with pytest.raises(EdgelineError, match=sentence):
        make(tf.constant([[1]], tf.int64))
