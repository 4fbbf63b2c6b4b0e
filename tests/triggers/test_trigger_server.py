"""A real server: what it takes and refuses over HTTP, and 300 damaged requests."""

from __future__ import annotations

import gzip
import json
import random
import signal
import threading
import time
from collections.abc import Callable
from http.client import HTTPException
from urllib.parse import quote

import pytest
from made_events import document
from running import eventually
from trigger_serving import KEY, RULES, TOKEN, Serving

from edgeline.triggers.events import BATCH, SIGNATURE, STRUCTURED, signature

pytestmark = pytest.mark.slow
BEARER = {"Authorization": f"Bearer {TOKEN}"}


def now(ahead: float = 0.0) -> float:
    return time.time() + ahead


def binary(event: dict, **headers: str) -> tuple[bytes, dict[str, str]]:
    """An event in binary mode, signed."""
    body = json.dumps(event["data"]).encode()
    attributes = {
        name: value for name, value in event.items() if name not in ("data", "datacontenttype")
    }
    given = {f"ce-{name}": quote(value) for name, value in attributes.items()}
    given |= {"Content-Type": "application/json", SIGNATURE: signature(KEY, body), **headers}
    return body, given


def test_what_is_taken_and_what_is_refused(serving: Callable[..., Serving]):
    server = serving("--tokens", "tokens.json")
    one = document("a", "fare", id="1", time=now())
    status, said = server.send(one)
    assert (status, [each["result"] for each in said["events"]]) == (202, ["counted"])
    assert server.send(one)[1]["events"][0]["result"] == "repeated"

    status, said = server.send(one, key=None)
    assert (status, "not signed" in said["error"]) == (401, True)
    assert server.send(one, key=b"another")[0] == 403
    assert server.send(one, Content_Encoding="gzip")[0] == 415
    status, said = server.send(document("a", "fare", id="2", time=now(-4000)))
    assert (status, "replay" in said["error"]) == (410, True)
    past = document("a", "fare", id="3", time=now(), expirytime="2020-01-01T00:00:00Z")
    status, said = server.send(past)
    assert (status, "expirytime" in said["error"]) == (410, True)
    assert server.send(document("a", "fare", id="4", time=now(1000)))[0] == 400
    for wrong, expected in (
        (b"[]", 400),
        (b"{", 400),
        (json.dumps({**one, "specversion": "0.3"}).encode(), 400),
        (json.dumps({**one, "id": ""}).encode(), 400),
        (json.dumps({**one, "id": "a\nb"}).encode(), 400),
        (json.dumps({**one, "time": "yesterday"}).encode(), 400),
        (json.dumps({**one, "data": [1]}).encode(), 400),
        (json.dumps({**one, "id": "5", "more": "x" * 70_000}).encode(), 413),
        (b"[" * 100_000, 400),
    ):
        assert server.send(wrong)[0] == expected, wrong[:80]
    assert server.send(b" " * ((1 << 20) + 1))[0] == 413
    assert server.send(one, Content_Type="text/plain")[0] == 415

    body, headers = binary(document("b", "miles", id="é 6", time=now()))
    status, said = server.ask("POST", "/events", body, headers)
    assert (status, "structured mode" in said["error"]) == (403, True)
    status, said = server.ask("POST", "/events", body, {**headers, **BEARER})
    assert (status, said["events"][0]["id"]) == (202, "é 6")

    both = [document("b", "miles", id="7", time=now()), document("b", id="8", time=now(-4000))]
    body = json.dumps(both).encode()
    headers = {"Content-Type": BATCH, SIGNATURE: signature(KEY, body)}
    status, said = server.ask("POST", "/events", body, headers)
    assert (status, [each["result"] for each in said["events"]]) == (202, ["counted", "too_old"])

    for path, wanted in (("/state", 401), ("/metrics", 401), ("/healthz", 200), ("/", 404)):
        assert server.ask("GET", path)[0] == wanted
    assert server.ask("GET", "/events")[0] == 405
    status, state = server.ask("GET", "/state", headers=BEARER)
    assert state["rules"][0]["waits_for"] == [
        "1 of the 2 devices (of 3) that it takes in fare within 3600 s"
    ]
    text = server.ask("GET", "/metrics", headers=BEARER)[1]
    assert 'edgeline_trigger_events_total{result="repeated"} 1\n' in text
    assert 'edgeline_trigger_events_total{result="too_old"} 2\n' in text
    assert 'edgeline_trigger_devices{rule="retrain"} 1\n' in text
    _damaged(server)


def test_a_batch_without_room_is_sent_again_as_a_whole(serving: Callable[..., Serving]):
    server = serving(rules=f"max_events: 4\n{RULES}")
    body = json.dumps([document("a", "fare", id=str(each), time=now()) for each in range(6)])
    headers = {"Content-Type": BATCH, SIGNATURE: signature(KEY, body.encode())}
    for first in ("counted", "repeated"):
        status, said = server.ask("POST", "/events", body.encode(), headers)
        assert status == 503
        assert said["error"].startswith("Not every event is taken: too many events are rem")
        assert [each["result"] for each in said["events"]] == [first] * 4 + ["full"] * 2


def _damaged(server: Serving) -> None:
    """300 mutated requests: each is answered, none with 5xx, and the server goes on."""
    chance = random.Random(7)
    for number in range(300):
        one = document(f"d{number % 7}", "fare", id=str(number), time=now())
        kind = chance.choice(["structured", "batch", "binary"])
        if kind == "binary":
            body, headers = binary(one, **BEARER)
        else:
            body = json.dumps([one] * 3 if kind == "batch" else one).encode()
            headers = {"Content-Type": BATCH if kind == "batch" else STRUCTURED}
        body = _mutated(chance, body)
        if chance.random() < 0.2:
            body = gzip.compress(body)
            headers["Content-Encoding"] = "gzip"
        for name in list(headers):
            if chance.random() < 0.1:
                value = headers[name].encode("latin-1", "replace")
                text = _mutated(chance, value).decode("latin-1")
                headers[name] = "".join(sign for sign in text if sign.isprintable())
        headers[SIGNATURE] = signature(KEY, body)
        status, _ = server.ask("POST", "/events", body, headers)
        assert status < 500, (number, body)
    assert server.ask("GET", "/healthz")[0] == 200


def _mutated(chance: random.Random, body: bytes) -> bytes:
    changed = bytearray(body)
    for _ in range(chance.randint(0, 6)):
        place = chance.randrange(len(changed) + 1)
        kind = chance.random()
        if kind < 0.3:
            changed[place : place + chance.randint(0, 9)] = b""
        elif kind < 0.6:
            changed[place:place] = bytes(chance.choices(range(256), k=chance.randint(1, 5)))
        elif kind < 0.8:
            other = chance.choice(
                [b"null", b"1e999", b"-1", b"[[", b"{}", b"\\ud800", b'"', b"\x00"]
            )
            changed[place:place] = other
        else:
            changed += changed[place:]
    return bytes(changed)


def test_without_a_key_a_token_is_asked_for_and_other_sites_pages_are_refused(
    serving: Callable[..., Serving],
):
    server = serving("--tokens", "tokens.json", key=None)
    body = json.dumps(document("a", "fare", time=now())).encode()
    kind = {"Content-Type": STRUCTURED}
    assert server.ask("POST", "/events", body, kind)[0] == 401
    assert server.ask("POST", "/events", body, {**kind, "Authorization": "Bearer x"})[0] == 401
    assert server.ask("POST", "/events", body, {**kind, **BEARER})[0] == 202
    server.stop()
    server = serving(key=None)  # a program on this machine may, and no page and no proxy
    for foreign in ({"Origin": "https://a.example"}, {"X-Forwarded-For": "10.0.0.1"}):
        assert server.ask("POST", "/events", body, {**kind, **foreign})[0] == 403
        assert server.ask("GET", "/state", headers=foreign)[0] == 403
    assert server.ask("POST", "/events", body, kind)[1]["events"][0]["result"] == "repeated"


def test_who_sends_too_fast_waits(serving: Callable[..., Serving]):
    server = serving("--rate", "0.5")
    one = document("a", "fare", id="1", time=now())
    statuses = [server.send(one)[0] for _ in range(8)]
    assert statuses[:5] == [202] * 5 and 429 in statuses[5:]


def test_a_server_that_is_killed_finds_its_run_and_ends_one_run(serving: Callable[..., Serving]):
    first = serving("--rate", "100000")
    one, two = (document(each, "fare", id=each, time=now()) for each in "ab")
    assert first.send(one)[0] == 202
    assert first.send(two)[0] == 202
    first.stop(signal.SIGKILL)
    server = serving("--rate", "100000")
    for _ in range(1000):  # as senders repeat what was not answered
        assert server.send(two)[1]["events"][0]["result"] == "repeated"
    found: list[dict] = []

    def is_over() -> bool:
        found[:] = server.ask("GET", "/state")[1]["rules"][0]["runs"]
        return found[0]["state"] not in ("decided", "starting", "running")

    eventually(is_over, 120.0)
    [run] = found
    assert (run["state"], run["feature"], run["devices"]) == ("succeeded", "fare", ["/a", "/b"])
    assert (server.folder / "ran.txt").read_text() == "read grow tell "
    [record] = (server.folder / "edgeline-triggers" / "runs" / run["mark"]).glob("*/run.json")
    assert json.loads(record.read_text())["given"] == {"word": "retrain", "times": 2}
    assert server.state()["rules"][0]["runs"] == found
    assert server.stop() == 0


@pytest.mark.parametrize("seed", range(2))
def test_kills_while_events_come_and_a_run_goes_on(seed: int, serving: Callable[..., Serving]):
    """A process with its sockets, its run and its restarts, killed whenever it comes."""
    chance = random.Random(seed)
    kills = 4

    def begun() -> Serving:
        nonlocal kills
        server = serving("--rate", "100000")
        if kills:
            kills -= 1
            delay = chance.uniform(0.0, 2.0)
            threading.Timer(delay, server.process.kill).start()
        return server

    server = begun()

    def told(ask: Callable[[Serving], tuple[int, dict]]) -> dict:
        """An answer, from whichever server lives to give it."""
        nonlocal server
        while True:
            try:
                status, said = ask(server)
            except (OSError, HTTPException):
                server.process.wait(30)
                server = begun()
                continue
            assert status in (200, 202), said
            return said

    sent = [document(f"d{number}", "fare", time=now()) for number in range(40)]
    for one in sent:
        told(lambda server, one=one: server.send(one))

    def ended() -> bool:
        state = told(lambda server: server.ask("GET", "/state"))
        return not kills and state["rules"][0]["runs"][0]["state"] in ("succeeded", "failed")

    eventually(ended, 120.0)
    server.process.kill()
    server.process.wait(30)
    server = serving()  # which remembers all of it
    assert {server.send(one)[1]["events"][0]["result"] for one in sent} == {"repeated"}
    state = server.ask("GET", "/state")[1]
    assert state["events"]["counted"] == 40
    [run] = state["rules"][0]["runs"]
    assert (run["state"], run["devices"]) == ("succeeded", ["/d0", "/d1"])
    assert (server.folder / "ran.txt").read_text() == "read grow tell "
