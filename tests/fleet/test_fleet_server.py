"""The list of devices over HTTP: who is let in, what is believed, what is told of them."""

from __future__ import annotations

import json
import random
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import pytest
from fleet_serving import BEARER, Device, FleetServing, ran, token_file

from edgeline.server.fleet import protocol, signatures


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetServing]:
    """One for tests that name their own devices and models."""
    running = FleetServing(tmp_path_factory.mktemp("fleet"), "--rate", "5000")
    yield running
    assert running.stop() == 0
    assert "Traceback" not in running.log, running.log


def test_a_device_is_enrolled_and_what_it_tells_is_shown(server: FleetServing) -> None:
    device = server.enrolled("shown-1", groups=["north", "trucks"])
    told = ran("shown", 3, latency_p95_ms=7.5, drift=["fare"], requests=10, errors=1)
    failed = ran("shown", 4, "failed", why="the trial failed: 3 of 32 rows are off")
    assert device.post(told, failed, memory_bytes=91_000_000, edgeline="9.9") == (200, {"taken": 1})
    (found,) = server.listed("?q=shown-")
    assert found["state"] == "current"
    assert found["groups"] == ["north", "trucks"]
    assert found["memory_bytes"] == 91_000_000
    assert found["models"][1]["why"] == "the trial failed: 3 of 32 rows are off"


def test_a_device_is_in_the_groups_that_it_tells_and_those_of_its_token_are_beside(
    server: FleetServing,
) -> None:
    device = server.enrolled("grouped-1", groups=["north"])
    assert device.post(ran("grouped", 1), groups=["berlin"]) == (200, {"taken": 1})
    for group in ("north", "berlin"):
        (found,) = server.listed(f"?q=grouped-&group={group}")
        assert (found["groups"], found["token_groups"]) == (["berlin"], ["north"])
    assert device.post(groups=["Not_A.Name"])[0] == 400
    assert server.ask("POST", "/v1/fleet/tokens", {"groups": ["Not_A.Name"]})[0] == 400


def test_versions_are_counted_as_who_raises_waves_reads_them(server: FleetServing) -> None:
    models = [
        *[[ran("waves", 7, latency_p95_ms=float(n))] for n in range(1, 5)],
        [ran("waves", 8, latency_p95_ms=9.0, decay=True, drift=True)],
        [ran("waves", 8, "trying")],
        [ran("waves", 7), ran("waves", 8, "failed")],
        [ran("waves", 7), ran("waves", 8, "returned")],
        [ran("waves", 7), ran("waves", 8, "waiting", why="wave 2 of 3")],
    ]
    for number, each in enumerate(models):
        assert server.enrolled(f"waves-{number}").post(*each)[0] == 200

    def counted() -> list[dict[str, object]]:
        found = server.ask("GET", "/v1/fleet/versions?model=waves")[1]
        return list(found["models"])

    end = time.monotonic() + 20
    while sum(each["devices"] for each in counted()) < 11:  # a count is given again for a moment
        assert time.monotonic() < end, counted()
        time.sleep(0.1)
    fields = ["model", "version", "devices", "serving", "failed", "drift", "decay"]
    fields += ["latency_p95_ms", "stale", "drift_devices", "decay_devices", "latency_devices"]
    assert counted() == [  # the devices that tell of drift are those that look for it
        dict(zip(fields, ("waves", 7, 7, 7, 0, None, None, 4.0, 0, 0, 0, 4), strict=True)),
        dict(zip(fields, ("waves", 8, 4, 1, 2, 1, 1, 9.0, 0, 1, 1, 1), strict=True)),
    ]
    query = '{"8":[{"millionths":1000000,"groups":[]}]}'
    found = server.ask("GET", f"/v1/fleet/versions?model=waves&waves={quote(query)}")[1]
    assert "wave" not in found["models"][0]
    wave = found["models"][1]["wave"]
    assert wave["devices"] >= len(models)  # all that are enrolled, and those of other tests
    assert (wave["serving"], wave["failed"]) == (1, 2)
    for wrong in ("[]", '{"8":[]}', '{"8":[{"millionths":0}]}', "{"):
        status, said = server.ask("GET", f"/v1/fleet/versions?model=waves&waves={quote(wrong)}")
        assert status == 400, said
    name = 'edgeline_fleet_version_devices{model="waves",version="8",outcome="waiting"}'
    assert server.metric(name) == 1
    shown = server.ask("GET", "/v1/fleet/summary")[1]
    (waits,) = [each for each in shown["waits"] if each["model"] == "waves"]
    assert waits["why"] == "wave 2 of 3"


def test_a_replay_and_an_earlier_status_are_refused(server: FleetServing) -> None:
    device = server.enrolled("replayed-1")
    first, second = device.status(), device.status()
    assert device.send(second)[0] == 200
    for body in (second, first):
        status, found = device.send(body)
        assert (status, found["error"].split(":")[0]) == (
            409,
            f"counter is {json.loads(body)['counter']}, and 2 was there",
        )
    device.counter = 2**53 - 2
    assert device.post()[0] == 200
    assert device.post()[0] == 400  # no reader of JSON would keep it exactly
    assert server.enrolled("replayed-2").post()[0] == 200  # it locks out nobody else


def test_nobody_speaks_for_another_device(server: FleetServing) -> None:
    mine, other = server.enrolled("mine"), server.enrolled("other")
    body = other.status()
    forged = {**mine.signed(body), protocol.DEVICE: "other"}
    assert server.ask("POST", protocol.STATUS, body, forged)[0] == 403
    status, found = mine.send(body)
    assert status == 400
    assert "'other', and mine has signed" in found["error"]
    changed = body.replace(b'"models"', b'"Models"')
    assert server.ask("POST", protocol.STATUS, changed, other.signed(body))[0] == 403
    assert server.ask("POST", protocol.STATUS, body, {})[0] == 401
    stranger = {**mine.signed(body), protocol.DEVICE: "stranger"}
    assert server.ask("POST", protocol.STATUS, body, stranger)[0] == 403
    for signature in ("", "x", "é", "A" * 88, "A" * 5000):
        headers = {protocol.DEVICE: "mine", protocol.SIGNATURE: signature}
        assert server.ask("POST", protocol.STATUS, body, headers)[0] in (401, 403)
    assert other.send(body)[0] == 200  # none of this has cost it its counter


def test_what_is_too_large_is_refused_before_it_is_read(server: FleetServing) -> None:
    device = server.enrolled("large-1")
    assert device.post(note="x" * 1_000_000)[0] == 413
    assert device.post(*[ran("large", n) for n in range(65)])[0] == 400
    assert device.post(ran("large", 1, why="x" * 501))[0] == 400
    assert device.post(ran("large", 1), ran("large", 1, "failed"))[0] == 400
    assert device.post(ran("large", 1))[0] == 200


def test_a_lost_device_is_revoked_and_comes_back_by_a_token_of_its_own(
    server: FleetServing,
) -> None:
    device = server.enrolled("lost-1")
    assert device.post()[0] == 200
    assert server.ask("POST", "/v1/fleet/revoke", {"device": "lost-1"})[0] == 200
    status, found = device.post()
    assert status == 403
    assert "lost-1 is revoked" in found["error"]
    assert device.enrol(server.token(device="lost-1"))[0] == 409  # its key is not trusted again
    device.counter = 0
    before = device.status()
    signed = device.signed(before)
    device.key = signatures.new_key()
    status, found = device.enrol(server.token(groups=["north"]))
    assert status == 403
    assert "only a token that was made for it" in found["error"]
    assert device.enrol(server.token(device="lost-1"))[0] == 200
    assert device.post()[0] == 200
    assert server.ask("POST", protocol.STATUS, before, signed)[0] == 403  # by the key of before
    assert server.ask("POST", "/v1/fleet/revoke", {"device": "nobody"})[0] == 404


def test_a_token_enrols_one_device_once(server: FleetServing) -> None:
    device = server.enrolled("once-1")
    token = server.token(device="once-2")
    device.name, device.key = "once-3", signatures.new_key()
    assert device.enrol(token)[0] == 403  # it is for another
    device.name = "once-2"
    assert device.enrol(token)[0] == 200
    assert device.post()[0] == 200
    assert device.enrol(token)[0] == 200  # the answer may have been lost
    assert device.send(device.status())[0] == 200  # and the counter is as it was
    device.key = signatures.new_key()
    assert device.enrol(token)[0] == 403
    assert device.enrol("A" * 43)[0] == 403  # a token that nobody made


def test_a_clock_that_is_off_is_named_and_does_no_harm(server: FleetServing) -> None:
    device = server.enrolled("clock-1")
    assert device.post(time=time.time() + 7200)[0] == 200
    assert device.post(time=0)[0] == 200
    (found,) = server.listed("?q=clock-1")
    assert found["state"] == "current"
    assert found["clock_ahead_seconds"] < -1e9


def test_devices_come_in_pages_and_by_what_is_asked(server: FleetServing) -> None:
    for number in range(5):
        server.enrolled(f"paged-{number}", device=f"paged-{number}", groups=["even"][number % 2 :])
    names, after = [], ""
    while True:
        path = f"/v1/fleet/devices?q=paged&limit=2&after={after}"
        found = server.ask("GET", path)[1]
        names += [each["device"] for each in found["devices"]]
        if not (after := found["next"]):
            break
    assert names == [f"paged-{number}" for number in range(5)]
    assert len(server.listed("?q=PAGED&group=even")) == 3
    assert {each["state"] for each in server.listed("?q=paged&state=silent")} == {"silent"}
    for wrong in ("limit=0", "limit=x", "state=new", "outcome=x", "version=x", "other=1"):
        assert server.ask("GET", f"/v1/fleet/devices?{wrong}")[0] == 400
    assert server.ask("GET", "/v1/fleet/devices?" + "&".join(["q"] * 30))[0] == 400


def test_300_bodies_of_broken_devices_fail_nothing(server: FleetServing) -> None:
    values = [
        *(None, True, False, 0, -1, 2**63, 1e308, "", "x" * 300, "\ud800", [], {}, [[]]),
        *({"a": None}, [None] * 200, "NaN", 1.5, "\x00", [{"model": "m"}]),
    ]
    fields = ["device", "counter", "time", "models", "interval", "edgeline", "update", "extra"]

    def fuzz(seed: int) -> set[int]:
        device, chance, seen = devices[seed], random.Random(seed), set()
        for number in range(10):
            told = json.loads(device.status(ran("fuzzed", 1)))
            target = told if number % 3 else told["models"][0]
            names = fields if number % 3 else [*target, "why", "drift", "decay", "latency_p95_ms"]
            target[chance.choice(names)] = chance.choice(values)
            body = json.dumps(told).encode()
            if number % 7 == 0:
                place = chance.randrange(len(body))
                body = body[:place] + bytes([chance.randrange(256)]) + body[place + 1 :]
            elif number == 5:
                body = b'{"device": ' + b"[" * 20_000
            status, found = device.send(body)
            assert status < 500, (body, found)
            seen.add(status)
        return seen

    tokens = server.ask("POST", "/v1/fleet/tokens", {"groups": ["fuzzed"], "number": 30})[1][
        "tokens"
    ]
    devices = [Device(server, f"fuzzed-{seed}") for seed in range(30)]
    with ThreadPoolExecutor(30) as pool:
        enrolled = pool.map(lambda device, token: device.enrol(token)[0], devices, tokens)
        assert set(enrolled) == {200}
        assert set[int]().union(*pool.map(fuzz, range(30))) >= {200, 400}
    for body in (b"", b"[]", b"\xff", b"[" * 50_000, b'{"token": 1}', b'{"device": {}}'):
        for path in (protocol.ENROLL, "/v1/fleet/tokens", "/v1/fleet/revoke"):
            assert server.ask("POST", path, body)[0] < 500, (path, body)


def test_what_is_not_there_is_told(server: FleetServing) -> None:
    assert server.ask("GET", "/v1/fleet/status")[0] == 405
    assert server.ask("DELETE", "/v1/fleet/devices")[0] == 405
    assert server.ask("GET", "/nothing")[0] == 404
    assert server.ask("GET", "/healthz") == (200, {"healthy": True})
    status, page = server.ask("GET", "/", None, {"Accept": "text/html"})
    assert status == 200
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")  # it is self-contained


def test_a_kill_loses_nothing_that_was_answered_and_lets_in_no_replay(tmp_path: Path) -> None:
    server = FleetServing(tmp_path)
    devices = [server.enrolled(f"killed-{number}") for number in range(3)]
    bodies = [device.status(ran("killed", 1)) for device in devices]
    for device, body in zip(devices, bodies, strict=True):
        assert device.send(body)[0] == 200
    server.stop(signal.SIGKILL)
    again = FleetServing(tmp_path)
    for device, body in zip(devices, bodies, strict=True):
        device.server = again
        assert device.send(body)[0] == 409
        assert device.post(ran("killed", 2))[0] == 200
    assert [each["counter"] for each in again.listed()] == [2, 2, 2]
    assert again.stop() == 0


def test_strangers_use_up_nothing_of_known_devices(tmp_path: Path) -> None:
    server = FleetServing(tmp_path, "--rate", "2")  # as behind an ingress: one address for all
    device, stranger = server.enrolled("known"), Device(server, "stranger")
    refused = [stranger.enrol("A" * 43)[0] for _ in range(5)]
    assert (refused[0], refused[-1]) == (403, 429)  # what is refused counts ten times
    assert stranger.post()[0] == 429
    assert server.ask("POST", protocol.STATUS, b"{}")[0] == 429
    assert [device.post()[0] for _ in range(3)] == [200] * 3
    assert server.stop() == 0


def test_tokens_say_who_may_read_and_who_may_change(tmp_path: Path) -> None:
    server = FleetServing(tmp_path, "--tokens", str(token_file(tmp_path)), "--rate", "2")
    bearer = {scope: {"Authorization": f"Bearer {token}"} for scope, token in BEARER.items()}
    assert server.ask("GET", "/v1/fleet/versions")[0] == 401
    assert server.ask("GET", "/v1/fleet/versions", None, bearer["read"])[0] == 200
    assert server.ask("GET", "/metrics", None, bearer["read"])[0] == 403
    asked = {"device": "a"}
    assert server.ask("POST", "/v1/fleet/tokens", asked, bearer["read"])[0] == 403
    assert server.ask("POST", "/v1/fleet/tokens", asked, bearer["admin"])[0] == 200
    found = [server.ask("POST", protocol.STATUS, b"{}")[0] for _ in range(5)]
    assert found[0] == 401
    assert found[-1] == 429  # what is refused counts ten times
    assert server.ask("GET", "/healthz")[0] == 200
    assert server.stop() == 0
