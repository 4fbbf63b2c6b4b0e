"""Checkpoints in a store: a training goes on in a pod that has nothing of the one before it."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from edgeline.components.train.fitting import Fitting
from edgeline.components.train.train import train
from edgeline.errors import EdgelineError

sys.path.append(str(Path(__file__).parents[1] / "publish"))  # s3_server.py
import s3_server

pytestmark = pytest.mark.slow
MODULE = "edgeline.pipelines.taxi.module"
HOW = Fitting(label="big_tip", steps=6, steps_per_epoch=2)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    yield from s3_server.running(tmp_path_factory)


@pytest.fixture
def run(server, transformed_taxi, tmp_path, monkeypatch):
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)

    def work(place: str, on_epoch=None):
        folder = transformed_taxi.folder
        return train(
            *(str(folder / name) for name in ("transformed", "graph")),
            MODULE,
            "binary_classification",
            HOW,
            *(str(tmp_path / name) for name in ("model", "training.html")),
            checkpoint_dir=place,
            on_epoch=on_epoch,
        )

    return work


def test_a_training_goes_on_from_a_bucket_and_leaves_nothing_there(server, run, capsys):
    def names():
        return {e.object_name for e in server.client.list_objects(s3_server.BUCKET, recursive=True)}

    def end(state):
        if state.epoch == 2:
            raise EdgelineError("The pod is gone.")

    server.client.put_object(s3_server.BUCKET, "ckpt/others.txt", io.BytesIO(b"kept"), 4)
    place = f"minio://{s3_server.BUCKET}/ckpt/"
    with pytest.raises(EdgelineError, match="The pod is gone"):
        run(place, end)
    left = names() - {"ckpt/others.txt"}
    assert {name.split("/", 2)[2] for name in left} == {
        *("epoch-00002/artifact.json", "epoch-00002/variables.npz"),  # of the last epoch alone
    }
    run(place)
    assert "resumed after epoch 2" in capsys.readouterr().out
    assert names() == {"ckpt/others.txt"}


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("minio://no-such-bucket/ckpt", "no-such-bucket"),
        ("https://example.com/ckpt", "has the scheme https://, where nothing can be written"),
    ],
)
def test_what_keeps_no_checkpoint_is_said_before_the_training(run, place, said):
    with pytest.raises(EdgelineError, match=said):
        run(place, lambda _: pytest.fail("trained"))
