"""What TFX has written: examples whose features may be empty, its schemas and its statistics."""

from __future__ import annotations

import itertools

import pyarrow as pa
import pytest
from tensorflow_metadata.proto.v0 import statistics_pb2

from edgeline.artifacts import features
from edgeline.components.validate import comparisons, computing
from edgeline.components.validate import schema as schemas
from edgeline.components.validate import statistics as stats
from edgeline.errors import EdgelineError


def table(empty: bytes | None, values=(7, None, 9)) -> pa.Table:
    column = pa.field("n", pa.int64())
    if empty:
        column = column.with_metadata({features.EMPTY: empty})
    return pa.table([pa.array(values)], pa.schema([column]))


@pytest.mark.parametrize(
    ("empty", "wanted"),
    [
        (None, (2, 1, 1, 1)),
        (features.NO_VALUES, (3, 0, 0, 1)),  # of a kind: TFDV counts a list of no values
        (features.NO_KIND, (3, 0, 1, 1)),
    ],
)
def test_an_empty_feature_is_present(empty, wanted, write_examples, run):
    data = write_examples(train=table(empty))
    facts = stats.common(computing.compute_split(data, "train").features[0])
    found = (
        *(facts.num_non_missing, facts.num_missing),
        *(facts.min_num_values, facts.max_num_values),
    )
    assert found == wanted
    assert run(data).found == ()


@pytest.mark.parametrize("empty", [features.NO_VALUES, features.NO_KIND])
def test_the_inferred_schema_of_an_empty_feature_is_of_a_plain_column(
    empty, write_examples, run, tmp_path
):
    run(write_examples(train=table(empty)))
    made = schemas.read(str(tmp_path / "schema"))
    assert made.feature[0].presence.min_fraction == 1
    assert not made.feature[0].HasField("shape")
    assert [feature.shape for feature in schemas.features(made)] == [(1,)]


TFX_SCHEMA = """
feature { name: "n" type: INT presence { min_fraction: 1.0 min_count: 1 } }
feature { name: "##SEQUENCE##" type: STRUCT struct_domain {
  feature { name: "s" type: BYTES value_count { min: 0 max: 2 } } } }
"""


@pytest.mark.parametrize("values", [(7, None, 9), (None, None, None)])
def test_a_schema_of_tfx_finds_nothing_wrong(values, write_examples, run, tmp_path):
    (tmp_path / "schema.pbtxt").write_text(TFX_SCHEMA)
    s = features.with_shape(pa.field("s", pa.list_(pa.string())), (2,))
    words = pa.array([["a"], [], ["b", "c"]])
    data = table(features.NO_KIND, values)
    train = pa.table([data["n"], words], pa.schema([data.schema.field(0), s]))
    done = run(write_examples(train=train), schema_uri=str(tmp_path / "schema.pbtxt"))
    assert [anomaly.sentence for anomaly in done.found] == []
    taken = {feature.name: feature.shape for feature in schemas.read_features(tmp_path / "schema")}
    assert taken == {"n": (1,), "s": (2,)}


def test_fields_of_a_struct_are_called_as_ingest_calls_them(tmp_path):
    text = """feature { name: "a" type: STRUCT struct_domain {
      feature { name: "b" type: STRUCT struct_domain { feature { name: "c" type: INT } } } } }"""
    (tmp_path / "schema.pbtxt").write_text(text)
    read = schemas.read(str(tmp_path / "schema.pbtxt"))
    assert [feature.name for feature in schemas.features(read)] == ["a.b.c"]


@pytest.fixture
def written(write_examples, tmp_path):
    """Statistics as TFX's StatisticsGen writes them: a file a split, whose dataset has no name."""
    rows = pa.table({"n": [float(i) for i in range(1000)]})
    for split in ("train", "eval"):
        found = computing.compute_split(write_examples(train=rows), "train")
        found.name = ""
        file = tmp_path / "given" / f"Split-{split}" / "FeatureStats.pb"
        file.parent.mkdir(parents=True)
        whole = statistics_pb2.DatasetFeatureStatisticsList(datasets=[found])
        file.write_bytes(whole.SerializeToString())
    return tmp_path / "given"


@pytest.mark.parametrize("place", ["", "Split-train/FeatureStats.pb"])
def test_statistics_of_tfx_are_a_baseline(place, written, write_examples, run):
    moved = pa.table({"n": [float(i * i) for i in range(1000)]})
    alike = pa.table({"n": [float(i) for i in range(1000)]})
    baseline = str(written / place)
    assert run(write_examples(train=alike), baseline_uri=baseline).found == ()
    (anomaly,) = run(write_examples(train=moved), baseline_uri=baseline).found
    other = "the baseline by" if place else "the baseline's train by"
    assert f"Column 'n' in train differs from {other}" in anomaly.sentence


def test_a_folder_of_nothing_is_refused(write_examples, run, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(EdgelineError, match="empty"):
        run(write_examples(train=table(None)), baseline_uri=str(tmp_path / "empty"))


def test_a_baseline_of_deciles_is_not_far_from_the_same_rows(write_examples):
    """As TFDV writes them: no counts of integers, whose values lie across several tenths."""
    data = write_examples(train=pa.table({"n": [i * i % 23 for i in range(5000)]}))
    (now,) = computing.compute_split(data, "train").features
    (before,) = computing.compute_split(data, "train").features
    del before.custom_stats[:]
    deciles = stats.histogram(before, "QUANTILES")
    edges = [deciles.buckets[0].low_value, *(b.high_value for b in deciles.buckets)][::10]
    del deciles.buckets[:]
    for low, high in itertools.pairwise(edges):
        deciles.buckets.add(low_value=low, high_value=high, sample_count=500)
    assert comparisons.divergence(before, now) < 1e-9
