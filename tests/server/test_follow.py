"""Models inside a program of one's own: kept fresh, tried and swapped as the server's are."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from publishing import CRASHING, broken, bundle, model
from running import eventually

import edgeline
from edgeline.errors import EdgelineError, UsageError
from edgeline.server.follow import FollowedModels

ONE = {"amount": [[1, 2]], "count": [1], "name": ["a"]}


def score(models: FollowedModels, **options) -> float:
    answers = models.predict(ONE, **options)
    return float(answers["score"][0, 0])


@pytest.fixture
def followed(publisher, web, tmp_path) -> Iterator[FollowedModels]:
    with edgeline.follow(web.url, publisher.root, state=tmp_path / "state", poll=0.2) as models:
        yield models


@contextmanager
def asking(models: FollowedModels, threads: int = 4) -> Iterator[tuple[list[float], list[str]]]:
    """Threads of a program that ask again and again: what they were answered, and the failures."""
    answered: list[float] = []
    failed: list[str] = []
    end = threading.Event()

    def ask() -> None:
        while not end.is_set():
            try:
                answered.append(score(models))
            except Exception as error:
                failed.append(f"{type(error).__name__}: {error}")

    running = [threading.Thread(target=ask) for _ in range(threads)]
    for thread in running:
        thread.start()
    try:
        yield answered, failed
    finally:
        end.set()
        for thread in running:
            thread.join()


@pytest.mark.slow
@pytest.mark.parametrize(
    "updates", [3, pytest.param(100, marks=[pytest.mark.long, pytest.mark.timeout(1800)])]
)
def test_updates_come_between_two_calls_and_none_fails(followed, publisher, updates):
    weights = range(2, updates + 2)
    with asking(followed) as (answered, failed):
        for weight in weights:
            publisher.add(model(weight), recorded=3.0 * weight + 1)
            eventually(lambda: answered[-1] == 3.0 * weight + 1)  # noqa: B023
    assert failed == []
    assert set(answered) == {4.0, *(3.0 * weight + 1 for weight in weights)}


@pytest.mark.slow
def test_a_version_that_crashes_is_not_taken(followed, publisher):
    publisher.add(broken(*CRASHING), like=CRASHING[0])
    told = followed.check_for_update()
    assert told["outcome"] == "ok"
    assert score(followed) == 4
    assert followed.versions == {"m": [1]}
    assert "m 2" in followed.failures


def test_a_bundle_needs_no_repository(tmp_path):
    with edgeline.follow(bundle(tmp_path / "m", model(1)), poll=0) as models:
        assert models.ready
        rows = {**ONE, "amount": np.array([[1, 2]], np.float32), "name": np.array(["a"])}
        assert models.predict(rows)["score"].tolist() == [[4]]
        with pytest.raises(EdgelineError, match="count"):
            models.predict({key: ONE[key] for key in ("amount", "name")})
        with pytest.raises(EdgelineError, match="no model 'other'"):
            models.predict(ONE, model="other")
        with pytest.raises(EdgelineError, match="version"):
            models.predict(ONE, version=7)


def test_closed_models_answer_no_more_and_say_so(tmp_path):
    models = edgeline.follow(bundle(tmp_path / "m", model(1)))
    models.close()
    models.close()
    with pytest.raises(EdgelineError, match="closed: follow it again"):
        models.predict(ONE)
    with pytest.raises(EdgelineError, match="closed: follow it again"):
        models.check_for_update()


def test_of_several_models_one_is_named(store):
    with edgeline.follow(store, versions=0, poll=0) as models:
        assert models.versions == {"mixed": [1], "mobilenet": [1, 2]}
        with pytest.raises(UsageError, match="Which model"):
            models.predict(ONE)
        assert score(models, model="mixed") == 7
        picture = np.zeros((1, 128, 128, 3), np.uint8)
        for options in ({"version": 1}, {"label": "canary"}):
            assert models.predict({"input": picture}, model="mobilenet", **options)


def test_what_cannot_be_followed_is_refused(tmp_path, publisher):
    for arguments, options, sentence in (
        ((tmp_path / "none",), {}, "none"),
        ((tmp_path,), {"port": 8080}, "no setting 'port'"),
        ((publisher.path,), {}, "root"),
        ((publisher.path, publisher.root), {}, "needs state"),
        ((tmp_path,), {"poll": -1}, "poll"),
    ):
        with pytest.raises(EdgelineError, match=sentence):
            edgeline.follow(*arguments, **options)


def test_a_program_that_does_not_close_them_ends(tmp_path):
    folder = bundle(tmp_path / "m", model(1))
    program = f"""
        import edgeline
        models = edgeline.follow({str(folder)!r})
        print(models.predict({ONE!r})["score"].tolist())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout.strip()) == (0, "[[4.0]]"), done.stderr
