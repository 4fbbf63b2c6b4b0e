"""A training by several processes of this machine: deterministic, also when one is killed."""

from __future__ import annotations

import contextlib
import json
import threading
import time

import numpy as np
import psutil
import pytest

from edgeline.components.train import workers
from edgeline.components.train.fitting import Fitting
from edgeline.components.train.optimising import Optimisation
from edgeline.components.train.train import train
from edgeline.components.train.workers import Ended, SharedTraining
from edgeline.errors import EdgelineError

MODULE = "edgeline.pipelines.taxi.module"


def work(**given):
    how = Fitting("y", 4, workers=2, optimisation=Optimisation("qat"))
    fields = {
        "module": "m",
        "transformed": "t",
        "digest": "d",
        "hyperparameters": {"units": 3},
        "how": how,
        "class_weights": (1.0, 2.5),
        "checkpoint_dir": "c",
        "key": "k",
    }
    return SharedTraining(**{**fields, **given})


def test_workers_are_told_everything():
    for class_weights in ((1.0, 2.5), None):
        given = work(class_weights=class_weights)
        assert SharedTraining.from_json(given.to_json()) == given


def test_what_no_process_can_be_told_is_refused():
    with pytest.raises(EdgelineError, match=r"class weights have 1[0-9]{2},[0-9]{3} characters"):
        work(hyperparameters={"words": "x" * 100_000}).to_json()


def starts(*ended):
    """What starts workers that end so, and in the meantime come to an epoch."""
    numbers, at = [], [0]

    def start(number):
        numbers.append(number)
        how, at[0] = ended[number - 1]
        return how

    return start, lambda: at[0], numbers


LOST = Ended(why="Worker 1 of 2 was killed by SIGKILL")


def test_workers_begin_anew_as_long_as_they_come_further(capsys):
    start, reached, numbers = starts(
        *[(LOST, epoch) for epoch in (1, 1, 1, 2, 2, 2)], (Ended(done=True), 3)
    )
    workers.until_done(start, reached)
    assert numbers == [1, 2, 3, 4, 5, 6, 7]
    assert "Worker 1 of 2 was killed by SIGKILL: all begin anew after epoch 1." in (
        capsys.readouterr().out
    )


def test_they_are_given_up_when_they_come_no_further():
    start, reached, numbers = starts(*[(LOST, 0)] * 5)
    with pytest.raises(EdgelineError, match="SIGKILL; 3 starts in a row came to no further epoch"):
        workers.until_done(start, reached)
    assert numbers == [1, 2, 3]


def test_what_would_end_alike_is_not_tried_again():
    start, reached, numbers = starts((Ended(refused="The label is constant."), 0))
    with pytest.raises(EdgelineError, match=r"^The label is constant\.$"):
        workers.until_done(start, reached)
    assert numbers == [1]


@pytest.fixture
def run(transformed_taxi, tmp_path):
    def by(name, module=MODULE, **how):
        folder = transformed_taxi.folder
        given = {"steps": 10, "batch_size": 40, **how}
        facts = train(
            *(str(folder / each) for each in ("transformed", "graph")),
            module,
            "binary_classification",
            Fitting(label="big_tip", **given),
            *(str(tmp_path / f"{name}{end}") for end in ("", ".html")),
            checkpoint_dir=str(tmp_path / f"{name}-checkpoints"),
        )
        return facts, tmp_path / name

    return by


def weights(model):
    import tensorflow as tf

    found = tf.saved_model.load(str(model / "saved_model"))
    return [np.asarray(each) for each in found.states]


@pytest.mark.slow
def test_two_workers_give_the_model_of_one(run, capfd):
    facts, model = run("two", workers=2)
    said = capfd.readouterr().out
    assert "worker 0: epoch 1 of 1: " in said and "worker 1: epoch" not in said
    of_one, one = run("one")
    for two, alone in zip(weights(model), weights(one), strict=True):
        np.testing.assert_allclose(two, alone, atol=1e-6)
    assert facts["metrics"] == pytest.approx(of_one["metrics"], abs=1e-3)
    assert not list((model.parent / "two-checkpoints").iterdir())


@contextlib.contextmanager
def killing(checkpoints):
    """Kill the second worker once, after the first checkpoint; gives whether it was."""
    killed = []
    ended = threading.Event()

    def kill():
        while not ended.wait(0.01):
            if list(checkpoints.glob("*/epoch-*[0-9]/artifact.json")):
                for child in psutil.Process().children(recursive=True):
                    with contextlib.suppress(psutil.Error):
                        if child.environ().get(workers.INDEX) == "1":
                            child.kill()
                            killed.append(child.pid)
                            return

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    try:
        yield killed
    finally:
        ended.set()
        thread.join()


@pytest.mark.long
def test_a_killed_worker_changes_nothing(run, tmp_path, capfd):
    how = {"workers": 2, "steps": 200, "steps_per_epoch": 50}
    _, whole = run("whole", **how)
    with killing(tmp_path / "again-checkpoints") as killed:
        _, again = run("again", **how)
    said = capfd.readouterr().out
    assert killed and "was killed by SIGKILL: all begin anew after epoch" in said
    assert [x.tobytes() for x in weights(again)] == [x.tobytes() for x in weights(whole)]
    history = [json.loads((each / "history.json").read_text()) for each in (whole, again)]
    assert history[0] == history[1]


@pytest.mark.slow
def test_what_the_users_code_does_wrong_is_said_once_and_no_worker_is_left(run, tmp_path):
    (tmp_path / "module.py").write_text("def build_model(f, h):\n    raise KeyError('units')\n")
    began = time.time()
    with pytest.raises(
        EdgelineError, match=r"^build_model failed at .*: KeyError: 'units'"
    ) as told:
        run("wrong", str(tmp_path / "module.py"), workers=2)
    assert "\n" not in str(told.value)
    left = [each for each in psutil.process_iter(["create_time"]) if _is_worker(each, began)]
    assert left == []


def _is_worker(process, began):
    with contextlib.suppress(psutil.Error):
        if process.info["create_time"] >= began - 1:
            return workers.MODULE in " ".join(process.cmdline())
    return False
