"""Statistics against numpy and pyarrow on the same rows."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from edgeline.artifacts.quantiles import Quantiles
from edgeline.components.validate import computing
from edgeline.components.validate import statistics as stats
from edgeline.components.validate.sketches import Moments, ValueCounts
from edgeline.errors import EdgelineError


def one(table: pa.Table | list[pa.Table], write_examples):
    """Statistics of a split, by column."""
    dataset = computing.compute_split(write_examples(train=table), "train")
    return {stats.name_of(feature): feature for feature in dataset.features}


def test_numbers_of_taxi_are_those_of_numpy(taxi_examples, taxi):
    dataset = computing.compute_split(taxi_examples, "train")
    rows = taxi.filter(pa.array([i % 3 != 0 for i in range(len(taxi))]))
    assert dataset.num_examples == len(rows)
    assert [stats.name_of(feature) for feature in dataset.features] == rows.column_names
    checked = 0
    for feature in dataset.features:
        column = rows[stats.name_of(feature)]
        facts = stats.common(feature)
        assert facts.num_missing == column.null_count
        assert facts.num_non_missing == len(rows) - column.null_count
        if pa.types.is_string(column.type) or len(column) == column.null_count:
            continue
        values = np.array(column.drop_null().to_pylist(), np.float64)
        numbers = feature.num_stats
        assert numbers.min == values.min()
        assert numbers.max == values.max()
        assert numbers.median == np.median(values)
        assert numbers.num_zeros == (values == 0).sum()
        assert numbers.mean == pytest.approx(values.mean(), rel=1e-12)
        assert numbers.std_dev == pytest.approx(values.std(), rel=1e-9, abs=1e-6)
        standard = stats.histogram(feature, "STANDARD")
        counts, edges = np.histogram(values, bins=10) if np.ptp(values) else ([len(values)], [])
        if len(edges):
            assert [b.low_value for b in standard.buckets] == pytest.approx(edges[:-1])
            assert [b.sample_count for b in standard.buckets] == list(counts)
        quantiles = stats.histogram(feature, "QUANTILES")
        deciles = [b.high_value for b in quantiles.buckets][9::10]
        tenths = np.arange(1, 11) / 10
        assert deciles == list(np.quantile(values, tenths, method="inverted_cdf"))
        checked += 1
    assert checked >= 15


def test_strings_of_taxi_are_those_of_pyarrow(taxi_examples, taxi):
    rows = taxi.filter(pa.array([i % 3 != 0 for i in range(len(taxi))]))
    dataset = computing.compute_split(taxi_examples, "train")
    feature = next(f for f in dataset.features if stats.name_of(f) == "company")
    present = rows["company"].drop_null()
    counted = {c["values"]: c["counts"] for c in pc.value_counts(present).to_pylist()}
    strings = feature.string_stats
    assert strings.unique == len(counted)
    assert {b.label: b.sample_count for b in strings.rank_histogram.buckets} == counted
    assert strings.top_values[0].frequency == max(counted.values())
    assert strings.avg_length == pytest.approx(pc.mean(pc.binary_length(present)).as_py())


def test_neither_batches_nor_parts_change_a_byte(taxi, write_examples):
    whole = write_examples(train=taxi)
    parts = write_examples(train=[taxi.slice(0, 1), taxi.slice(1, 9000), taxi.slice(9001)])
    expected = computing.compute_split(whole, "train").SerializeToString(deterministic=True)
    for data, batch_rows in ((whole, 17), (parts, 4096), (parts, 100_000)):
        found = computing.compute_split(data, "train", batch_rows)
        assert found.SerializeToString(deterministic=True) == expected


def test_nan_and_infinity_stand_apart(write_examples):
    values = [1.0, float("nan"), 3.0, float("inf"), float("-inf"), float("nan"), None]
    feature = one(pa.table({"x": values}), write_examples)["x"]
    assert (feature.num_stats.min, feature.num_stats.max, feature.num_stats.mean) == (1, 3, 2)
    assert stats.histogram(feature, "STANDARD").num_nan == 2
    assert stats.custom_number(feature, "num_inf") == 2
    assert stats.common(feature).num_missing == 1


def test_huge_numbers(write_examples):
    table = pa.table(
        {
            "i": pa.array([2**63 - 1, -(2**63), 2**62]),
            "u": pa.array([2**64 - 1, 0, 1], pa.uint64()),
            "f": pa.array([1.7e308, -1.7e308, 1.7e308]),
        }
    )
    found = one(table, write_examples)
    assert found["i"].num_stats.max == 2.0**63
    assert found["u"].num_stats.max == 2.0**64
    assert stats.ranked(found["i"])[0][0] == str(-(2**63))
    buckets = stats.histogram(found["f"], "STANDARD").buckets
    assert [b.sample_count for b in buckets] == [1, *[0] * 8, 2]
    stats.to_json(computing.compute(write_examples(train=table)))


def test_lists_bools_dictionaries_and_unicode(write_examples):
    table = pa.table(
        {
            "fixed": pa.array([[1, 2], [3, 4], [5, 6]], pa.list_(pa.int32(), 2)),
            "ragged": pa.array([["a"], [], ["b", "a", None]]),
            "bool": pa.array([True, False, None]),
            "word": pa.array(["Zürich", "東京", "Zürich"]).dictionary_encode(),
        }
    )
    found = one(table, write_examples)
    fixed, ragged = stats.common(found["fixed"]), stats.common(found["ragged"])
    assert (fixed.min_num_values, fixed.max_num_values, fixed.tot_num_values) == (2, 2, 6)
    assert found["fixed"].num_stats.mean == 3.5
    assert (ragged.min_num_values, ragged.max_num_values, ragged.tot_num_values) == (0, 3, 3)
    assert stats.ranked(found["ragged"]) == [("a", 2), ("b", 1)]
    assert stats.ranked(found["bool"]) == [("0", 1), ("1", 1)]
    assert stats.ranked(found["word"]) == [("Zürich", 2), ("東京", 1)]


def test_bytes_and_long_values_are_counted_but_not_shown(write_examples):
    table = pa.table({"x": pa.array([b"\xff\xd8" * 500, b"ok", b"ok", b"\xfe", b"long" * 200])})
    strings = one(table, write_examples)["x"].string_stats
    assert (strings.unique, strings.invalid_utf8_count) == (4, 2)
    assert [(top.value, top.frequency) for top in strings.top_values] == [("ok", 2)]


def test_columns_without_a_value(write_examples):
    table = pa.table({"n": pa.nulls(3), "f": pa.nulls(3, pa.float64()), "x": [1, 2, 3]})
    found = one(table, write_examples)
    assert stats.common(found["n"]).num_missing == stats.common(found["f"]).num_missing == 3
    assert not stats.histogram(found["f"], "STANDARD")


def test_parts_that_disagree_are_named(write_examples):
    parts = [pa.table({"x": [1], "y": [1]}), pa.table({"x": ["a"], "y": [1]})]
    with pytest.raises(EdgelineError, match=r"part-00001.*do not agree on the columns \('x'\)"):
        computing.compute(write_examples(train=parts))


def test_read_gives_back_what_was_computed_and_names_damage(taxi_examples, tmp_path):
    computed = computing.compute(taxi_examples)
    file = tmp_path / "statistics.pb"
    file.write_bytes(computed.SerializeToString())
    assert stats.read(str(file)) == computed
    file.write_bytes(b"not a proto")
    with pytest.raises(
        EdgelineError, match=r"statistics\.pb is not a DatasetFeatureStatisticsList"
    ):
        stats.read(str(file))
    with pytest.raises(EdgelineError, match="cannot be read"):
        stats.read(str(tmp_path / "nowhere.pb"))


def test_quantiles_keep_their_promise_in_bounded_memory():
    sketch, values = Quantiles(capacity=256), np.random.default_rng(0).permutation(np.arange(1e5))
    for block in np.split(values, 100):
        sketch.update(block)
    held = sum(len(part) for level in sketch.levels for part in level)
    assert held < 256 * len(sketch.levels)
    ranks = np.arange(1, 100_001, 997)
    worst = np.abs(sketch.at(ranks) - (ranks - 1)).max() / 100_000
    assert 0 < worst <= sketch.error < 0.04


def test_moments_survive_a_large_offset():
    values = np.random.default_rng(0).normal(1e9, 1.0, 10_000)
    moments = Moments()
    for block in np.split(values, 10):
        moments.update(block)
    assert moments.deviation == pytest.approx(values.std(), rel=1e-6)


def test_frequent_values_survive_too_many_distinct_ones():
    counts, n = ValueCounts(capacity=100), 20_000
    values = [f"rare {i}" if i % 4 else "often" for i in range(n)]
    for start in range(0, n, 1000):
        counts.update(pa.array(values[start : start + 1000]))
    assert not counts.exact
    assert len(counts.counts) <= 100
    value, count = counts.ranked()[0]
    assert value == "often"
    assert n // 4 - counts.error <= count <= n // 4
    assert counts.error <= n / 101


def test_what_is_counted_of_parts_and_merged_is_what_is_counted_of_all():
    values = np.random.default_rng(7).normal(1e6, 3.0, 100_000)
    values[::1000] = np.nan
    pieces = np.array_split(values, 7)

    def counted(parts):
        moments, quantiles = Moments(), Quantiles()
        for part in parts:
            quantiles.update(moments.update(part))
        return moments, quantiles

    (moments, quantiles), (whole, _) = counted([]), counted([values])
    for piece in pieces:
        other = counted([piece])
        moments.merge(other[0])
        quantiles.merge(other[1])
    counts = ("count", "nan", "zeros", "infinite", "minimum", "maximum")
    assert [getattr(moments, name) for name in counts] == [getattr(whole, name) for name in counts]
    assert moments.mean == pytest.approx(whole.mean, rel=1e-15)
    assert moments.deviation == pytest.approx(whole.deviation, rel=1e-12)
    ordered = np.sort(values[np.isfinite(values)])
    ranks = np.arange(1, len(ordered), 997)
    found = np.searchsorted(ordered, quantiles.at(ranks))
    assert np.abs(found + 1 - ranks).max() <= quantiles.error * len(ordered) + 1


def test_frequent_values_of_parts_and_merged_are_never_lost():
    words = ["often"] * 900 + [f"rare {place}" for place in range(1000)] + ["second"] * 300
    whole, merged = ValueCounts(50), ValueCounts(50)
    whole.update(pa.array(words))
    for piece in np.array_split(words, 5):
        part = ValueCounts(50)
        part.update(pa.array(piece.tolist()))
        merged.merge(part)
    for counts in (whole, merged):
        top = dict(counts.ranked()[:2])
        assert top.keys() == {"often", "second"}
        assert 900 - counts.error <= top["often"] <= 900
        assert counts.error <= len(words) / 51
