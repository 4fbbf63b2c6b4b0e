"""A server whose version is withdrawn: it goes back to one that remains, and loses no request."""

from __future__ import annotations

import json
import shutil
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
from publishing import ROW, model
from running import Running, eventually
from test_page import browse
from test_updates_server import device, kill, score, states

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("passphrase")]

__all__ = ["device"]

PAUSE = 0.03  # between two requests of a client: enough meet each change, and a core is left


@contextmanager
def asking(server: Running, path: str = "/v1/models/m:predict", possible: tuple = (4, 7)):
    """Four clients all the while; every answer has to be that of a version."""
    stop, wrong, counts = threading.Event(), [], [0] * 4

    def client(place: int) -> None:
        while not stop.is_set():
            status, body, _ = server.ask("POST", path, ROW)
            if status != 200 or body["predictions"][0]["score"][0] not in possible:
                wrong.append((status, body))
            counts[place] += 1
            stop.wait(PAUSE)

    threads = [threading.Thread(target=client, args=(place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert wrong == []
    assert min(counts) > 0


@pytest.fixture
def at_two(device, publisher) -> Running:
    """A device that came when version 2 was there, and has no other."""
    publisher.add(model(2), labels=["stable"])
    server = device()
    assert score(server) == 7
    return server


def rollout(tmp_path: Path, **terms) -> str:
    file = tmp_path / "rollouts.json"
    entry = {"model": "m", "weight": 0.5, "automatic": False, "latency_ratio": 0, **terms}
    file.write_text(json.dumps({"rollouts": [entry]}))
    return f"--rollouts={file}"


def scores(server: Running) -> set[float]:
    return {score(server) for _ in range(8)}


def decisions(server: Running) -> list[tuple[str, int, int]]:
    found = server.ask("GET", "/rollouts")[1]["decisions"][::-1]
    return [(d["action"], d["stable"], d["candidate"]) for d in found]


def test_a_withdrawn_version_gives_way_without_a_lost_request(at_two, device, publisher, web):
    with asking(at_two), asking(at_two, "/v1/models/m/labels/stable:predict"):
        publisher.withdraw(2)
        eventually(lambda: score(at_two) == 4)
        eventually(lambda: states(at_two) == {"1": ""})
    assert at_two.metric("edgeline_update_stale") == 0
    eventually(lambda: list(at_two.ask("GET", "/updates")[1]["models"]["m"]) == ["1"])
    assert at_two.metric("edgeline_update_withdrawn_versions") == 0
    at_two.stop()
    web.down = True
    assert score(device()) == 4
    web.down = False


def test_it_serves_on_until_the_other_has_come(at_two, device, publisher, web):
    """Also after a restart without a network: a withdrawn version is still a genuine one."""
    web.cut = 0  # lists come, files do not
    with asking(at_two):
        publisher.withdraw(2)
        eventually(lambda: at_two.metric("edgeline_update_withdrawn_versions") == 1)
        assert at_two.metric("edgeline_update_pending_versions") == 1
        assert at_two.metric('edgeline_update_outcome{result="unreachable"}') == 1
    found = at_two.ask("GET", "/updates")[1]
    assert found["pending"] == {"m": [1]}
    assert found["withdrawn"] == [{"name": "m", "version": 2}]
    kill(at_two)
    web.down = True
    again = device()
    assert score(again) == 7
    web.down, web.cut = False, None
    with asking(again):
        eventually(lambda: score(again) == 4)
    assert again.metric("edgeline_update_withdrawn_versions") == 0


def test_it_serves_on_where_no_other_works(device, publisher):
    publisher.add(model(2), recorded=99)  # other answers than were recorded
    publisher.add(model(3))
    server = device()
    publisher.withdraw(1)
    with asking(server, possible=(10,)):
        publisher.withdraw(3)
        eventually(lambda: "other answers" in states(server).get("2", ""))
        looks = server.metric("edgeline_update_looks_total")
        eventually(lambda: server.metric("edgeline_update_looks_total") > looks + 2)
    assert server.metric("edgeline_update_withdrawn_versions") == 1
    server.stop()
    again = device()
    assert score(again) == 10
    publisher.add(model(1), extra=b"new")
    eventually(lambda: score(again) == 4)


def test_a_device_that_is_away_follows_when_it_is_back(at_two, publisher, web, tmp_path):
    web.down = True
    publisher.withdraw(2)
    eventually(lambda: at_two.metric('edgeline_update_looks_total{result="unreachable"}') > 0)
    assert score(at_two) == 7
    archive = Path(shutil.make_archive(str(tmp_path / "update"), "zip", publisher.path))
    assert at_two.ask("POST", "/updates", archive.read_bytes())[0] == 200  # by hand
    assert score(at_two) == 4
    web.down = False
    looks = at_two.metric('edgeline_update_looks_total{result="ok"}')
    eventually(lambda: at_two.metric('edgeline_update_looks_total{result="ok"}') > looks)
    assert score(at_two) == 4


def test_a_canary_that_is_withdrawn_ends_its_rollout(device, publisher, tmp_path):
    server = device("--poll=0.5", rollout(tmp_path))
    publisher.add(model(2))
    eventually(lambda: scores(server) == {4, 7})
    with asking(server):
        publisher.withdraw(2)
        eventually(lambda: states(server) == {"1": ""})
    assert scores(server) == {4}
    assert decisions(server) == [("start", 1, 2), ("end", 1, 2)]
    publisher.add(model(3))
    eventually(lambda: scores(server) == {4, 10})


def test_a_stable_version_that_is_withdrawn_leaves_the_canary_a_canary(device, publisher, tmp_path):
    publisher.add(model(2))
    server = device("--poll=0.5", rollout(tmp_path))
    assert scores(server) == {7}
    publisher.add(model(3))
    eventually(lambda: scores(server) == {7, 10})
    with asking(server, possible=(4, 7, 10)):
        publisher.withdraw(2)
        eventually(lambda: scores(server) == {4, 10})
    assert decisions(server) == [("start", 2, 3), ("end", 2, 3), ("start", 1, 3)]


def test_the_stable_version_stays_on_the_disk_however_many_are_tried(
    device, publisher, web, tmp_path
):
    option = rollout(tmp_path)
    server = device("--poll=0.5", option)
    for number in (2, 3, 4):
        publisher.add(model(number))
        eventually(lambda number=number: scores(server) == {4, 3 * number + 1})
        if number != 4:
            assert server.ask("POST", "/rollouts/m/return")[0] == 200
    kill(server)
    web.down = True
    again = device("--poll=0.5", option)
    assert scores(again) == {4, 13}
    assert again.ask("POST", "/rollouts/m/return")[0] == 200
    assert scores(again) == {4}
    again.stop()
    assert scores(device("--poll=0.5", option)) == {4}
    web.down = False


def test_a_damaged_disk_in_an_outage_takes_nothing_from_what_serves(at_two, web, tmp_path):
    """A memory card that fails while the network is away: what is loaded goes on."""
    web.down = True
    state = tmp_path / "state"
    with asking(at_two):
        for file in (state / "tuf" / "targets.json", state / "models/m/2/model.tflite"):
            file.unlink()
            file.write_bytes(b"")
            looks = at_two.metric("edgeline_update_looks_total")
            eventually(lambda n=looks: at_two.metric("edgeline_update_looks_total") > n + 1)
    web.down = False
    eventually(lambda: at_two.metric("edgeline_update_stale") == 0)
    assert score(at_two) == 7


def test_the_page_has_the_state_of_updates(at_two, web, tmp_path):
    def updates() -> dict:
        return at_two.ask("GET", "/overview")[1]["updates"]

    found = updates()
    assert (found["repository"], found["outcome"]) == (web.url, "ok")
    assert 6 * 86400 < found["expires_in"] <= 7 * 86400
    assert found["models"] == {"m": {"2": ["stable"]}}
    web.down = True
    eventually(lambda: updates()["outcome"] == "unreachable")
    assert "127.0.0.1" in updates()["sentence"]
    assert updates()["succeeded_at"] < updates()["checked_at"]
    shown = browse(at_two, tmp_path / "profile")
    assert ">unreachable<" in shown
    assert f"<dd>{web.url}</dd>" in shown
    assert "in 7 days" in shown
    assert "2 (stable)" in shown
