"""A server explains trips as the component does, for the same orders and background."""

from __future__ import annotations

import http.client
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from edgeline.artifacts import examples, models, sha256, vectors
from edgeline.artifacts.bundle import Bundle, Signature, write_manifest
from edgeline.artifacts.features import MISSING_INT
from edgeline.components.explain import sides as both
from edgeline.runtimes import shapley
from edgeline.server.models.loading import load

sys.path.append(str(Path(__file__).parents[2] / "server"))

pytestmark = pytest.mark.slow

ROWS, RECORDED, ROUNDS = 5, 12, 2


def bundle(run, sides, recorded, folder):
    """The int8 model of a run as a bundle with recorded rows."""
    edge = models.read_edge(str(run.folder / "int8"))
    file = models.edge_model_path(edge)
    folder.mkdir()
    shutil.copy(file, folder / file.name)
    described = Bundle(
        name="taxi",
        version=1,
        target="litert",
        model=file.name,
        task=sides.task,
        quantisation="int8",
        takes="raw",
        signature=Signature.from_json(json.loads((edge.path / "signature.json").read_text())),
        features=tuple(models.raw_features(sides.original.artifact)),
        files={},
    )

    def write():
        files = {
            each.name: {"sha256": sha256(each), "size": each.stat().st_size}
            for each in folder.iterdir()
            if each.name != "manifest.json"
        }
        write_manifest(folder, Bundle(**{**vars(described), "files": files}))

    write()
    (instance,) = load(folder, "taxi", 1, 1, 1)
    answers = instance.predict(recorded)
    vectors.write(folder / vectors.FILE, vectors.Vectors(recorded, answers, 1e-5))
    write()
    return folder


def as_json(rows, at):
    """A row of raw features as a client sends it."""

    def plain(value):
        if isinstance(value, bytes):
            return value.decode()
        return None if value == MISSING_INT or value != value else value

    return {name: plain(array[at].item()) for name, array in rows.items()}


def test_the_server_explains_as_the_component(converted_taxi, tmp_path):
    from running import Running

    folder = converted_taxi.folder
    sides = both.load(str(folder / "model"), str(folder / "int8"))
    features = models.raw_features(sides.original.artifact)
    read = examples.read_spread(converted_taxi.examples, "eval", features, ROWS + RECORDED)
    rows = {name: array[:ROWS] for name, array in read.items()}
    recorded = {name: array[ROWS:] for name, array in read.items()}
    of_a_round = RECORDED * shapley.answers_of_an_order(len(features))
    budget = RECORDED + ROUNDS * ROWS * (of_a_round + 1)
    server = Running(
        bundle(converted_taxi, sides, recorded, tmp_path / "taxi"),
        *("--poll=0", "--explain=100", "--request-time=200", f"--explain-rows={budget}"),
    )
    try:
        connection = http.client.HTTPConnection("127.0.0.1", server.http, timeout=240)
        asked = {"instances": [as_json(rows, at) for at in range(ROWS)]}
        connection.request("POST", "/v1/models/taxi:explain", json.dumps(asked))
        answer = json.loads(connection.getresponse().read())
        connection.close()
    finally:
        _, log = server.stop()
    assert "Traceback" not in log
    targets, zeros = np.zeros(ROWS, np.int64), np.zeros(ROWS, np.int64)
    names = list(answer["explanations"][0]["attributions"])  # an order is one of features in theirs
    assert sorted(names) == sorted(each.name for each in features)
    rows, recorded = ({name: given[name] for name in names} for given in (rows, recorded))
    wanted = [
        shapley.attribute(
            sides.edge.models, rows, zeros, targets, recorded, seed, evaluations=of_a_round
        )
        for seed in range(ROUNDS)
    ]
    for at, told in enumerate(answer["explanations"]):
        assert list(told["attributions"]) == names
        values = np.mean([each.values[at] for each in wanted], axis=0)
        np.testing.assert_allclose(list(told["attributions"].values()), values, atol=1e-6)
        assert told["base"] == pytest.approx(wanted[0].base[at], abs=1e-6)
        assert told["score"] == pytest.approx(wanted[0].score[at], abs=1e-6)
        assert told["class"] == sides.explained_name(0)
        assert told["orders"] == RECORDED * ROUNDS
