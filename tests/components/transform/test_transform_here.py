"""Analysis in this process gives what tf.Transform gives on Beam: the same graph and values."""

from __future__ import annotations

import numpy as np
import pytest

from edgeline.artifacts import examples, features
from edgeline.artifacts.features import Feature
from edgeline.components.transform import graph
from edgeline.errors import EdgelineError
from edgeline.preprocessing import fill_missing

pytestmark = pytest.mark.slow


def every_kind(inputs):
    """Each kind of analyzer that is computed here, and two that wait for another's outcome."""
    import tensorflow as tf
    import tensorflow_transform as tft

    fare = fill_missing(inputs["fare"], 0.0)
    hour = fill_missing(inputs["trip_start_hour"], 24)
    company = inputs["company"]
    unit = tft.scale_to_0_1(fare)
    common = tft.compute_and_apply_vocabulary(company, top_k=5, vocab_filename="common")
    tft.vocabulary(company, frequency_threshold=20, store_frequency=True, vocab_filename="often")
    tft.vocabulary(company, fingerprint_shuffle=True, vocab_filename="shuffled")
    tft.vocabulary(tf.strings.substr(company, 0, 0), vocab_filename="none")
    return {
        "z_score": tft.scale_to_z_score(fare),
        "unit": unit,
        "squares": tft.scale_to_z_score(unit * unit),
        "buckets": tft.bucketize(fill_missing(inputs["pickup_latitude"], 0.0), 10),
        "hour": tft.compute_and_apply_vocabulary(hour, vocab_filename="hours"),
        "common": common,
        "popularity": tft.scale_to_0_1(tf.cast(common, tf.float32)),
        "largest": tf.zeros_like(hour) + tft.max(hour),
    }


@pytest.fixture(scope="module")
def given(transformed_taxi):
    """The parts to learn from, and the raw features."""
    parts = examples.parts(transformed_taxi.examples, "train")
    read = [Feature.from_json(value) for value in transformed_taxi.graph.metadata["features"]]
    return {str(place): part for place, part in enumerate(parts)}, read


@pytest.mark.long
def test_it_gives_what_beam_gives(transformed_taxi, given, tmp_path, monkeypatch):
    from edgeline.components.transform.saved_graph import SavedGraph

    parts, read = given
    graph._analyze_on_beam(parts, read, graph._Errors(every_kind, ""), tmp_path / "beam")
    monkeypatch.setattr(graph, "_analyze_on_beam", None)
    assert graph.analyze(parts, read, every_kind, tmp_path / "here") == examples.count_rows(
        list(parts.values())
    )
    files = [
        sorted(p.relative_to(tmp_path / side).as_posix() for p in (tmp_path / side).rglob("*"))
        for side in ("beam", "here")
    ]
    assert files[0] == files[1]
    same = [name for name in files[0] if "/assets/" in name or "transformed_metadata/" in name]
    assert len(same) > 5
    for name in same:
        if (tmp_path / "beam" / name).is_file():
            found = (tmp_path / "here" / name).read_bytes()
            assert found == (tmp_path / "beam" / name).read_bytes(), name
    arrays = features.to_numpy(next(examples.read_batches(transformed_taxi.examples, "eval")), read)
    beam, own = SavedGraph(tmp_path / "beam"), SavedGraph(tmp_path / "here")
    assert own.dependencies() == beam.dependencies()
    expected, values = beam(arrays), own(arrays)
    assert values.keys() == expected.keys()
    for name, value in values.items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-6, atol=1e-6, err_msg=name)


def test_what_is_not_computed_here_is_left_to_beam_before_a_row_is_read(tmp_path):
    import tensorflow_transform as tft

    from edgeline.components.transform import here, phases

    def weighted(inputs):
        tft.vocabulary(inputs["company"], weights=inputs["fare"], vocab_filename="companies")
        return {"fare": tft.scale_to_z_score(inputs["fare"])}

    def unread(_phase):
        raise AssertionError("a row was read")

    read = [Feature("fare", "float32"), Feature("company", "string")]
    with pytest.raises(phases.UnknownAnalyzerError):
        here.analyze(unread, read, weighted, tmp_path / "here")
    assert not (tmp_path / "here").exists()


def test_analyzers_in_an_uncertain_order_are_refused(given, tmp_path):
    import tensorflow_transform as tft

    turns = iter(range(100))

    def uncertain(inputs):
        names = ["fare", "trip_miles"] if next(turns) % 2 else ["trip_miles", "fare"]
        return {name: tft.scale_to_z_score(fill_missing(inputs[name], 0.0)) for name in names}

    parts, read = given
    with pytest.raises(EdgelineError, match="does not call the same analyzers in the same order"):
        graph.analyze(parts, read, uncertain, tmp_path / "here")
