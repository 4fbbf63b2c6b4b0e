"""The taxi model with its transform inside: LiteRT runs it, Arm's compiler cannot read it."""

from __future__ import annotations

import numpy as np
import pytest

from edgeline import artifacts
from edgeline.artifacts import examples, features, models
from edgeline.components.compile.compile import compile_edge_model, load_compiled
from edgeline.components.convert.convert import convert
from edgeline.errors import EdgelineError
from edgeline.runtimes.interpreter import load

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def edge(trained_taxi, tmp_path_factory):
    folder = tmp_path_factory.mktemp("taxi_int8")
    convert(
        str(trained_taxi.folder / "model"),
        str(trained_taxi.folder / "examples"),
        *(str(folder / "edge"), str(folder / "convert.html"), "int8"),
        representative_rows=50,
    )
    return folder / "edge"


@pytest.mark.long
def test_vela_cannot_read_the_vocabularies_and_it_is_said(edge, tmp_path):
    with pytest.raises(EdgelineError, match=r"Vela was killed by .* which holds text") as caught:
        compile_edge_model("ethos-u55", str(tmp_path / "out"), str(edge))
    assert "without its transform" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_litert_s_compiled_model_answers_as_the_edge_model(edge, tmp_path, trained_taxi):
    compile_edge_model("litert", str(tmp_path / "out"), str(edge))
    given = artifacts.read(edge, models.EDGE_SCHEMA)
    takes = models.raw_features(given)
    batch = next(iter(examples.read_batches(trained_taxi.examples, "eval")))
    rows = features.to_numpy(batch, takes)
    expected = load(models.edge_model_path(given))(rows)
    answer = load_compiled(tmp_path / "out")(rows)
    np.testing.assert_array_equal(answer["prediction"], expected["prediction"])
