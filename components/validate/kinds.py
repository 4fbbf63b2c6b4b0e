"""What a column seems to be beside its type, by its statistics: an identifier, a time, a constant.

It is a guess for people, and nothing is decided by it: a model learns identifiers by heart, and
times want to become an hour or a weekday.
"""

from __future__ import annotations

from datetime import datetime, timezone

from tensorflow_metadata.proto.v0 import statistics_pb2

from edgeline.components.validate import statistics as stats

FEWEST = 50  # values; among fewer, those that differ are no sign of an identifier
UNIQUE = 0.95  # share of the values
YEARS = (946_684_800, 4_102_444_800)  # 2000 to 2100, in seconds since 1970
UNITS = (("seconds", 1), ("milliseconds", 10**3), ("microseconds", 10**6), ("nanoseconds", 10**9))


def kind(feature: statistics_pb2.FeatureNameStatistics) -> str:
    """`constant`, `an identifier?`, `a time? ...`; "" where it is none of these."""
    facts = stats.common(feature)
    unique, exact = stats.distinct(feature)
    if unique == 1 and exact and facts.num_non_missing >= FEWEST:
        return "constant"
    if told := _time(feature):
        return told
    alone = facts.max_num_values <= 1 and feature.type in (stats.INT, stats.STRING)
    if alone and unique and facts.num_non_missing >= FEWEST:
        return "an identifier?" if unique >= UNIQUE * facts.num_non_missing else ""
    return ""


def _time(feature: statistics_pb2.FeatureNameStatistics) -> str:
    """Whether all its integers are times of this century, in which unit, and from when to when."""
    bounds = stats.bounds(feature)
    if feature.type != stats.INT or bounds is None or bounds[0] == bounds[1]:
        return ""
    for unit, factor in UNITS:
        if all(YEARS[0] <= bound / factor <= YEARS[1] for bound in bounds):
            days = [
                datetime.fromtimestamp(bound / factor, timezone.utc).date().isoformat()
                for bound in bounds
            ]
            return f"a time? {unit} since 1970, {days[0]} to {days[1]}"
    return ""
