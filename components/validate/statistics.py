"""Statistics of examples as tensorflow_metadata protos: read, and what they say of a feature.

Beside the fields every reader of such statistics knows, a feature has `custom_stats`:

| name                  | of       | what                                                  |
|-----------------------|----------|-------------------------------------------------------|
| `num_inf`             | numbers  | infinite values; all else is about the finite ones    |
| `num_negative_inf`    | numbers  | those of them below zero                              |
| `quantile_rank_error` | numbers  | bound of the quantiles' error (see sketches); 0: exact |
| `unique`              | integers | distinct values; absent above 10,000                  |
| `value_counts`        | integers | the 1,000 most frequent values; absent with `unique`  |
| `untyped`             | columns  | 1 for a column of Arrow's null type, counted as strings |
| `count_error`         | strings  | how much too low a count can be; 0: `unique` is exact |
| `max_bytes`           | strings  | length of the longest value                           |
| `image_format_histogram` | strings | values by format, where the schema says they are images |

A sparse or weighted feature of the schema has an entry of its own, with `custom_stats` alone (see
`combined`). The names that TFDV uses mean the same here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.message import DecodeError
from tensorflow_metadata.proto.v0 import statistics_pb2

from edgeline import artifacts
from edgeline.errors import EdgelineError
from edgeline.stores import copies, remote

SCHEMA = "statistics/v1"
FILE = "statistics.pb"
TFX_SPLIT, TFX_FILE = "Split-", "FeatureStats.pb"
TOP_VALUES = 20
RANKED_VALUES = 1000
MOST_COUNTED = 10_000  # distinct values

INT, FLOAT, STRING = (
    statistics_pb2.FeatureNameStatistics.INT,
    statistics_pb2.FeatureNameStatistics.FLOAT,
    statistics_pb2.FeatureNameStatistics.STRING,
)


def read(uri: str) -> statistics_pb2.DatasetFeatureStatisticsList:
    """Read a `DatasetFeatureStatisticsList`: a statistics artifact folder or a binary file.

    A folder may also be what TFX's StatisticsGen has written, a file for each split.

    Args:
        uri: a path or any location that `edgeline.stores.storage` reads.

    Raises:
        EdgelineError: there is no such file, or it is damaged.
    """
    with copies.here(uri) as path:
        return _read(uri, path)


def _read(uri: str, path: Path) -> statistics_pb2.DatasetFeatureStatisticsList:
    if splits := sorted(path.glob(f"{TFX_SPLIT}*/{TFX_FILE}")):
        whole = statistics_pb2.DatasetFeatureStatisticsList()
        for each in splits:
            for data in _read(uri, each).datasets:
                data.name = data.name or each.parent.name.removeprefix(TFX_SPLIT)
                whole.datasets.append(data)
        return whole
    file = artifacts.read(path, SCHEMA).path / FILE if path.is_dir() else path
    try:
        result = statistics_pb2.DatasetFeatureStatisticsList.FromString(file.read_bytes())
    except OSError as error:
        raise EdgelineError(
            f"The statistics {remote.public(uri)} cannot be read ({error.strerror}): give a "
            f"statistics artifact folder or its {FILE}."
        ) from error
    except DecodeError:
        raise EdgelineError(
            f"{file} is not a DatasetFeatureStatisticsList, or it is damaged: give the "
            f"{FILE} of a finished run."
        ) from None
    if not result.datasets:
        raise EdgelineError(f"{file} holds no statistics: give the {FILE} of a finished run.")
    return result


def to_json(statistics: statistics_pb2.DatasetFeatureStatisticsList) -> dict[str, object]:
    """The same in short, for people and scripts: `{split: {"rows", "features": {name: ...}}}`."""
    return {
        dataset.name: {
            "rows": dataset.num_examples,
            "features": {name: _feature_json(each) for name, each in columns(dataset).items()},
        }
        for dataset in statistics.datasets
    }


def columns(
    dataset: statistics_pb2.DatasetFeatureStatistics,
) -> dict[str, statistics_pb2.FeatureNameStatistics]:
    """The statistics of the columns by name, without those of sparse and weighted features."""
    return {name_of(each): each for each in dataset.features if each.WhichOneof("stats")}


def name_of(feature: statistics_pb2.FeatureNameStatistics) -> str:
    """A feature's column name."""
    return feature.name or ".".join(feature.path.step)


def body(
    feature: statistics_pb2.FeatureNameStatistics,
) -> statistics_pb2.NumericStatistics | statistics_pb2.StringStatistics:
    """The feature's `num_stats`, `string_stats` or the like, whichever it has."""
    return getattr(feature, feature.WhichOneof("stats") or "num_stats")


def common(feature: statistics_pb2.FeatureNameStatistics) -> statistics_pb2.CommonStatistics:
    """The feature's `common_stats`."""
    return body(feature).common_stats


def custom(
    feature: statistics_pb2.FeatureNameStatistics, name: str
) -> statistics_pb2.CustomStatistic | None:
    """A custom statistic of a feature (see the head of this module), or None."""
    return next((entry for entry in feature.custom_stats if entry.name == name), None)


def custom_number(feature: statistics_pb2.FeatureNameStatistics, name: str) -> float:
    """A custom statistic that is a number, 0 where there is none."""
    entry = custom(feature, name)
    return float(entry.num) if entry else 0.0


def distinct(feature: statistics_pb2.FeatureNameStatistics) -> tuple[int | None, bool]:
    """Number of distinct values, None where it was not counted, and whether it is exact."""
    if feature.WhichOneof("stats") == "string_stats":
        return feature.string_stats.unique, not custom_number(feature, "count_error")
    entry = custom(feature, "unique")
    return (int(entry.num), True) if entry else (None, False)


def ranked(feature: statistics_pb2.FeatureNameStatistics) -> list[tuple[str, float]] | None:
    """The most frequent values with their counts, or None where values were not counted."""
    if feature.WhichOneof("stats") == "string_stats":
        histogram = feature.string_stats.rank_histogram
    elif entry := custom(feature, "value_counts"):
        histogram = entry.rank_histogram
    else:
        return None
    return [(bucket.label, bucket.sample_count) for bucket in histogram.buckets]


@dataclass(frozen=True)
class ListedValues:
    """The most frequent values of a column, as text.

    Attributes:
        counts: how often each occurs, the most frequent first.
        total: number of all values.
        unlisted: values that are known to be none of those listed: too long to be kept.
        complete: whether there is no other value than those.
    """

    counts: tuple[tuple[str, float], ...]
    total: float
    unlisted: int
    complete: bool


def listed(feature: statistics_pb2.FeatureNameStatistics) -> ListedValues:
    """The values that are listed for a column, none for numbers that are not counted one by one."""
    counts = tuple(ranked(feature) or ())
    facts = common(feature)
    total = facts.tot_num_values or facts.num_non_missing * facts.avg_num_values
    total = total or sum(count for _, count in counts)
    if custom(feature, "count_error") is None:  # of another maker, who lists what there is
        return ListedValues(counts, total, 0, True)
    unique, exact = distinct(feature)
    complete = exact and unique is not None and unique <= RANKED_VALUES
    rest = total - sum(count for _, count in counts) - feature.string_stats.invalid_utf8_count
    return ListedValues(counts, total, int(rest) if complete else 0, complete)


def distinct_bounds(
    feature: statistics_pb2.FeatureNameStatistics,
) -> tuple[int, int | None] | None:
    """The least and the greatest number that the distinct values can have.

    None where values are not counted, as those of floats; the greatest is None where more than
    10,000 were seen.
    """
    unique, exact = distinct(feature)
    if unique is not None:
        return unique, unique if exact else None
    ours = custom(feature, "num_inf") is not None
    return (MOST_COUNTED + 1, None) if feature.type == INT and ours else None


def bounds(feature: statistics_pb2.FeatureNameStatistics) -> tuple[float, float] | None:
    """The least and the greatest number, infinite ones included; None where there is no number."""
    if feature.WhichOneof("stats") != "num_stats":
        return None
    low, high = feature.num_stats.min, feature.num_stats.max
    infinite = custom(feature, "num_inf")
    if infinite is None:
        return low, high
    if histogram(feature, "QUANTILES") is None:
        low, high = math.inf, -math.inf
    negative = custom_number(feature, "num_negative_inf")
    if negative:
        low, high = -math.inf, max(high, -math.inf)
    if infinite.num > negative:
        low, high = min(low, math.inf), math.inf
    return (low, high) if low <= high else None


def levels(feature: statistics_pb2.FeatureNameStatistics) -> list[tuple[int, int, int]]:
    """Of each level of lists the missing ones, and the least and most values; the outermost first.

    A column of edgeline's examples has one.
    """
    facts = common(feature)
    nested = facts.presence_and_valency_stats or [facts]
    return [(each.num_missing, each.min_num_values, each.max_num_values) for each in nested]


def longest(feature: statistics_pb2.FeatureNameStatistics) -> int | None:
    """Bytes of the longest value of strings or bytes; None where they were not counted."""
    if feature.WhichOneof("stats") == "bytes_stats":
        return int(feature.bytes_stats.max_num_bytes_int)
    entry = custom(feature, "max_bytes")
    return int(entry.num) if entry else None


def is_empty(feature: statistics_pb2.FeatureNameStatistics) -> bool:
    """Whether an entry says nothing at all, as TFDV writes it of a column without values."""
    return feature.WhichOneof("stats") is None and not feature.custom_stats


def histogram(
    feature: statistics_pb2.FeatureNameStatistics, kind: str
) -> statistics_pb2.Histogram | None:
    """The `STANDARD` or `QUANTILES` histogram of a numeric feature, or None."""
    wanted = statistics_pb2.Histogram.HistogramType.Value(kind)
    return next((h for h in feature.num_stats.histograms if h.type == wanted), None)


def _feature_json(feature: statistics_pb2.FeatureNameStatistics) -> dict[str, object]:
    facts = common(feature)
    unique, exact = distinct(feature)
    result: dict[str, object] = {
        "type": statistics_pb2.FeatureNameStatistics.Type.Name(feature.type),
        "present": facts.num_non_missing,
        "missing": facts.num_missing,
        "values_per_row": [facts.min_num_values, facts.max_num_values],
    }
    if unique is not None:
        result |= {"distinct": unique, "distinct_is_exact": exact}
    if top := ranked(feature):
        result["top_values"] = [[value, int(count)] for value, count in top[:TOP_VALUES]]
    if feature.WhichOneof("stats") == "string_stats":
        return result | {"mean_length": feature.string_stats.avg_length}
    numbers = feature.num_stats
    made = histogram(feature, "STANDARD")
    result |= {"nan": made.num_nan if made else 0, "infinite": custom_number(feature, "num_inf")}
    if made and made.buckets:
        values = {
            "min": numbers.min,
            "median": numbers.median,
            "max": numbers.max,
            "mean": numbers.mean,
            "std_dev": numbers.std_dev,
        }
        result |= {name: value if math.isfinite(value) else None for name, value in values.items()}
        result["zeros"] = numbers.num_zeros
    return result
