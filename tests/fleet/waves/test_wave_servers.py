"""Real servers of a fleet: a bad version reaches one and is withdrawn, a good one reaches all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timezone

import pytest
from fleet_simulation import waves
from publishing import ROW, Web, bundle, model
from running import Running, eventually

from edgeline.artifacts.waves import position
from edgeline.fleet.answers import FleetAnswer, ReportedVersion, ReportedWave
from edgeline.fleet.watch_rules import WatchFile, WatchLimits, WatchRule
from edgeline.fleet.watching import FleetWatch
from edgeline.repository import actions

pytestmark = pytest.mark.slow
SHARE = 0.3


def named(inside: bool, count: int) -> list[str]:
    """Devices that are in the first wave of versions 2 and 3, or in neither's."""
    names, found = (f"edge-{number}" for number in range(10_000)), list[str]()
    while len(found) < count:
        name = next(names)
        first = {position(name, "m", version) < SHARE * 2**64 for version in (2, 3)}
        found += [name] if first == {inside} else []
    return found


@pytest.fixture
def begin(publisher, tmp_path) -> Iterator[Callable[[str], Running]]:
    web, running = Web(publisher.path), list[Running]()

    def begin(name: str) -> Running:
        state = tmp_path / "states" / name
        fixed = (f"--root={publisher.root}", f"--state={state}", "--poll=0.3")
        running.append(Running(web.url, *fixed, f"--device={name}", "--group=lab,berlin"))
        return running[-1]

    yield begin
    for server in running:
        _, log = server.stop()
        assert "Traceback" not in log, log
    web.close()


@pytest.mark.parametrize("count", [2, pytest.param(5, marks=pytest.mark.long)])
def test_a_bad_version_reaches_one_server_and_a_good_one_all(begin, publisher, tmp_path, count):
    [first, *others] = [begin(name) for name in (*named(True, 1), *named(False, count - 1))]
    servers = [first, *others]

    def add(weight: float, recorded: float) -> None:
        folder = bundle(tmp_path / "bundle", model(weight), recorded=recorded)
        actions.add(str(publisher.path), folder, [str(publisher.keys)], waves=waves(SHARE, 1))

    def score(server: Running) -> float:
        status, body, _ = server.ask("POST", "/v1/models/m:predict", ROW)
        assert status == 200, body
        return body["predictions"][0]["score"][0]

    def updates(server: Running) -> dict:
        return server.ask("GET", "/updates")[1]

    def answer(*_: object) -> FleetAnswer:
        found = []
        for version in (2, 3):
            bad = [version in {b["version"] for b in updates(each)["bad"]} for each in servers]
            good = [score(each) == 3 * version + 1 for each in servers]
            added = ReportedWave(1, int(good[0]), int(bad[0]), 0)
            counts = (sum(bad) + sum(good), sum(good), sum(bad))
            found.append(ReportedVersion("m", version, *counts, wave=added))
        return FleetAnswer(datetime.now(timezone.utc), found)

    rule = WatchRule("m", WatchLimits(failed=0.1, min_devices=1, soak=0))
    signing, told = [str(publisher.keys)], []
    watch = FleetWatch(WatchFile([rule], 1), str(publisher.path), answer, told.append, signing)

    add(2, recorded=99)  # it makes other predictions than were recorded
    eventually(lambda: bool(updates(first)["bad"]), 60)
    for other in others:
        eventually(lambda: other.metric("edgeline_update_waiting_versions") == 1, 60)  # noqa: B023
        wait = updates(other)["waits"]["m"]["2"]
        assert wait["sentence"] == "wave 2 of 2 (100 %), which is not open"
    watch.look()
    assert told[-1]["action"] == "withdraw"
    assert [score(server) for server in servers] == [4] * count
    assert not any(updates(other)["bad"] for other in others)

    add(3, recorded=10)
    eventually(lambda: score(first) == 10, 60)
    assert [score(other) for other in others] == [4] * (count - 1)
    watch.look()
    assert told[-1]["action"] == "raise"
    eventually(lambda: all(score(server) == 10 for server in servers), 60)
