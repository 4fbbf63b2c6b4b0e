"""A step runs in a process of its own: what it gives, refuses, raises, and is killed by."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from edgeline.components.train_candidate import steps
from edgeline.errors import EdgelineError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a fork sees this module")


def _give(value: int) -> tuple[int, int]:
    return value + 1, os.getpid()


def _refuse() -> None:
    raise EdgelineError("Column 'x' has no values: give it some.")


def _raise() -> None:
    raise ValueError("no such layer\nand more")


def _die(number: int) -> None:
    os.kill(os.getpid(), number)


def _leave_a_child_and_die(reader: int, writer: int) -> None:
    if os.fork() == 0:
        os.close(writer)
        os.read(reader, 1)  # until the test has closed its end
        os._exit(0)
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_step_is_told_though_something_that_it_started_lives_on() -> None:
    reader, writer = os.pipe()
    try:
        with pytest.raises(steps.StepFailedError, match="killed by SIGKILL"):
            steps.run("verify", _leave_a_child_and_die, reader, writer)
    finally:
        os.close(writer)
        os.close(reader)


def _hold(size: int) -> None:
    kept = bytearray(size)
    kept[::4096] = b"x" * len(kept[::4096])
    signal.pause()


def test_a_step_that_holds_more_memory_than_it_may_is_ended() -> None:
    with pytest.raises(steps.StepFailedError, match=r"^train: it held [0-9,]+ MB of memory, above"):
        steps.run("train", _hold, 300 << 20, memory=200 << 20)


def test_a_step_gives_what_it_found_from_a_process_of_its_own() -> None:
    value, process = steps.run("train", _give, 1)
    assert value == 2 and process != os.getpid()


@pytest.mark.parametrize(
    ("work", "given", "said"),
    [
        (_refuse, (), "^train: Column 'x' has no values: give it some.$"),
        (_raise, (), "^train: ValueError: no such layer; the task's log has the rest.$"),
        (_die, (signal.SIGKILL,), "^train: its process was killed by SIGKILL, as the system does"),
        (_die, (signal.SIGTERM,), "^train: its process was killed by SIGTERM; the task's log has"),
        (os._exit, (3,), "^train: its process ended with exit code 3; the task's log has the rest"),
        (_give, ("no number",), "^train: TypeError: "),
    ],
)
def test_what_goes_wrong_is_one_sentence(work, given, said) -> None:
    with pytest.raises(steps.StepFailedError, match=said):
        steps.run("train", work, *given)


def test_its_evaluation_asks_beam_s_workers_as_its_features_do(tmp_path) -> None:
    """The first thing that a step does with workers is to ask whether they answer."""
    from edgeline.components.train_candidate import train_candidate as way

    workers = ["--job_endpoint=127.0.0.1:9", "--environment_type=LOOPBACK"]
    asked = way.AskedOfAll("label", beam_options=workers)
    made, page = str(tmp_path / "made"), str(tmp_path / "page.html")
    said = "cannot be reached at 127.0.0.1:9"
    with pytest.raises(EdgelineError, match=said):
        way._analyze("", "", made, page, asked, "")
    with pytest.raises(EdgelineError, match=said):
        way._transform("", "", "module", made, made, page, asked, "")
