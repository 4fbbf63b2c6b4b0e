"""Cron expressions as the server's parser takes them."""

from __future__ import annotations

import pytest

from edgeline.schedules.cron import shortest_gap


@pytest.mark.parametrize(
    ("cron", "seconds"),
    [
        ("0 0 3 * * *", 86400),
        ("* * * * * *", 1),
        ("0 */5 * * * *", 300),
        ("0 */7 * * * ?", 240),  # from 56 to the next hour's 0
        ("0 0 1,23 * * *", 7200),
        ("30 0 0-4/2 1 JAN-mar MON,fri", 7200),
        ("0 10/20 * * * *", 1200),
        ("@daily", 86400),
        ("@every 1h30m", 5400),
        ("@every 0.5s", 0.5),
    ],
)
def test_the_least_time_between_two_runs(cron: str, seconds: float) -> None:
    assert shortest_gap(cron) == seconds


@pytest.mark.parametrize(
    ("cron", "said"),
    [
        ("0 3 * * *", "5 fields are not the six of second, minute"),
        ("99 0 2 * * *", "second 99 is not within 0 to 59"),
        ("0 0 24 * * *", "hour 24"),
        ("0 0 2 0 * *", "day 0"),
        ("0 0 2 * * 7", "weekday 7"),
        ("0 0 2 * * FOO", "weekday 'FOO' is not a number or name"),
        ("0 0 2 L * *", "day 'L' is not a number"),
        ("0 5-2 * * * *", "minute 5-2"),
        ("0 */0 * * * *", "steps of 0"),
        ("@nonsense", "@nonsense is not one of"),
        ("@every", "@every is not one of"),
        ("@every soon", "no duration"),
        ("", "0 fields"),
    ],
)
def test_what_the_server_would_refuse(cron: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        shortest_gap(cron)
