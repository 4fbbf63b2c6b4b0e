"""A model in a process of its own: what ends that, and what it says."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from edgeline.artifacts.bundle import Signature, Tensor
from edgeline.errors import EdgelineError
from edgeline.runtimes import child, isolated, limits
from edgeline.runtimes.interpreter import CrashError, EdgeModel, RowError

X = Signature((Tensor("x", "float32", (-1, 1)),), (Tensor("y", "float32", (-1, 1)),))
CRASHES, HANGS, GROWS, REFUSED, RAISED, ROW = range(-6, 0)


@pytest.fixture(autouse=True)
def a_fork_is_enough(monkeypatch):
    monkeypatch.setattr(child, "_tensorflow_runs", lambda: False)


def doubling(crashes_at_once=False):
    """What doubles, but some values end it in a way of theirs."""
    if crashes_at_once:
        os.abort()

    def invoke(arrays):
        given = {int(value) for value in arrays["x"].ravel() if value < 0}
        if CRASHES in given:
            os.kill(os.getpid(), signal.SIGSEGV)
        while HANGS in given:
            pass
        if GROWS in given:
            np.ones(8 << 30, np.uint8)
        if REFUSED in given:
            raise EdgelineError("x is refused: give another.")
        if RAISED in given:
            raise KeyError("no sentence\nat all")
        if ROW in given:
            raise RowError(int(np.argmin(arrays["x"])), "it has no date.")
        return {"y": 2 * arrays["x"]}

    return EdgeModel(X, invoke)


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(bytes(1000))
    return isolated.model(path, doubling)


def rows(count, **special):
    x = np.arange(count, dtype=np.float32)[:, None]
    for name, row in special.items():
        x[row] = globals()[name]
    return {"x": x}


def test_it_answers_as_the_model_does(model):
    assert model.signature == X
    np.testing.assert_array_equal(model(rows(3000))["y"], 2 * rows(3000)["x"])


def test_a_crash_is_told_with_the_rows_and_the_next_call_is_answered(model):
    with pytest.raises(CrashError) as caught:
        model(rows(3000, CRASHES=2500))
    assert str(caught.value).endswith(
        "model.tflite was killed by SIGSEGV on rows 2,048 to 2,999 (from 0): convert or export it "
        "again."
    )
    assert model(rows(1))["y"].tolist() == [[0]]


def test_a_model_that_hangs_or_grows_is_ended(model, monkeypatch, tmp_path):
    with pytest.raises(CrashError, match=r"exceeded [0-9,]+ bytes of memory .* rows 0 to 3"):
        model(rows(4, GROWS=2))
    monkeypatch.setenv(limits.TIME_VARIABLE, "1")
    hanging = isolated.model(tmp_path / "model.tflite", doubling)
    with pytest.raises(CrashError, match=r"exceeded (1 s of a core|3 s) \(EDGELINE_MODEL_TIME"):
        hanging(rows(4, HANGS=2))


def test_what_it_refuses_comes_as_it_was_said(model):
    with pytest.raises(EdgelineError, match=r"^x is refused: give another\.$"):
        model(rows(4, REFUSED=2))
    with pytest.raises(RowError) as caught:
        model(rows(1100, ROW=1050))
    assert (caught.value.row, caught.value.why) == (1050, "it has no date.")
    with pytest.raises(ValueError, match="no sentence"):
        model(rows(4, RAISED=2))
    assert len(model(rows(4))["y"]) == 4


def test_one_that_crashes_when_it_is_loaded_is_told_at_once(tmp_path):
    with pytest.raises(EdgelineError, match="was killed by SIGABRT while it was loaded"):
        isolated.model(tmp_path, doubling, True)


def test_one_that_crashes_again_and_again_is_not_started_for_ever(model, monkeypatch):
    monkeypatch.setattr(isolated, "ENDS", 3)
    for _ in range(3):
        with pytest.raises(CrashError):
            model(rows(1, CRASHES=0))
    with pytest.raises(EdgelineError, match=r"crashed 3 times"):
        model(rows(1))


def test_it_ends_with_the_last_who_holds_it(tmp_path):
    model = isolated.model(tmp_path, doubling)
    process = model.invoke._child._process.pid
    del model
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_one_that_is_held_to_the_end_keeps_no_program_from_ending(tmp_path):
    program = (
        "from pathlib import Path; import sys; sys.path.insert(0, sys.argv[1])\n"
        "from edgeline.runtimes import isolated; from test_isolated import doubling\n"
        "if __name__ == '__main__': held = isolated.model(Path('.'), doubling); print('loaded')"
    )
    command = [sys.executable, "-c", program, str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "loaded\n"), done.stderr


def environment(_tell):
    return os.environ.get("SAID"), str(Path.cwd()), os.getppid()


def test_one_that_is_not_a_fork_finds_the_environment_of_now(tmp_path, monkeypatch):
    monkeypatch.setattr(child, "_tensorflow_runs", lambda: True)
    found = []
    for said in ("first", "second"):
        (tmp_path / said).mkdir()
        monkeypatch.chdir(tmp_path / said)
        monkeypatch.setenv("SAID", said)
        found.append(child.call(environment, memory=1 << 30))
    servers = {server for _, _, server in found}  # one, which is not this process
    assert len(servers - {os.getpid()}) == 1
    assert [each[:2] for each in found] == [
        (said, str(tmp_path / said)) for said in ("first", "second")
    ]


def test_of_several_threads_each_gets_its_own_answer(model):
    found = {}

    def ask(number):
        for _ in range(20):
            found.setdefault(number, set()).update(
                model({"x": np.full((5, 1), number, "f4")})["y"].ravel()
            )

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: {2 * number} for number in range(4)}


def test_it_ends_when_the_process_that_asks_is_killed(tmp_path):
    reader, writer = os.pipe()
    asking = os.fork()
    if not asking:
        os.close(reader)
        held = isolated.model(tmp_path, doubling)
        os.write(writer, b"loaded")
        os.close(writer)
        while held:
            signal.pause()
    os.close(writer)
    assert os.read(reader, 6) == b"loaded"  # the model's process holds the pipe, too, until its end
    os.kill(asking, signal.SIGKILL)
    os.waitpid(asking, 0)
    assert os.read(reader, 1) == b""
    os.close(reader)


def at_work(_tell, writer):
    os.write(writer, b"works")
    signal.pause()


def test_what_is_at_work_ends_too_when_the_process_that_asks_is_killed(tmp_path):
    """As a compiler that listens to nobody."""
    reader, writer = os.pipe()
    asking = os.fork()
    if not asking:
        os.close(reader)
        isolated.call(tmp_path, at_work, writer)
    os.close(writer)
    assert os.read(reader, 5) == b"works"  # its process holds the pipe until its end
    os.kill(asking, signal.SIGKILL)
    os.waitpid(asking, 0)
    assert os.read(reader, 1) == b""
    os.close(reader)
