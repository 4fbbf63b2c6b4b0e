"""Each anomaly provoked alone and named exactly once; distances against hand-made numbers."""

from __future__ import annotations

import math
import re

import numpy as np
import pyarrow as pa
import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2

from edgeline.components.validate import anomalies, checks, comparisons, computing, shifts
from edgeline.components.validate import schema as schemas

ROWS = 20
CLEAN = {
    "f": [i / 4 for i in range(ROWS)],
    "i": list(range(ROWS)),
    "s": ["a", "b"] * (ROWS // 2),
    "l": [[i, 2] for i in range(ROWS)],
    "b": [True, False] * (ROWS // 2),
}


@pytest.fixture(scope="module")
def dataset(write_examples):
    """Statistics of columns as a split called eval."""

    def compute(columns):
        table = pa.table(columns)
        return computing.compute_split(write_examples(eval=table), "eval")

    return compute


@pytest.fixture(scope="module")
def clean(dataset):
    return schemas.infer(dataset(CLEAN), frozenset({"b"}))


def edit(schema, text: str):
    """A copy with one feature's fields merged in."""
    changed = schema_pb2.Schema()
    changed.CopyFrom(schema)
    fields = text_format.Parse(text, schema_pb2.Feature())
    feature = next((f for f in changed.feature if f.name == fields.name), None)
    (feature or changed.feature.add()).MergeFrom(fields)
    return changed


def test_clean_data_have_no_anomaly(dataset, clean):
    assert checks.check_split(dataset(CLEAN), clean, inferred=False) == []


def but(**columns):
    return {**CLEAN, **columns}


def holes(values, count=1):
    return [None] * count + list(values)[count:]


@pytest.mark.parametrize(
    ("columns", "feature", "kind", "severity", "words"),
    [
        (
            {k: v for k, v in CLEAN.items() if k != "f"},
            "f",
            "SCHEMA_MISSING_COLUMN",
            "ERROR",
            "'f'",
        ),
        (but(new=list(range(ROWS))), "new", "SCHEMA_NEW_COLUMN", "ERROR", "not in the schema"),
        (but(i=["x", "y"] * 10), "i", "UNEXPECTED_DATA_TYPE", "ERROR", "STRING.*INT"),
        (but(i=[0.5, 1.5] * 10), "i", "UNEXPECTED_DATA_TYPE", "ERROR", "FLOAT.*INT"),
        (
            but(s=["a", "b", "z", "z"] + ["a", "y"] * 8),
            "s",
            "ENUM_TYPE_UNEXPECTED_STRING_VALUES",
            "ERROR",
            r"10 values outside its domain: 'y' \(8\), 'z' \(2\)\.",
        ),
        (
            but(s=["a", "b"] * 9 + ["a", "é" * 200]),
            "s",
            "ENUM_TYPE_UNEXPECTED_STRING_VALUES",
            "ERROR",
            r"has 1 value outside its domain\.",
        ),
        (
            but(s=pa.array([b"a", b"b"] * 9 + [b"a", b"\xff"])),
            "s",
            "ENUM_TYPE_INVALID_UTF8",
            "ERROR",
            "not UTF-8, in 1 value",
        ),
        (
            but(f=holes(CLEAN["f"], 5)),
            "f",
            "FEATURE_TYPE_LOW_FRACTION_PRESENT",
            "ERROR",
            r"15 of 20 rows \(75.00%\)",
        ),
        (
            but(f=pa.nulls(ROWS, pa.float64())),
            "f",
            "FEATURE_TYPE_NOT_PRESENT",
            "ERROR",
            "no value in any row",
        ),
        (
            but(l=[[i, 2, 3] for i in range(ROWS)]),
            "l",
            "INVALID_FEATURE_SHAPE",
            "ERROR",
            "3 values a row, but exactly 2",
        ),
        (but(f=[7.5] * ROWS), "f", "FEATURE_TYPE_LOW_UNIQUE", "WARNING", "but one value, 7.5"),
        (but(s=["a"] * ROWS), "s", "FEATURE_TYPE_LOW_UNIQUE", "WARNING", "but one value, 'a'"),
        (but(f=[math.nan, *CLEAN["f"][1:]]), "f", "FLOAT_TYPE_HAS_NAN", "ERROR", "NaN, in 1 value"),
        (
            but(f=[math.inf, *CLEAN["f"][1:]]),
            "f",
            "FLOAT_TYPE_HAS_INF",
            "ERROR",
            "infinity, in 1 value",
        ),
        (but(b=[0, 2] * 10), "b", "BOOL_TYPE_BIG_INT", "ERROR", "up to 2, above the schema's 1"),
        (but(b=[0, -2] * 10), "b", "BOOL_TYPE_SMALL_INT", "ERROR", "down to -2"),
    ],
)
def test_one_fault_is_one_anomaly(columns, feature, kind, severity, words, dataset, clean):
    (found,) = checks.check_split(dataset(columns), clean, inferred=False)
    assert (found.split, found.feature, found.kind) == ("eval", feature, kind)
    assert found.severity == severity
    assert re.search(words, found.sentence), found.sentence
    assert found.sentence.endswith(".")


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ("name: 'i' int_domain {min: 5}", "INT_TYPE_SMALL_INT"),
        ("name: 'i' int_domain {max: 5}", "INT_TYPE_BIG_INT"),
        ("name: 'f' float_domain {min: 1}", "FLOAT_TYPE_SMALL_FLOAT"),
        ("name: 'f' float_domain {max: 1}", "FLOAT_TYPE_BIG_FLOAT"),
        ("name: 'i' presence {min_count: 21}", "FEATURE_TYPE_LOW_NUMBER_PRESENT"),
        ("name: 'l' value_count {min: 3}", "FEATURE_TYPE_LOW_NUMBER_VALUES"),
        ("name: 'l' value_count {max: 1}", "FEATURE_TYPE_HIGH_NUMBER_VALUES"),
    ],
)
def test_what_a_frozen_schema_adds(fields, kind, dataset, clean):
    (found,) = checks.check_split(dataset(CLEAN), edit(clean, fields), inferred=False)
    assert (found.kind, found.severity) == (kind, "ERROR")


def test_row_counts(dataset, clean):
    limited = schema_pb2.Schema()
    limited.CopyFrom(clean)
    limited.dataset_constraints.min_examples_count = 21
    (few,) = checks.check_split(dataset(CLEAN), limited, inferred=False)
    assert (few.kind, few.feature) == ("DATASET_LOW_NUM_EXAMPLES", "")
    assert "20 rows, but at least 21" in few.sentence
    limited.dataset_constraints.min_examples_count = 0
    limited.dataset_constraints.max_examples_count = 19
    (many,) = checks.check_split(dataset(CLEAN), limited, inferred=False)
    assert many.kind == "DATASET_HIGH_NUM_EXAMPLES"
    none = dataset(pa.table(CLEAN).slice(0, 0))
    (empty,) = checks.check_split(none, clean, inferred=False)
    assert (empty.kind, empty.severity) == ("DATASET_LOW_NUM_EXAMPLES", "ERROR")


def test_a_guess_only_warns_and_a_domain_may_leak_by_its_mass(dataset, clean):
    data = dataset(but(s=["a", "b"] * 9 + ["a", "z"]))
    (found,) = checks.check_split(data, clean, inferred=True)
    assert found.severity == "WARNING"
    loose = edit(clean, "name: 's' distribution_constraints {min_domain_mass: 0.95}")
    assert checks.check_split(data, loose, inferred=False) == []


def test_whole_numbers_may_stand_for_floats_and_deprecated_columns_may_go(dataset, clean):
    assert checks.check_split(dataset(but(f=list(range(ROWS)))), clean, inferred=False) == []
    gone = {k: v for k, v in CLEAN.items() if k != "f"}
    old = edit(clean, "name: 'f' lifecycle_stage: DEPRECATED")
    assert checks.check_split(dataset(gone), old, inferred=False) == []


def test_l_infinity_by_hand():
    value, name = comparisons.l_infinity({"a": 0.5, "b": 0.5}, {"a": 0.2, "b": 0.5, "c": 0.3})
    assert (value, name) == (pytest.approx(0.3), "a")


def test_jensen_shannon_by_hand():
    half, first = np.array([0.5, 0.5]), np.array([1.0, 0.0])
    assert comparisons.jensen_shannon(half, half) == 0
    assert comparisons.jensen_shannon(first, np.array([0.0, 1.0])) == 1
    # m = (3/4, 1/4): (log2(4/3) + (log2(2/3) + log2(2)) / 2) / 2
    by_hand = (math.log2(4 / 3) + (math.log2(2 / 3) + 1) / 2) / 2
    assert comparisons.jensen_shannon(first, half) == pytest.approx(by_hand)


def compare(dataset, before, after, threshold=0.1, comparison="drift", fields=""):
    old, new = dataset(before), dataset(after)
    schema = schemas.infer(new)
    schema = edit(schema, fields) if fields else schema
    return shifts.compare(comparison, old, new, schema, threshold)


def test_drift_of_a_category_has_its_known_value(dataset):
    before, after = {"s": ["a"] * 500 + ["b"] * 500}, {"s": ["a"] * 800 + ["b"] * 200}
    (found,), (measured,) = compare(dataset, before, after)
    assert measured.value == pytest.approx(0.3)
    assert found.kind == "COMPARATOR_L_INFTY_HIGH"
    assert "0.3 (threshold 0.1): 'a' has 80.0% instead of 50.0%" in found.sentence
    assert compare(dataset, before, after, threshold=0.31)[0] == []
    assert compare(dataset, before, before)[1][0].value == 0


def test_drift_of_a_number_has_its_known_value(dataset):
    values = np.arange(1000) / 1000
    # the upper half moves beyond the range: five tenths stay, five become one bin above
    after = np.where(values < 0.5, values, 5.0)
    (found,), (measured,) = compare(dataset, {"x": values}, {"x": after})
    assert found.kind == "COMPARATOR_JENSEN_SHANNON_DIVERGENCE_HIGH"
    assert measured.value == pytest.approx(0.5, abs=0.02)
    assert compare(dataset, {"x": values}, {"x": values})[1][0].value == 0
    for shift in (-10.0, 10.0):
        moved = compare(dataset, {"x": values}, {"x": values + shift})
        assert moved[1][0].value == pytest.approx(1.0, abs=1e-9)


def test_mass_moving_off_one_value_shows(dataset):
    before = np.where(np.arange(1000) % 2, 3.0, np.arange(1000) / 100)
    after = np.where(np.arange(1000) % 2, 2.999, np.arange(1000) / 100)
    (found,), _ = compare(dataset, {"x": before}, {"x": after})
    assert found.feature == "x"


def test_splits_drawn_from_the_same_numbers_do_not_drift(dataset):
    draw = np.random.default_rng(1)
    for make in (draw.standard_normal, lambda n: draw.integers(0, 500, n), draw.standard_cauchy):
        found, measured = compare(dataset, {"x": make(5000)}, {"x": make(2000)})
        assert found == []
        assert measured[0].value < 0.01


def test_the_schemas_comparators_come_first(dataset):
    before, after = {"s": ["a"] * 500 + ["b"] * 500}, {"s": ["a"] * 800 + ["b"] * 200}
    loose = "name: 's' drift_comparator {infinity_norm {threshold: 0.4}}"
    assert compare(dataset, before, after, fields=loose)[0] == []
    divergence = "name: 's' drift_comparator {jensen_shannon_divergence {threshold: 0.01}}"
    (found,), _ = compare(dataset, before, after, fields=divergence)
    assert found.kind == "COMPARATOR_JENSEN_SHANNON_DIVERGENCE_HIGH"
    numbers = {"x": np.arange(1000) / 7}
    wrong = "name: 'x' drift_comparator {infinity_norm {threshold: 0.4}}"
    assert compare(dataset, numbers, numbers, fields=wrong) == ([], [])
    sides = dataset(numbers), dataset(numbers)
    (gap,) = shifts.unchecked("drift", edit(schemas.infer(sides[1]), wrong), [sides])
    assert gap.name == "drift_comparator.infinity_norm of 'x'"
    assert "use jensen_shannon_divergence" in gap.reason


def test_too_few_rows_are_measured_but_not_judged(dataset):
    (found,), (measured,) = compare(dataset, {"s": ["a"] * 499}, {"s": ["b"] * 600})
    assert (found.kind, found.severity) == ("COMPARATOR_LOW_NUM_EXAMPLES", "WARNING")
    assert "499 rows" in found.sentence
    assert measured.value == 1
    assert not measured.judged


def test_columns_that_came_went_or_changed_since_the_baseline(dataset):
    before = {"x": np.arange(600), "gone": np.arange(600)}
    after = {"x": [str(i % 3) for i in range(600)], "new": np.arange(600)}
    found, _ = compare(dataset, before, after)
    assert {(a.feature, a.kind) for a in found} == {
        ("gone", "COMPARATOR_TREATMENT_DATA_MISSING"),
        ("new", "COMPARATOR_CONTROL_DATA_MISSING"),
        ("x", "UNEXPECTED_DATA_TYPE"),
    }


def test_a_column_that_no_schema_has_is_not_gone_from_the_data(dataset):
    data = dataset({"x": np.arange(600), "y": np.arange(600)})
    known = schemas.infer(dataset({"x": np.arange(600)}))
    assert shifts.compare("drift", data, data, known, 0.1)[0] == []


def test_the_proto_says_the_same(dataset, clean):
    data = dataset(but(f=[math.nan, None, *CLEAN["f"][2:]]))
    found = checks.check_split(data, clean, inferred=False)
    proto = anomalies.to_proto(clean, "eval", found, [])
    info = proto.anomaly_info["f"]
    kinds = [anomalies_pb2.AnomalyInfo.Type.Name(reason.type) for reason in info.reason]
    assert kinds == ["FEATURE_TYPE_LOW_FRACTION_PRESENT", "FLOAT_TYPE_HAS_NAN"]
    assert info.short_description == "Multiple errors"
    assert proto.baseline == clean
