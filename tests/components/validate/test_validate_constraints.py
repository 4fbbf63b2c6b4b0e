"""A schema is obeyed to its last field: checked, or named as not checked."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest
from google.protobuf import text_format
from google.protobuf.descriptor import Descriptor
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from edgeline import artifacts
from edgeline.components.validate import checks, computing, constraints
from edgeline.components.validate import schema as schemas
from edgeline.components.validate.validate import ANOMALIES_SCHEMA
from edgeline.errors import EdgelineError
from edgeline.local.progress import facts
from edgeline.local.tasks import PlannedTask, TaskResult

ROWS = 1000
PNG, JPEG = b"\x89PNG\r\n\x1a\n" + b"0" * 40, b"\xff\xd8\xff\xe0" + b"0" * 400


@pytest.fixture
def write_schema(tmp_path):
    """A schema as a text file; gives its path."""

    def write(text: str) -> str:
        (tmp_path / "given.pbtxt").write_text(text)
        return str(tmp_path / "given.pbtxt")

    return write


@pytest.fixture
def validated(write_examples, write_schema, run):
    """Validate one split against the text of a schema."""

    def work(columns: dict[str, object], text: str, **parameters: object):
        data = write_examples(train=pa.table(columns))
        return run(data, schema_uri=write_schema(text), **parameters)

    return work


def _fields(message: Descriptor) -> Iterator[str]:
    """Every field of a message and of those in it, down to what is not checked as a whole."""
    seen, waiting = set(), [message]
    while waiting:
        each = waiting.pop()
        seen.add(each.full_name)
        for field in each.fields:
            name = f"{each.name}.{field.name}"
            yield name
            leaf = name in constraints.UNCHECKED or name in constraints.DESCRIPTIVE
            inner = field.message_type
            if not leaf and inner and inner.name not in ("Path", "DerivedFeatureSource"):
                waiting += [] if inner.full_name in seen else [inner]


def test_every_field_of_a_schema_is_in_one_table_and_no_other_is():
    tables = (constraints.CHECKED, constraints.DESCRIPTIVE, frozenset(constraints.UNCHECKED))
    found = set(_fields(schema_pb2.Schema.DESCRIPTOR))
    assert found == frozenset().union(*tables)
    assert sum(map(len, tables)) == len(found)


def test_a_field_of_a_newer_proto_is_named():
    newer = schema_pb2.Schema()
    newer.feature.add(name="x", type=schema_pb2.INT)
    raw = newer.feature[0].SerializeToString() + b"\xa2\x06\x01x"  # field 100
    newer.feature[0].ParseFromString(raw)
    (gap,) = constraints.unchecked(newer)
    assert (gap.feature, gap.constraint) == ("x", "field 100")


def test_what_is_not_checked_stands_in_report_metadata_and_table(validated, tmp_path):
    result = validated(
        {"x": ["a", "b"] * 500, "y": np.arange(1000) / 7},
        """feature {name: "x" type: BYTES natural_language_domain {
             coverage {min_coverage: 0.5}} drift_comparator {infinity_norm {threshold: 0.1}}}
           feature {name: "y" type: FLOAT float_domain {min: 0 embedding_dim: 3}}
           feature {name: "z" type: INT lifecycle_stage: ALPHA group_presence {required: true}}
           dataset_constraints {num_examples_version_comparator {min_fraction_threshold: 1}}""",
    )
    assert result.valid
    named = [gap.name for gap in result.unchecked]
    assert named == [
        "dataset_constraints.num_examples_version_comparator",
        "natural_language_domain.coverage of 'x'",
        "float_domain.embedding_dim of 'y'",
        "drift_comparator.infinity_norm of 'x'",
    ]
    assert result.unchecked[-1].reason == "no baseline_uri is given"
    folder = artifacts.read(tmp_path / "anomalies", ANOMALIES_SCHEMA)
    assert folder.metadata["not_checked"] == 4
    written = json.loads((folder.path / "anomalies.json").read_text())
    assert written["unchecked"][0]["constraint"] == named[0]
    page = (tmp_path / "validation_report").read_text()
    assert "Not checked" in page
    assert "no statistics of tokens are made" in page
    outputs = {"anomalies": {"uri": str(folder.path), "metadata": {}}, "valid": True}
    task = PlannedTask("validate", "validate", (), (), "")
    told = facts(TaskResult(task, "succeeded", outputs=outputs), {})
    assert told.startswith("valid True · not checked: dataset_constraints.num_examples_version_")
    assert told.endswith("and 1 more")


@pytest.mark.parametrize(
    ("columns", "says", "kind", "words"),
    [
        (
            {"x": ["yes", "no"] * 499 + ["maybe", "no"]},
            'type: BYTES bool_domain {true_value: "yes" false_value: "no"}',
            "BOOL_TYPE_UNEXPECTED_STRING",
            "'maybe' (1)",
        ),
        (
            {"x": [0.0, 0.5] * 500},
            "type: FLOAT bool_domain {}",
            "BOOL_TYPE_UNEXPECTED_FLOAT",
            "such as 0.5",
        ),
        (
            {"x": ["1", "2", "x", "4"] * 250},
            "type: BYTES int_domain {min: 0 max: 9}",
            "INT_TYPE_NOT_INT_STRING",
            "'x' (250)",
        ),
        (
            {"x": ["1", "2", "30"] * 300},
            "type: BYTES int_domain {max: 9}",
            "INT_TYPE_BIG_INT",
            "up to 30",
        ),
        (
            {"x": ["1.5", "-2e3"] * 300},
            "type: BYTES float_domain {min: 0}",
            "FLOAT_TYPE_SMALL_FLOAT",
            "down to -2,000",
        ),
        (
            {"x": [0.5, -np.inf] * 300},
            "type: FLOAT float_domain {min: 0}",
            "FLOAT_TYPE_SMALL_FLOAT",
            "down to -inf",
        ),
        (
            {"x": ["a", "b", "c", "d"] * 250},
            "type: BYTES unique_constraints {max: 2}",
            "FEATURE_TYPE_HIGH_UNIQUE",
            "4 distinct values, but at most 2",
        ),
        (
            {"x": [1, 2, 3, 4] * 250},
            "type: INT unique_constraints {min: 5}",
            "FEATURE_TYPE_LOW_UNIQUE",
            "but at least 5",
        ),
        (
            {"x": [1.5, 2.5] * 250},
            "type: FLOAT unique_constraints {min: 1}",
            "FEATURE_TYPE_NO_UNIQUE",
            "only text and whole numbers",
        ),
        (
            {"x": [1, None, 3, 4] * 250},
            "type: INT shape {dim {size: 1}}",
            "INVALID_FEATURE_SHAPE",
            "it is missing in 250",
        ),
        (
            {"x": [1, 2] * 250},
            "type: INT value_counts {value_count {min: 1} value_count {min: 1}}",
            "VALUE_NESTEDNESS_MISMATCH",
            "1 levels, but in 2",
        ),
        ({"x": [1, 2] * 250}, "", "FEATURE_MISSING_TYPE", "give it BYTES, INT or FLOAT"),
        (
            {"x": [1.5, 2.5] * 250},
            'type: FLOAT string_domain {value: "a"}',
            "DOMAIN_INVALID_FOR_TYPE",
            "string_domain and the type FLOAT",
        ),
        (
            {"x": ["a", "b"] * 250},
            'type: BYTES domain: "gone"',
            "INVALID_DOMAIN_SPECIFICATION",
            "'gone', which the schema does not hold",
        ),
        (
            {"x": [1, 2] * 250},
            "type: INT presence {min_fraction: 1.5}",
            "INVALID_SCHEMA_SPECIFICATION",
            "give 0 to 1",
        ),
        (
            {"x": [PNG, JPEG, b"text"] * 100},
            "type: BYTES image_domain {minimum_supported_image_fraction: 0.9}",
            "LOW_SUPPORTED_IMAGE_FRACTION",
            "in 66.67% of its values",
        ),
        (
            {"x": [PNG, JPEG] * 100},
            "type: BYTES image_domain {max_image_byte_size: 400}",
            "MAX_IMAGE_BYTE_SIZE_EXCEEDED",
            "404 bytes, but at most 400",
        ),
    ],
)
def test_a_constraint_finds_its_fault(columns, says, kind, words, validated):
    result = validated(columns, f'feature {{name: "x" {says}}}')
    errors = [each for each in result.found if each.severity == "ERROR"]
    assert [each.kind for each in errors] == [kind]
    assert words in errors[0].sentence


def test_more_distinct_values_than_are_listed_are_not_passed_over(validated):
    many = {"x": [f"w{i}" for i in range(1500)]}
    domain = " ".join(f'value: "w{i}"' for i in range(1500) if i != 999)  # the last by name
    says = f'feature {{name: "x" type: BYTES string_domain {{{domain}}}}}'
    (found,) = validated(many, says).found
    assert "at least 1,500 distinct values, but its domain 1,499" in found.sentence
    wide = says.replace('value: "w0"', 'value: "w0" value: "w999"')
    (gap,) = validated(many, wide).unchecked
    assert gap.name == "string_domain of 'x'"
    assert "1,000 most frequent" in gap.reason


def test_environments_decide_which_columns_must_be_there(validated, tmp_path):
    text = """default_environment: "TRAINING" default_environment: "SERVING"
        feature {name: "f" type: FLOAT presence {min_count: 1}}
        feature {name: "y" type: INT presence {min_count: 1} not_in_environment: "SERVING"}"""
    served, whole = {"f": [1.5, 2.5] * 300}, {"f": [1.5, 2.5] * 300, "y": [0, 1] * 300}
    assert validated(served, text, environment="SERVING").valid
    assert [each.name for each in schemas.read_features(tmp_path / "schema")] == ["f"]
    (missing,) = validated(served, text, environment="TRAINING").found
    assert (missing.feature, missing.kind) == ("y", "SCHEMA_MISSING_COLUMN")
    (extra,) = validated(whole, text, environment="SERVING").found
    assert "not in the environment 'SERVING'" in extra.sentence
    (gap,) = validated(whole, text).unchecked
    assert "environment is not given" in gap.reason
    with pytest.raises(EdgelineError, match=r"'SERVNG', which .* Did you mean SERVING\?"):
        validated(whole, text, environment="SERVNG")
    with pytest.raises(EdgelineError, match="It has none: leave it out"):
        validated(served, 'feature {name: "f" type: FLOAT}', environment="SERVING")


def test_a_column_that_need_not_be_there_is_no_raw_feature(validated, tmp_path):
    text = 'feature {name: "f" type: FLOAT} feature {name: "g" type: INT}'
    result = validated({"f": [1.5, 2.5]}, text)
    assert result.valid
    assert [each.severity for each in result.found if each.feature == "g"] == ["WARNING"]
    assert [each.name for each in schemas.read_features(tmp_path / "schema")] == ["f"]


def test_fields_of_a_struct_are_columns(validated, tmp_path):
    text = """feature {name: "s" type: STRUCT presence {min_count: 1} struct_domain {
        feature {name: "a" type: INT int_domain {max: 1}} feature {name: "b" type: FLOAT}}}"""
    result = validated({"s.a": [1, 2] * 300, "s.b": [0.5, 1.5] * 300}, text)
    assert [(each.feature, each.kind) for each in result.found] == [("s.a", "INT_TYPE_BIG_INT")]
    assert [gap.name for gap in result.unchecked] == ["presence of 's'"]
    names = [each.name for each in schemas.read_features(tmp_path / "schema")]
    assert names == ["s.a", "s.b"]


def test_sparse_and_weighted_features_go_together(validated, tmp_path):
    columns = {
        "v": pa.array([["a", "b"], ["c"], None, ["d"]] * 5),
        "i": pa.array([[0, 4], [1, 2], [3], None] * 5),
        "w": pa.array([[0.5, 0.1], [0.2], None, [0.3]] * 5),
    }
    plain = """feature {name: "v" type: BYTES} feature {name: "i" type: INT}
        feature {name: "w" type: FLOAT}"""
    sparse = 'sparse_feature {name: "s" value_feature {name: "v"} index_feature {name: "i"}}'
    weighted = 'weighted_feature {name: "t" feature {step: "v"} weight_feature {step: "w"}}'
    found = validated(columns, f"{plain} {sparse} {weighted}").found
    assert {(each.feature, each.kind) for each in found} == {
        ("s", "SPARSE_FEATURE_MISSING_VALUE"),
        ("s", "SPARSE_FEATURE_MISSING_INDEX"),
        ("s", "SPARSE_FEATURE_LENGTH_MISMATCH"),
    }
    assert "lacks its index 'i' in 5 rows" in " ".join(each.sentence for each in found)
    written = json.loads((tmp_path / "statistics" / "statistics.json").read_text())
    assert sorted(written["train"]["features"]) == ["i", "v", "w"]
    whole = {name: pc_filled(column) for name, column in columns.items()}
    assert validated(whole, f"{plain} {sparse} {weighted}").valid
    twice = weighted.replace('name: "t"', 'name: "i"')
    (taken,) = validated(columns, f"{plain} {twice}").found
    assert taken.kind == "WEIGHTED_FEATURE_NAME_COLLISION"


def pc_filled(column: pa.Array) -> pa.Array:
    """Each row with the values of the first."""
    return pa.array([column.to_pylist()[0]] * len(column), column.type)


def test_statistics_of_columns_are_the_same_with_a_schema(taxi_examples):
    inferred = schemas.infer(computing.compute_split(taxi_examples, "train"))
    with_schema = computing.compute_split(taxi_examples, "train", schema=inferred)
    assert with_schema == computing.compute_split(taxi_examples, "train")


def test_a_length_of_minus_one_is_out_of_an_inferred_range(write_examples, run, tmp_path):
    lengths = pa.table({"length": np.linspace(1.0, 7.9, 600), "count": np.arange(600) + 3})
    run(write_examples(train=lengths), infer_ranges=True)
    kept = (tmp_path / "schema").rename(tmp_path / "frozen")
    frozen = schemas.read(str(kept))
    by_name = {feature.name: feature for feature in frozen.feature}
    assert by_name["length"].float_domain.min == 0
    assert by_name["length"].float_domain.max == pytest.approx(14.8)
    assert by_name["count"].int_domain.min == 0
    assert run(write_examples(train=lengths), schema_uri=str(kept)).valid
    wrong = pa.table({"length": [*np.linspace(1.0, 9.0, 599), -1.0], "count": np.arange(600) + 3})
    result = run(write_examples(train=wrong), schema_uri=str(kept))
    (found,) = [each for each in result.found if each.severity == "ERROR"]
    assert (found.feature, found.kind) == ("length", "FLOAT_TYPE_SMALL_FLOAT")
    # within a run it is a guess
    (guess,) = run(write_examples(train=lengths, eval=wrong), infer_ranges=True).found
    assert (guess.severity, guess.kind) == ("WARNING", "FLOAT_TYPE_SMALL_FLOAT")


def test_comparators_of_the_schema_are_judged_however_few_rows(validated, tmp_path):
    few = 'feature {name: "s" type: BYTES %s} %s'
    plain = few % ("", "")
    validated({"s": ["a", "b"] * 30}, plain)
    baseline = (tmp_path / "statistics").rename(tmp_path / "baseline").as_uri()
    after = {"s": ["a", "a", "b"] * 10}

    def kinds(text: str, **more: object) -> set[tuple[str, str]]:
        result = validated(after, text, baseline_uri=baseline, **more)
        return {(each.kind, each.severity) for each in result.found}

    assert kinds(plain) == {("COMPARATOR_LOW_NUM_EXAMPLES", "WARNING")}
    judged = {("COMPARATOR_L_INFTY_HIGH", "ERROR")}
    assert kinds(plain, comparison_rows=30) == judged
    assert kinds(few % ("drift_comparator {infinity_norm {threshold: 0.1}}", "")) == judged
    difference = "drift_comparator {normalized_abs_difference {threshold: 0.1}}"
    assert kinds(few % (difference, "")) == {
        ("COMPARATOR_NORMALIZED_ABSOLUTE_DIFFERENCE_HIGH", "ERROR")
    }
    limits = "dataset_constraints {num_examples_drift_comparator {min_fraction_threshold: 0.9}}"
    assert ("COMPARATOR_LOW_NUM_EXAMPLES", "ERROR") in kinds(few % ("", limits))


def test_a_pin_of_a_schema_in_a_store_is_kept(write_examples, write_schema, run):
    place = write_schema('feature {name: "x" type: INT}')
    data = write_examples(train=pa.table({"x": [1, 2]}))
    with pytest.raises(EdgelineError, match="is pinned"):
        run(data, schema_uri=f"file://{place}#sha256={'0' * 64}")
    assert run(data, schema_uri=f"file://{place}#sha256={artifacts.sha256(place)}").valid


def test_what_a_wrong_parameter_is(write_examples, run):
    with pytest.raises(EdgelineError, match="comparison_rows is 0: give 1 or more"):
        run(write_examples(train=pa.table({"x": [1, 2]})), comparison_rows=0)


def test_derived_features_are_checked_where_there_are_statistics_of_them():
    text = """feature {name: "x" type: INT presence {min_count: 1}
        lifecycle_stage: VALIDATION_DERIVED validation_derived_source {deriver_name: "d"}}"""
    schema = text_format.Parse(text, schema_pb2.Schema())
    empty = statistics_pb2.DatasetFeatureStatistics(name="train", num_examples=5)
    assert checks.check_split(empty, schema, False) == []
    (gap,) = checks.unchecked(empty, schema)
    assert gap.reason == "features are not derived here"
