"""transform on real taxi trips: against tf.Transform itself, and against its own second run."""

from __future__ import annotations

import itertools

import numpy as np
import pyarrow.parquet as pq
import pytest

from edgeline import artifacts
from edgeline.artifacts import examples, features
from edgeline.artifacts.features import Feature
from edgeline.components.transform.apply import apply
from edgeline.components.transform.graph import analyze
from edgeline.components.transform.saved_graph import SavedGraph
from edgeline.pipelines.taxi import module as taxi
from edgeline.preprocessing import fill_missing

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def raw_features(transformed_taxi):
    return [Feature.from_json(value) for value in transformed_taxi.graph.metadata["features"]]


@pytest.fixture(scope="module")
def model_features(transformed_taxi):
    return [Feature.from_json(value) for value in transformed_taxi.transformed.metadata["features"]]


def train_parts(source):
    return {str(i): part for i, part in enumerate(examples.parts(source, "train"))}


def test_rows_are_those_of_tf_transform(transformed_taxi, raw_features, model_features):
    import tensorflow as tf
    import tensorflow_transform as tft

    reference = tft.TFTransformOutput(str(transformed_taxi.graph.path))
    for split in ("train", "eval"):
        batches = zip(
            examples.read_batches(transformed_taxi.examples, split),
            examples.read_batches(transformed_taxi.transformed, split),
            strict=True,
        )
        for raw, made in batches:
            tensors = {k: tf.constant(v) for k, v in features.to_numpy(raw, raw_features).items()}
            expected = reference.transform_raw_features(tensors)
            found = features.to_numpy(made, model_features)
            assert found.keys() == expected.keys()
            for name, values in expected.items():
                np.testing.assert_array_equal(found[name], values.numpy(), err_msg=name)


def test_every_row_of_every_split_is_kept_in_its_place(transformed_taxi):
    source, made = transformed_taxi.examples, transformed_taxi.transformed
    assert examples.splits(made) == examples.splits(source)
    for split in examples.splits(source):
        for given, written in itertools.zip_longest(
            examples.parts(source, split), examples.parts(made, split)
        ):
            assert written.name == given.name
            hours = pq.read_table(given)["trip_start_hour"].combine_chunks().fill_null(24)
            assert pq.read_table(written)["trip_start_hour"].combine_chunks().equals(hours)


def test_the_label_is_right_row_for_row(transformed_taxi):
    folder, other = transformed_taxi.examples, transformed_taxi.transformed
    given = pq.read_table(examples.parts(folder, "train")).to_pandas()
    label = pq.read_table(examples.parts(other, "train"))["big_tip"].to_numpy()
    tips, fare = (given[name].fillna(0).astype(np.float32) for name in ("tips", "fare"))
    expected = tips > np.float32(0.2) * fare
    assert 0.1 < label.mean() < 0.4
    np.testing.assert_array_equal(label, expected)


def test_dependencies_tell_which_raw_features_a_model_needs(transformed_taxi):
    found = transformed_taxi.graph.metadata["dependencies"]
    assert found["big_tip"] == ["fare", "tips"]
    assert found["fare"] == ["fare"]
    assert found["company"] == ["company"]
    assert {raw for raws in found.values() for raw in raws} == {
        *taxi.DENSE,
        *taxi.BUCKETS,
        *taxi.VOCABULARIES,
        *taxi.CATEGORIES,
        "tips",
    }


def test_a_second_run_gives_the_same_bytes(
    transformed_taxi, raw_features, model_features, tmp_path
):
    source = transformed_taxi.examples
    rows = analyze(train_parts(source), raw_features, taxi.preprocessing_fn, tmp_path / "graph")
    assert rows == examples.splits(source)["train"]
    for name in ("company", "payment_type"):
        first, second = (
            (folder / "transform_fn" / "assets" / name).read_bytes()
            for folder in (transformed_taxi.graph.path, tmp_path / "graph")
        )
        assert first == second
        assert first.count(b"\n") > 3
    for split in examples.splits(source):
        (tmp_path / split).mkdir()
    parts = {
        part: tmp_path / part.parent.name / part.name
        for split in examples.splits(source)
        for part in examples.parts(source, split)
    }
    apply(tmp_path / "graph", parts, raw_features, model_features)
    for written in parts.values():
        name = written.relative_to(tmp_path).as_posix()
        assert artifacts.sha256(written) == transformed_taxi.transformed.files[name]["sha256"]


def some_of_taxi(inputs):
    """A mean, quantiles and a vocabulary, as the module of the taxi pipeline has them."""
    import tensorflow_transform as tft

    latitude = fill_missing(inputs["pickup_latitude"], 0.0)
    return {
        "fare": tft.scale_to_z_score(fill_missing(inputs["fare"], 0.0)),
        "pickup_latitude": tft.bucketize(latitude, taxi.BUCKETS["pickup_latitude"]),
        "company": tft.compute_and_apply_vocabulary(
            inputs["company"], top_k=1000, num_oov_buckets=1, vocab_filename="company"
        ),
    }


def test_cached_analysis_reads_new_parts_alone_and_gives_the_same(
    transformed_taxi, raw_features, tmp_path
):
    first = artifacts.read(transformed_taxi.folder / "first", "examples/v1")
    both = transformed_taxi.examples
    old, all_parts = train_parts(first), train_parts(both)
    assert len(all_parts) == 2
    new_rows = examples.count_rows(list(all_parts.values())[1:])

    def cached(parts, output):
        return analyze(parts, raw_features, some_of_taxi, output, cache=str(tmp_path / "cache"))

    assert cached(old, tmp_path / "1") == examples.count_rows(list(old.values()))
    # what a kill leaves behind: a cache half renewed, beside the whole one
    (tmp_path / "cache" / "learnt.partial").mkdir()
    (tmp_path / "cache" / "learnt.partial" / "MANIFEST").write_bytes(b"\x80")
    assert cached(all_parts, tmp_path / "2") == new_rows
    sample = next(examples.read_batches(both, "eval"))
    arrays = features.to_numpy(sample, raw_features)
    expected = SavedGraph(transformed_taxi.graph.path)(arrays)
    found = SavedGraph(tmp_path / "2")(arrays)
    assert len(found) == 3
    for name, values in found.items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-5, atol=1e-6, err_msg=name)


def test_what_the_face_logs(transformed_taxi):
    logged = transformed_taxi.logged
    graph, made = transformed_taxi.graph, transformed_taxi.transformed
    assert logged["transform_graph"] == {
        "edgeline_schema": "transform_graph/v1",
        "digest": graph.digest[:16],
        "rows_analyzed": graph.metadata["rows_analyzed"],
    }
    assert logged["transformed_examples"] == {
        "edgeline_schema": "transformed_examples/v1",
        "digest": made.digest[:16],
        "rows": sum(split["rows"] for split in made.metadata["splits"].values()),
    }


def test_the_report_shows_features_and_vocabularies_and_loads_nothing(transformed_taxi):
    page = (transformed_taxi.folder / "transform.html").read_text()
    for word in ("big_tip", "trip_miles", "Credit Card", "<svg"):
        assert word in page
    assert "src=" not in page
    assert "href=" not in page
    assert "url(" not in page
