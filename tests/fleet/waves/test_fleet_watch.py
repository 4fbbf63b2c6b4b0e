"""What the watch of a fleet decides, by what, and that it does nothing twice."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
from click.testing import CliRunner, Result
from fleet_simulation import waves
from publishing import bundle, model

from edgeline.artifacts.waves import opened
from edgeline.cli.main import cli
from edgeline.errors import EdgelineError, UsageError
from edgeline.fleet import answers, watch_rules
from edgeline.fleet.answers import FleetAnswer, ReportedVersion, ReportedWave
from edgeline.fleet.watch_rules import WatchLimits, WatchRule
from edgeline.fleet.watching import FleetWatch
from edgeline.fleet.wave_decisions import decide, failed
from edgeline.repository import actions, roles
from edgeline.repository.place import Folder, open_place
from edgeline.repository.status import status
from edgeline.server.updates.order import UpdateOrder
from edgeline.server.updates.synchronise import synchronise

NOW = datetime(2027, 1, 31, 6, tzinfo=timezone.utc)
LIMITS = WatchLimits(failed=0.02, drift=0.3, decay=0.3, latency_p95_ms=50, min_devices=20)
ADDED = ReportedWave(40, 40, 0, 0)  # all that took the version are of the open wave
GOOD = ReportedVersion("m", 2, 40, 40, 0, 0, 0, 20.0, 0, 40, 40, 40, ADDED)
OF_40 = "of the 40 devices that wave 1 adds"
ALL_LOOK = {"drift_devices": 900, "decay_devices": 900, "latency_devices": 900}
HOUR = timedelta(hours=1)


def decided(report: ReportedVersion | None, limits=LIMITS, age=timedelta(0), since=HOUR, **plan):
    """The decision about version 2, whose first wave is open."""
    waved = opened(replace(waves(0.1, 0.5, 1), **plan), 1, NOW - since)
    answer = FleetAnswer(NOW - age, [report] if report else [])
    return decide(2, waved, 1, limits, answer, NOW, timedelta(minutes=11))


def of(**changed: Any) -> ReportedVersion:
    """A good report with some changes."""
    return msgspec.structs.replace(GOOD, **changed)


@pytest.mark.parametrize(
    ("report", "action", "reason"),
    [
        (GOOD, "raise", f"40 {OF_40} serve it and 0 failed in all: wave 2 of 3 (50 %)"),
        (of(failed=1), "withdraw", "failed is 1 of 40 devices (2.50%), above the limit of 2.00%"),
        (of(devices=1, serving=0, failed=1), "withdraw", "failed is 1 of 20 devices (5.00%)"),
        (of(drift=13), "withdraw", "drift is 13 of 40 devices (32.50%), above the limit of 30.00%"),
        (of(decay=40), "withdraw", "decay is 40 of 40 devices"),
        (
            of(latency_p95_ms=50.5),
            "withdraw",
            "latency_p95_ms is 50.5 on 40 devices, above the limit of 50",
        ),
        (of(drift=12, decay=12, latency_p95_ms=50.0), "raise", "40 of the 40 devices"),
        (of(devices=50, stale=6), "wait", "6 of its 50 devices are silent, above 10.00%"),
        (of(latency_p95_ms=99.0, latency_devices=19), "wait", "latency_p95_ms has a limit, and is"),
        (
            of(latency_p95_ms=99.0, latency_devices=1, serving=1),
            "wait",
            "latency_p95_ms is 99 on 1",
        ),
        (of(drift=0, drift_devices=19), "wait", "drift has a limit, and is reported by 19 devices"),
        (of(devices=1003, serving=3, drift=100, drift_devices=1000), "raise", "40 of the 40"),
        (of(latency_p95_ms=None), "wait", "latency_p95_ms has a limit, and is not reported"),
        (of(drift=None), "wait", "drift has a limit, and is not reported"),
        (None, "wait", "no device has reported it"),
    ],
)
def test_a_wave_is_raised_by_what_is_known_and_withdrawn_by_what_is_bad(report, action, reason):
    decision = decided(report)
    assert (decision.action, decision.reason[: len(reason)]) == (action, reason)


@pytest.mark.parametrize(
    ("wave", "action", "reason"),
    [
        (ReportedWave(40, 20, 0, 0), "raise", f"20 {OF_40} serve it"),
        (ReportedWave(40, 19, 0, 0), "wait", "19 of the 40 devices that wave 1 of 3 (10 %) adds"),
        (ReportedWave(3, 3, 0, 0), "raise", "3 of the 3 devices that wave 1 adds serve it"),
        (ReportedWave(3, 2, 0, 0), "wait", "2 of the 3 devices that wave 1 of 3 (10 %) adds serve"),
        (ReportedWave(1, 0, 0, 1), "wait", "1 of the 1 devices that wave 1 of 3 (10 %) adds are"),
        (ReportedWave(40, 30, 1, 0), "withdraw", "failed is 1 of 31 devices that wave 1 adds"),
        (ReportedWave(0, 0, 0, 0), "wait", "wave 1 of 3 (10 %) adds no device that the fleet"),
        (None, "wait", "the fleet does not tell which devices its open wave adds"),
    ],
)
def test_the_open_wave_speaks_for_itself(wave, action, reason):
    """However many devices of earlier waves serve the version."""
    decision = decided(of(devices=900, serving=900, wave=wave, **ALL_LOOK))
    assert (decision.action, decision.reason[: len(reason)]) == (action, reason)


def test_one_bad_device_is_not_a_fleet_where_the_limit_says_so():
    limits = msgspec.structs.replace(LIMITS, failed=0.1)
    two = of(devices=2, serving=0, failed=2, wave=ReportedWave(2, 0, 2, 0))
    assert decided(two, limits).action == "wait"
    three = of(devices=3, serving=0, failed=3, wave=ReportedWave(3, 0, 3, 0))
    assert decided(three, limits).action == "withdraw"


def test_old_answers_raise_nothing_and_still_withdraw():
    assert decided(GOOD, age=timedelta(minutes=10)).action == "raise"
    for age in (timedelta(minutes=12), timedelta(minutes=-12)):
        assert "the fleet's answer is of 2027-01-31" in decided(GOOD, age=age).reason
        assert decided(of(failed=40, serving=0), age=age).action == "withdraw"


def test_a_wave_soaks_and_no_answer_is_no_good_one():
    decision = decided(GOOD, since=timedelta(minutes=29))
    assert decision.action == "wait"
    assert decision.reason == "soak is 30 m, and wave 1 of 3 (10 %) is open for 29 m"
    waved = opened(waves(0.1, 1), 1, NOW - HOUR)
    decision = decide(2, waved, 1, LIMITS, None, NOW, HOUR)
    assert (decision.action, decision.reason) == ("wait", "the fleet does not answer")
    decision = decide(2, waved, 3, LIMITS, FleetAnswer(NOW, [GOOD]), NOW, HOUR)
    assert decision.reason == "version 3 has overtaken it: withdraw it, or leave it"


def test_what_waits_for_a_time_is_not_raised_before():
    first, second, last = waves(0.1, 0.5, 1).waves
    later = (NOW + HOUR).isoformat()
    for plan in (
        (replace(first, not_before=later), second, last),
        (first, replace(second, after=7200), last),
        (first, replace(second, after=7200, opens="time"), last),
    ):
        assert decided(GOOD, waves=plan).action == "wait"


def test_a_version_of_all_devices_is_judged_by_its_failures_alone():
    assert failed(LIMITS, of(failed=1)).startswith("failed is 1 of 40")
    assert not failed(LIMITS, of(drift=40, decay=40))
    assert not failed(LIMITS, None)


# the fleet's server


class FleetServer:
    """Answers what a test says.

    Attributes:
        reports: of versions; a text is answered as it is.
        status: of each answer.
        seen: the paths and tokens of requests.
    """

    def __init__(self) -> None:
        self.reports: list[ReportedVersion] | bytes = []
        self.location = ""  # that a redirect leads to
        self.status, self.seen = 200, list[tuple[str, str | None]]()
        self.late = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.seen.append((self.path, self.headers["Authorization"]))
                body = server.body()
                self.send_response(server.status)
                if server.location:
                    self.send_header("Location", server.location)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def body(self) -> bytes:
        if isinstance(self.reports, bytes):
            return self.reports
        return msgspec.json.encode(FleetAnswer(datetime.now(timezone.utc), self.reports))

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[FleetServer]:
    made = FleetServer()
    yield made
    made.close()


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "does not answer as expected"),
        (b"[]", "does not answer as expected"),
        (b'{"time": "2027-01-31T06:00:00", "models": []}', "a time without a zone"),
        (b'{"time": "soon", "models": []}', "does not answer as expected"),
        (b'{"time": "2027-01-31T06:00:00Z", "models": [{"model": "m"}]}', "missing required field"),
        (
            b'{"time": "2027-01-31T06:00:00Z", "models": [{"model": "m", "version": 2, "devices":'
            b' 1, "serving": -1, "failed": 0}]}',
            "Expected `int` >= 0",
        ),
        (
            b'{"time": "2027-01-31T06:00:00Z", "models": [{"model": "m", "version": 2, "devices":'
            b' 1, "serving": 5, "failed": 0}]}',
            "more devices of m 2 than there are",
        ),
        (
            b'{"time": "2027-01-31T06:00:00Z", "models": ['
            + b", ".join(
                [b'{"model": "m", "version": 2, "devices": 1, "serving": 1, "failed": 0}'] * 2
            )
            + b"]}",
            "a version of m twice",
        ),
        (b" " * ((4 << 20) + 1), "over 4194304 bytes"),
    ],
)
def test_an_answer_that_cannot_be_is_none(server, body, sentence):
    server.reports = body
    with pytest.raises(EdgelineError, match=re.escape(sentence)):
        answers.ask(server.url, "m", "")


def test_fields_of_a_later_fleet_are_no_fault(server):
    server.reports = json.dumps(
        {
            "time": NOW.isoformat(),
            "page": 1,
            "models": [
                {**msgspec.to_builtins(GOOD), "slots": 4},
                {**msgspec.to_builtins(GOOD), "model": "n"},
            ],
        }
    ).encode()
    assert answers.ask(server.url + "/", "m", "secret") == FleetAnswer(NOW, [GOOD])
    assert server.seen == [("/v1/fleet/versions?model=m", "Bearer secret")]


def test_a_fleet_that_refuses_names_the_token(server):
    server.status = 401
    with pytest.raises(EdgelineError, match="answers 401: check the token"):
        answers.ask(server.url, "m", "wrong")
    with pytest.raises(EdgelineError, match="cannot be asked"):
        answers.ask("http://127.0.0.1:9", "m", "")


def test_a_token_is_not_led_on_to_another_host(server):
    """A fleet's server, or what stands in for it, redirects."""
    other = FleetServer()
    try:
        server.status, server.location = 302, f"{other.url}/taken"
        other.reports = [GOOD]
        assert answers.ask(server.url, "m", "secret").models == [GOOD]
        assert server.seen[0][1] == "Bearer secret"
        assert other.seen == [("/taken", None)]
    finally:
        other.close()


# the command


RULES = """
interval: 1s
rules:
  - model: m
    limits: {failed: 0.02, min_devices: 2, soak: SOAK}
"""
Run = Callable[..., Result]


@pytest.fixture
def run(publisher, server, tmp_path, monkeypatch) -> Run:
    """`edgeline fleet watch` once, of a repository whose version 2 has three waves."""
    folder = bundle(tmp_path / "bundle", model(2))
    signing = [str(publisher.keys)]
    actions.add(str(publisher.path), folder, signing, waves=waves(0.1, 0.5, 1))
    (tmp_path / "rules.yaml").write_text(RULES.replace("SOAK", "0"))
    monkeypatch.setenv("EDGELINE_FLEET_TOKEN", "secret")

    def run(*options: str) -> Result:
        given = ["--fleet", server.url, "--repository", str(publisher.path), "--once", *options]
        key = [] if "--dry-run" in options else ["--key", *signing]
        return CliRunner().invoke(
            cli, ["fleet", "watch", str(tmp_path / "rules.yaml"), *given, *key]
        )

    return run


def rollout(publisher) -> tuple[int, int]:
    """How many waves are open, and how many versions devices without waves would take."""
    found = status(str(publisher.path))
    good = [each for each in found["versions"] if not each.get("withdrawn")]
    return next((each["open"] for each in found["rollouts"]), 0), len(good)


def test_each_look_opens_one_wave_and_the_last_one_ends_them(run, publisher, server):
    server.reports = [GOOD]
    done = run()
    assert done.exit_code == 0, done.output
    assert (
        "m 2: wave 2 of 3 is opened: 40 of the 40 devices that wave 1 adds serve it" in done.output
    )
    assert rollout(publisher) == (2, 1)
    assert "wave 3 of 3 is opened" in run().output
    assert rollout(publisher) == (0, 2)
    assert "no version of it has waves that are not all open" in run().output
    path, token = server.seen[0]
    assert token == "Bearer secret"
    assert parse_qs(urlsplit(path).query)["waves"] == ['{"2":[{"millionths":100000,"groups":[]}]}']


def test_the_last_wave_is_watched_too_and_what_had_no_waves_is_not(
    run, publisher, server, tmp_path
):
    server.reports = [GOOD]
    run()
    run()
    server.reports = [of(failed=20, serving=20), of(version=1, failed=20, serving=20)]
    run()
    assert rollout(publisher) == (0, 2)  # it has soaked for no time
    (tmp_path / "rules.yaml").write_text(RULES.replace("SOAK", "1h"))
    assert "m 2: it is withdrawn: failed is 20 of 40 devices" in run().output
    assert "withdrawn" not in run().output
    assert rollout(publisher) == (0, 1)


def test_a_dry_run_does_nothing_and_tells_json(run, publisher, server):
    server.reports = [of(failed=9)]
    [line] = run("--dry-run", "--json").output.splitlines()
    told = json.loads(line)
    assert (told["action"], told["version"], told["dry_run"]) == ("withdraw", 2, True)
    assert told["report"]["failed"] == 9
    assert rollout(publisher) == (1, 1)


def test_a_fleet_that_does_not_answer_raises_nothing(run, publisher, server):
    server.status = 503
    done = run()
    assert done.exit_code == 1
    assert "nothing is done: The fleet" in done.output
    assert "m 2: waits: the fleet does not answer." in done.output
    assert rollout(publisher) == (1, 1)


def test_a_fault_of_this_program_ends_one_look_at_one_model_and_no_watch(publisher, caplog):
    told: list[dict[str, Any]] = []

    def ask(model: str, _: object) -> FleetAnswer:
        if model == "m":
            raise RuntimeError("a fault")
        return FleetAnswer(NOW, [])

    limits = WatchLimits(failed=0.1)
    rules = watch_rules.WatchFile([WatchRule("m", limits), WatchRule("n", limits)])
    assert not FleetWatch(rules, str(publisher.path), ask, told.append).look(NOW)
    assert [(each["model"], each["action"]) for each in told] == [("m", "error"), ("n", "wait")]
    assert told[0]["reason"] == "the look failed (RuntimeError: a fault)"
    assert "The look at m failed" in caplog.text


def test_what_lacks_signatures_is_told_and_not_decided_again(run, publisher, server):
    ann = publisher.key("ann")
    signing = [str(publisher.keys), ann]
    actions.rotate_keys(str(publisher.path), "targets", signing, [f"{ann}.pub"], [], 2)
    actions.sign(str(publisher.path), signing)
    server.reports = [GOOD]
    assert "It waits for signatures (1 of targets)" in run().output
    assert "what was decided before waits for signatures" in run().output
    server.reports = [of(failed=9)]
    assert "It waits for signatures (1 of targets)" in run().output
    number = roles.read(open_place(str(publisher.path))).staged["targets"].signed.version
    assert "no version of it has waves" in run().output
    assert roles.read(open_place(str(publisher.path))).staged["targets"].signed.version == number
    actions.sign(str(publisher.path), signing)
    assert rollout(publisher) == (0, 1)


def test_a_watch_looks_until_it_is_ended(run, publisher, server, tmp_path):  # noqa: ARG001
    server.reports = [GOOD]
    given = ["--fleet", server.url, "--repository", str(publisher.path), "--json"]
    command = [sys.executable, "-m", "edgeline", "fleet", "watch", str(tmp_path / "rules.yaml")]
    watch = subprocess.Popen(
        [*command, *given, "--key", str(publisher.keys)], stdout=subprocess.PIPE, env=os.environ
    )
    assert watch.stdout is not None
    told = [json.loads(watch.stdout.readline()) for _ in range(3)]
    watch.send_signal(signal.SIGTERM)
    watch.communicate(timeout=30)
    assert watch.returncode == 0
    assert [each["action"] for each in told] == ["raise", "raise", "wait"]


@pytest.mark.parametrize("writes", range(4))
def test_a_kill_between_two_writes_is_made_good_by_the_next_look(
    run, publisher, server, tmp_path, monkeypatch, writes
):
    """And devices are never shown a list that does not verify."""

    class Killed(BaseException):
        pass

    left, write = [writes], Folder.write

    def until(self: Folder, path: str, content: bytes) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        write(self, path, content)

    server.reports = [of(failed=9)]
    with monkeypatch.context() as patched, suppress(Killed):
        patched.setattr(Folder, "write", until)
        run()
    order = UpdateOrder(str(publisher.path), str(publisher.root), str(tmp_path / "state"))
    assert synchronise(order).outcome == "ok"
    run()
    assert rollout(publisher) == (0, 1)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("rules: []", "at least|length >= 1"),
        ("rules: [{model: m}]", "missing required field `limits`"),
        ("rules: [{model: m, limits: {drift: 1}}]", "missing required field `failed`"),
        ("rules: [{model: m, limits: {failed: 2}}]", "<= 1"),
        ("rules: [{model: m, limits: {failed: 0.1, loss: 3}}]", "unknown field `loss`"),
        ("rules: [{model: m, limits: {failed: 0.1, soak: soon}}]", "soak of m: 'soon'"),
        ("rules: [{model: M, limits: {failed: 0.1}}]", "'M' is not a model's name"),
        ("interval: 0\nrules: [{model: m, limits: {failed: 0.1}}]", "interval is 0: give 1 s to"),
        (
            "rules: [{model: m, limits: {failed: 0.1}}, {model: m, limits: {failed: 0.1}}]",
            "the model m has two rules",
        ),
    ],
)
def test_rules_that_cannot_be_are_refused_in_a_sentence(tmp_path: Path, text, sentence):
    (tmp_path / "rules.yaml").write_text(text)
    with pytest.raises(UsageError, match=sentence) as refused:
        watch_rules.read(tmp_path / "rules.yaml")
    assert str(refused.value).startswith(str(tmp_path / "rules.yaml"))


def test_without_a_key_nothing_is_watched(run, tmp_path, publisher):  # noqa: ARG001
    given = ["--fleet", "https://fleet.example", "--repository", str(publisher.path)]
    done = CliRunner().invoke(cli, ["fleet", "watch", str(tmp_path / "rules.yaml"), *given])
    assert "give --key, or --dry-run" in str(done.exception)
