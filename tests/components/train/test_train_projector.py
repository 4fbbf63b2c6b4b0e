"""What a training has learnt, in the real TensorBoard: its curves, and its vectors by their words.

`tests/local/build_tensorboard.sh` installs TensorBoard in an environment of its own.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import subprocess
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeline.local import embeddings, tensorboard

pytestmark = pytest.mark.slow

LOCK = Path(__file__).parents[2] / "local" / "tensorboard.lock"
CACHE = Path(os.environ.get("EDGELINE_TEST_CACHE", Path.home() / ".cache" / "edgeline-tests"))
DIGEST = hashlib.sha256(LOCK.read_bytes()).hexdigest()[:16]
TENSORBOARD = CACHE / f"tensorboard-{DIGEST}" / "bin" / "tensorboard"
WORDS = "embed_company"


@pytest.fixture(scope="module")
def logs(tmp_path_factory, trained_taxi) -> Path:
    """A folder as `edgeline runs tensorboard --projector` writes it."""
    folder = tmp_path_factory.mktemp("logs")
    events = tensorboard._events(trained_taxi.model.path, 1.7e9)
    for side in events:
        tensorboard._file(folder / "taxi" / side, 1_700_000_000, events[side])
    embeddings.write(trained_taxi.model.path, folder / "taxi" / "train")
    return folder


def of_layer(logs: Path, layer: str) -> tuple[np.ndarray, list[dict[str, str]]]:
    """The vectors of a layer, and what is told of their rows."""
    folder = logs / "taxi" / "train"
    config = (folder / embeddings.CONFIG).read_text()
    [entry] = [each for each in config.split("}\n") if f'"{layer}"' in each]
    files = dict(re.findall(r'(tensor|metadata)_path: "(.+)"', entry))
    with (folder / files["metadata"]).open(encoding="utf-8", newline="") as file:
        words = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return np.loadtxt(folder / files["tensor"], ndmin=2), words


def test_each_row_of_a_vocabulary_has_its_word_and_its_vector(logs, trained_taxi):
    import tensorflow as tf
    import tensorflow_transform as tft

    vectors, rows = of_layer(logs, WORDS)
    known = tft.TFTransformOutput(str(trained_taxi.graph.path)).vocabulary_by_name("company")
    assert len(known) > 20 and [row["word"].encode() for row in rows[: len(known)]] == known
    assert [int(row["row"]) for row in rows] == list(range(len(vectors)))
    loaded = tf.saved_model.load(str(trained_taxi.model.path / "saved_model"))
    tables = [each for each in loaded.states if tuple(each.shape) == vectors.shape]
    assert any(np.allclose(vectors, each.numpy(), rtol=1e-6) for each in tables)


def test_tensorboard_shows_curves_and_vectors(logs):
    if not TENSORBOARD.is_file():
        pytest.skip(
            "NOT TESTED: logs in TensorBoard; tests/local/build_tensorboard.sh installs it once"
        )
    with Served(logs) as board:
        tags = board.json("scalars/tags")["taxi/train"]
        assert {"epoch_loss", "step_loss", "learning_rate"} <= set(tags)
        points = board.json("scalars/scalars", run="taxi/train", tag="step_loss")
        assert points and all(value > 0 for _, _, value in points)
        assert board.json("projector/runs") == ["taxi/train"]
        told = board.json("projector/info", run="taxi/train")["embeddings"]
        [words] = [each for each in told if each["tensorName"] == WORDS]
        vectors, rows = of_layer(logs, WORDS)
        assert words["tensorShape"] == list(vectors.shape)
        named = {"run": "taxi/train", "name": WORDS}
        there = np.frombuffer(board.get("projector/tensor", **named), np.float32)
        np.testing.assert_allclose(there.reshape(vectors.shape), vectors, rtol=1e-6)
        lines = board.get("projector/metadata", **named).decode().splitlines()
        assert lines[1:4] == [f"{row['word']}\t{row['row']}" for row in rows[:3]]


class Served:
    """A TensorBoard that reads a folder once, at a port that the system chooses."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> Served:
        log = self.folder / "tensorboard.log"
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [TENSORBOARD, "--logdir", self.folder, "--host", "127.0.0.1", "--port", "0"],
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        until = time.monotonic() + 120
        while not (found := re.search(r"http://127\.0\.0\.1:\d+", log.read_text())):
            assert self.process.poll() is None and time.monotonic() < until, log.read_text()
            time.sleep(0.1)
        self.address = found[0]
        while "taxi/train" not in self.json("scalars/tags"):
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.1)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def get(self, what: str, **query: str) -> bytes:
        path = f"{self.address}/data/plugin/{what}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(path, timeout=60) as answer:
            return answer.read()

    def json(self, what: str, **query: str) -> Any:
        return json.loads(self.get(what, **query))
