"""The taxi model with its transform inside: LiteRT runs it, Arm's compiler cannot read it."""

from __future__ import annotations

import numpy as np
import pytest

from edgeline import artifacts
from edgeline.artifacts import examples, features, models
from edgeline.components.compile.compile import compile_edge_model, load_compiled
from edgeline.errors import EdgelineError
from edgeline.runtimes.interpreter import load

pytestmark = pytest.mark.slow


@pytest.fixture
def edge(converted_taxi):
    return converted_taxi.folder / "int8"


@pytest.mark.long
def test_vela_cannot_read_the_vocabularies_and_it_is_said(edge, tmp_path):
    with pytest.raises(EdgelineError, match=r"Vela was killed by .* which holds text") as caught:
        compile_edge_model("ethos-u55", str(tmp_path / "out"), str(edge))
    assert "without its transform" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_litert_s_compiled_model_answers_as_the_edge_model(edge, tmp_path, converted_taxi):
    compile_edge_model("litert", str(tmp_path / "out"), str(edge))
    given = artifacts.read(edge, models.EDGE_SCHEMA)
    takes = models.raw_features(given)
    batch = next(iter(examples.read_batches(converted_taxi.examples, "eval")))
    rows = features.to_numpy(batch, takes)
    expected = load(models.edge_model_path(given))(rows)
    answer = load_compiled(tmp_path / "out")(rows)
    np.testing.assert_array_equal(answer["prediction"], expected["prediction"])
