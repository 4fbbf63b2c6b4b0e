"""Hostile and damaged models beside a good one: each costs itself, and the server ends when told.

What the models of `data/hostile` do to LiteRT is in `data/SOURCES.md`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import publishing
import pytest
from running import DATA, Running, eventually

from edgeline.errors import EdgelineError
from edgeline.server.models.loading import TransientError
from edgeline.server.versions import trial
from edgeline.server.versions.forkserver import ChildEnd, ForkServer
from edgeline.server.versions.served import RETRY, TRIES, ServedModel
from edgeline.server.versions.sources import VersionSource
from edgeline.server.versions.verdicts import Verdicts

pytestmark = pytest.mark.slow

HOSTILE, LINE, LOOP = DATA / "hostile", DATA / "line.tflite", DATA / "loop.tflite"
ENDLESS = HOSTILE / "0379_infinitewhile.tflite"
CRASHING = HOSTILE / "0250_buffer.tflite"
DEEPLAB = DATA / "coral" / "deeplabv3_mnv2_dm05_pascal_quant.tflite"


def answer(server: Running, x: float = 3.0, model: str = "line") -> object:
    return server.ask("POST", f"/v1/models/{model}:predict", {"instances": [[x]]})[:2]


GOOD = (200, {"predictions": [[7.0]]})


def reasons(server: Running) -> dict[str, tuple[str, str]]:
    index = server.ask("POST", "/v2/repository/index", {})[1]
    return {entry["name"]: (entry["state"], entry["reason"]) for entry in index}


def children(process: int) -> list[psutil.Process]:
    return psutil.Process(process).children(recursive=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a good model, last in the alphabet but for those that begin with m or later."""
    (tmp_path / "models").mkdir()
    shutil.copy(LINE, tmp_path / "models" / "line.tflite")
    return tmp_path / "models"


def test_a_folder_of_hostile_models_serves_its_good_one(folder, start, tmp_path):
    """At the start and after a restart; and SIGTERM ends it while one of them is being tried."""
    for file in HOSTILE.glob("*.tflite"):
        shutil.copy(file, folder)
    state = f"--state={tmp_path / 'state'}"
    server = start(folder, state, "--poll=0")
    assert answer(server) == GOOD
    found = reasons(server)
    assert found["line"] == ("READY", "")
    for name in ("0250_buffer", "0310_inquant"):
        assert found[name][0] == "UNAVAILABLE"
        assert "crashes the runtime (signal" in found[name][1]
    assert "is not a model that runs here" in found["0342_sig"][1]
    assert found["0379_infinitewhile"] == ("LOADING", "it is being tried")
    left = children(server.process.pid)
    assert left
    code, log = server.stop()
    assert code == 0
    assert "Traceback" not in log
    assert psutil.wait_procs(left, 10)[1] == []

    again = start(folder, state, "--poll=0")  # what crashed is not tried again
    assert "crashes the runtime" in reasons(again)["0250_buffer"][1]
    assert again.metric('edgeline_model_loads_total{model="0250_buffer",result="failed"}') == 0
    assert answer(again) == GOOD
    assert again.stop()[0] == 0


def test_a_crashing_file_that_comes_later_and_one_that_takes_its_place(folder, start):
    server = start(folder, "--poll=0.1")
    shutil.copy(CRASHING, folder / "new.tflite")
    eventually(lambda: "crashes the runtime" in reasons(server).get("new", ("", ""))[1], 60)
    assert answer(server) == GOOD
    shutil.copy(LINE, folder / "partial")
    (folder / "partial").rename(folder / "new.tflite")
    eventually(lambda: reasons(server)["new"] == ("READY", ""), 60)
    assert answer(server, model="new") == GOOD


def test_load_answers_about_a_model_that_never_loads(folder, start):
    server = start(folder, "--poll=0", "--load-time=1")
    shutil.copy(ENDLESS, folder / "endless.tflite")
    status, body, _ = server.ask("POST", "/v2/repository/models/endless/load", {})
    assert status == 400
    assert "took over 1 s to load" in body["error"] or "this machine is busy" in body["error"]
    assert answer(server) == GOOD


def test_a_model_that_is_unloaded_while_it_is_being_loaded(folder, start):
    server = start(folder, "--poll=0")
    shutil.copy(ENDLESS, folder / "endless.tflite")
    answers = []
    asking = threading.Thread(
        target=lambda: answers.append(server.ask("POST", "/v2/repository/models/endless/load", {}))
    )
    asking.start()
    eventually(lambda: reasons(server).get("endless", ("",))[0] == "LOADING", 60)
    assert server.ask("POST", "/v2/repository/models/endless/unload", {})[0] == 200
    asking.join(60)
    assert answers[0][0] == 400
    assert answers[0][1]["error"] == "it is unloaded"
    assert answer(server) == GOOD


def test_the_fork_server_is_ended_from_outside(folder, start):
    server = start(folder, "--poll=0.1")
    shutil.copy(ENDLESS, folder / "endless.tflite")
    eventually(lambda: len(children(server.process.pid)) >= 3, 60)
    children(server.process.pid)[0].kill()
    eventually(lambda: "broke off" in reasons(server).get("endless", ("", ""))[1], 60)
    assert "tried again" in reasons(server)["endless"][1]
    shutil.copy(LINE, folder / "new.tflite")  # which another fork server tries
    eventually(lambda: reasons(server).get("new") == ("READY", ""), 60)


def test_the_only_model_never_loads_and_sigterm_ends_the_start(tmp_path):
    shutil.copy(ENDLESS, tmp_path / "endless.tflite")
    process = subprocess.Popen(
        [sys.executable, "-m", "edgeline.server", str(tmp_path), "--port=0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    eventually(lambda: len(children(process.pid)) >= 3, 60)  # fork server, reporter, child
    left = children(process.pid)
    process.send_signal(signal.SIGTERM)
    out, log = process.communicate(timeout=30)
    assert (process.returncode, out) == (0, "")
    assert "Traceback" not in log
    assert psutil.wait_procs(left, 10)[1] == []


def test_kill_9_leaves_no_child(tmp_path):
    shutil.copy(ENDLESS, tmp_path / "endless.tflite")
    command = [sys.executable, "-m", "edgeline.server", str(tmp_path), "--port=0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    eventually(lambda: len(children(process.pid)) >= 3, 60)
    left = children(process.pid)
    process.kill()
    process.communicate(timeout=30)
    assert psutil.wait_procs(left, 10)[1] == []


@pytest.mark.parametrize("batch", ["--batch=0", "--batch=4"])
def test_a_model_that_never_answers_one_input(folder, start, batch):
    """A loop that only some input makes endless: others are served, and SIGTERM ends the server."""
    shutil.copy(LOOP, folder / "loop.tflite")
    server = start(folder, "--instances=1", "--stop-time=1", batch)
    for _ in range(3):  # quick enough to be run on the event loop, were there no loop in it
        assert answer(server, 8.0, "loop") == (200, {"predictions": [[1.0]]})
    endless, raw = struct.pack("<f", float("inf")), {"Inference-Header-Content-Length": "0"}
    arguments = (server, "POST", "/v2/models/loop/infer", endless, raw)
    threading.Thread(target=_asked, args=arguments, daemon=True).start()
    busy = psutil.Process(server.process.pid)
    before = sum(busy.cpu_times()[:2])
    eventually(lambda: sum(busy.cpu_times()[:2]) > before + 0.5, 60)
    assert answer(server) == GOOD
    code, log = server.stop()
    assert code == 0
    assert "Traceback" not in log


def _asked(server: Running, *request) -> None:
    with contextlib.suppress(OSError, http.client.HTTPException):  # the server ends meanwhile
        server.ask(*request)


def test_a_model_that_takes_more_memory_than_it_may(folder, start, tmp_path):
    shutil.copy(DEEPLAB, folder / "large.tflite")
    state = f"--state={tmp_path / 'state'}"
    server = start(folder, state, "--poll=0", "--load-memory=1000000")
    assert "takes more than 1,000,000 bytes of memory and 8 times" in reasons(server)["large"][1]
    assert "raise --load-memory" in reasons(server)["large"][1]
    assert answer(server) == GOOD
    server.stop()
    server = start(folder, state, "--poll=0", "--load-memory=1000000")
    assert "raise --load-memory" in reasons(server)["large"][1]  # as it is known to be
    server.stop()
    assert reasons(start(folder, state, "--poll=0"))["large"] == ("READY", "")


def test_whatever_lies_in_a_folder(folder, start):
    (folder / "empty.tflite").touch()
    (folder / "folder.tflite").mkdir()
    os.mkfifo(folder / "pipe.tflite")
    (folder / "round.tflite").symlink_to("round.tflite")
    (folder / "nowhere.tflite").symlink_to("gone")
    (folder / "zero.tflite").symlink_to("/dev/zero")
    (folder / "schön (1).tflite").write_bytes(LINE.read_bytes())
    (folder / "store" / "1").mkdir(parents=True)
    os.mkfifo(folder / "store" / "1" / "model.tflite")
    (folder / "labelled" / "1").mkdir(parents=True)
    shutil.copy(LINE, folder / "labelled" / "1" / "model.tflite")
    os.mkfifo(folder / "labelled" / "1" / "labels.txt")
    os.mkfifo(folder / "labelled" / "labels.json")
    server = start(folder, "--poll=0.1")
    assert answer(server) == GOOD
    assert answer(server, model="labelled") == GOOD
    found = {name: reason for name, (state, reason) in reasons(server).items() if state != "READY"}
    assert set(found) == {"empty", "folder", "pipe", "round", "nowhere", "zero", "store"}
    assert all("regular file" in found[n] for n in ("pipe", "round", "nowhere", "zero", "store"))
    assert "is a folder" in found["folder"]
    code, log = server.stop()
    assert code == 0
    assert log.count("cannot name a model in URLs") == 1


def test_damaged_models_by_the_dozen(folder, start):
    """Flipped, cut and overwritten bytes of a good model: each is served or has its sentence."""
    data, chance = LINE.read_bytes(), random.Random(12)
    for number in range(24):
        changed = bytearray(data)
        for _ in range(chance.choice((1, 4, 32))):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        keep = chance.choice((len(changed), len(changed), chance.randrange(len(changed))))
        (folder / f"damaged-{number}.tflite").write_bytes(changed[:keep])
    server = start(folder, "--poll=0", "--load-time=5")
    assert answer(server) == GOOD
    found = {state for name, (state, reason) in reasons(server).items() if name != "line"}
    assert "UNAVAILABLE" in found
    assert answer(server) == GOOD


@pytest.mark.parametrize(
    ("ended", "kind", "said"),
    [
        (ChildEnd(status=-signal.SIGSEGV), EdgelineError, "crashes the runtime (signal 11)"),
        (ChildEnd(status=-signal.SIGXCPU), trial.LimitError, "took over 120 s to load"),
        (ChildEnd(status=-signal.SIGABRT, log="std::bad_alloc"), trial.LimitError, "--load-memory"),
        (ChildEnd(status=-signal.SIGKILL, over=True), trial.LimitError, "--load-memory"),
        (ChildEnd(status=-signal.SIGALRM, seconds=4), TransientError, "this machine is busy"),
        (ChildEnd(status=-signal.SIGKILL), TransientError, "ended by signal 9"),
        (ChildEnd(), TransientError, "broke off"),
        (ChildEnd(status=1, log="a\nKeyError: 3"), EdgelineError, "cannot be loaded (KeyError: 3)"),
        (ChildEnd({"fault": "No.", "transient": False}, 0), EdgelineError, "No."),
        (ChildEnd({"fault": "No.", "transient": True}, 0), TransientError, "No."),
        (
            ChildEnd({"fault": "No.", "transient": False, "limit": "run_time"}, 0),
            trial.LimitError,
            "No.",
        ),
    ],
)
def test_what_a_trial_says_about_a_model_and_what_about_the_machine(ended, kind, said):
    class Forks:
        def run(self, *_):
            return ended

    with pytest.raises(EdgelineError) as caught:
        trial.run(Forks(), trial.TrialOrder("m.tflite"))
    assert type(caught.value) is kind
    assert said in str(caught.value)


def test_a_child_dies_of_sigterm_whatever_the_server_does_at_one():
    """Else a service manager, which tells a whole group to end, would make its model a bad one."""

    def work(_: object) -> dict[str, object]:
        os.kill(os.getpid(), signal.SIGTERM)
        return {"fault": "", "transient": False}

    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # as the command line does
    try:
        with contextlib.closing(ForkServer.fork(trial.MODULE, work)) as forks:
            assert forks.run({}, 30, 1 << 30).status == -signal.SIGTERM
    finally:
        signal.signal(signal.SIGTERM, before)


def test_what_failed_for_want_of_time_is_tried_again_but_not_for_ever(tmp_path):
    served, now = ServedModel("m"), time.monotonic()
    source = VersionSource("m", 1, tmp_path, (1,))
    pauses = [
        served.fail(source, TransientError("The machine was busy.")).again - now
        for _ in range(TRIES)
    ]
    assert pauses[:-1] == pytest.approx([RETRY, 2 * RETRY, 4 * RETRY, 8 * RETRY], abs=1)
    assert pauses[-1] == float("inf")
    assert served.reason == f"The machine was busy. It was tried {TRIES} times."
    other = dataclasses.replace(source, fingerprint=(2,))  # the file has changed
    assert served.fail(other, TransientError("Busy.")).again < float("inf")
    assert served.fail(other, EdgelineError("It crashes.")).again == float("inf")


def test_a_verdict_is_of_the_content_and_of_the_runtime(tmp_path):
    file = tmp_path / "m.tflite"
    shutil.copy(LINE, file)
    source = VersionSource("m", 1, file, (1,))

    def known(runtime: str, source: VersionSource) -> tuple[str, bool]:
        verdicts = Verdicts(tmp_path / "state", runtime)
        verdicts.identify(source)
        return verdicts.fault(source), verdicts.tried(source)

    verdicts = Verdicts(tmp_path / "state", "litert 1")
    verdicts.identify(source)
    verdicts.condemn(source, "it crashes")
    assert known("litert 1", source) == ("it crashes", False)
    assert known("litert 2", source) == ("", False)  # another runtime may do better
    file.write_bytes(CRASHING.read_bytes())
    changed = dataclasses.replace(source, fingerprint=(2,))
    assert known("litert 1", changed) == ("", False)
    verdicts.identify(changed)
    verdicts.passed(changed)
    assert known("litert 1", changed) == ("", True)


@pytest.mark.parametrize("limit", ["load_memory", "load_time", "run_time"])
def test_a_verdict_of_a_limit_holds_until_that_is_larger(tmp_path, limit):
    source = VersionSource("m", 1, LINE, (1,))
    usual = {"load_memory": 100.0, "load_time": 100.0, "run_time": 100.0}

    def verdicts(allowed: float) -> Verdicts:
        found = Verdicts(tmp_path, "litert 1", {**usual, limit: allowed})
        found.identify(source)
        return found

    verdicts(10).condemn(source, "it takes more", limit)
    for allowed in (5, 10):
        assert verdicts(allowed).fault(source) == "it takes more"
        assert len(verdicts(allowed).bad()) == 1
    assert verdicts(float("inf")).fault(source) == ""
    assert verdicts(11).bad() == {}
    verdicts(11).condemn(source, "it crashes")
    assert verdicts(1000).fault(source) == "it crashes"


def test_a_bundle_that_crashes_the_runtime_is_a_sentence_of_verify(tmp_path: Path) -> None:
    made = publishing.bundle(
        tmp_path / "b", publishing.broken(*publishing.CRASHING), like=publishing.LSTM
    )
    done = subprocess.run(
        [sys.executable, "-m", "edgeline", "verify", str(made)], capture_output=True, text=True
    )
    assert done.returncode == 1
    said = " ".join(done.stderr.split())
    assert "is not fit for use: its model was killed by SIGSEGV while loading" in said
