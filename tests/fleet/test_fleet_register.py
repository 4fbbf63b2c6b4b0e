"""What outlives the server, in SQLite and in a real PostgreSQL; what is counted of devices."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import postgres
import pytest
from fleet_serving import ran

from edgeline.errors import EdgelineError, UsageError
from edgeline.fleet import database, statuses
from edgeline.fleet.database import KeptError
from edgeline.fleet.devices import FleetDevice, FleetState
from edgeline.fleet.enrolment import EnrolmentToken, FleetRegister, KeptStatus
from edgeline.fleet.showing import FleetCount
from edgeline.server.errors import ServingError
from edgeline.server.tensors.json import dumps

Opens = Callable[[], FleetRegister]
KEYS = [bytes([number]) * 32 for number in range(9)]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    pytest.importorskip("psycopg")
    with postgres.running() as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def opens(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Opens]:
    """Opens the same register again."""
    url = None
    if request.param == "postgresql":
        monkeypatch.setenv("PGPASSWORD", postgres.PASSWORD)
        url = request.getfixturevalue("address")
    opened: list[database.Connected] = []

    def again() -> FleetRegister:
        for each in opened:
            each.close()
        opened[:] = [database.connect(tmp_path / "state", url)]
        return FleetRegister(opened[0])

    yield again
    opened[0].close()


def token(name: str, device: str = "", expires: float = 100.0) -> EnrolmentToken:
    return EnrolmentToken(name, KEYS[0], device, ("north",), expires)


def test_enrolments_and_statuses_are_there_after_a_restart(opens: Opens) -> None:
    register = opens()
    register.add_tokens([token("a"), token("b", "cam-1"), token("late", expires=5.0)], 0.0)
    assert register.token_key("a") == KEYS[0]
    assert register.token_key("c") is None
    assert register.enrol("cam-1", KEYS[1], "a", 1.0).groups == ("north",)
    with pytest.raises(ServingError, match="has expired"):
        register.enrol("cam-2", KEYS[2], "late", 6.0)
    body = dumps({"device": "cam-1", "counter": 7, "time": 2, "models": [ran("m", 3)]})
    register.keep([KeptStatus("cam-1", KEYS[1], n, 2.0, body) for n in (5, 7)])
    register.keep(
        [KeptStatus("cam-1", KEYS[1], 6, 3.0, b"late"), KeptStatus("x", b"", 1, 1.0, b"")]
    )
    (device,) = opens().devices()
    assert (device.counter, device.received, device.key) == (7, 2.0, KEYS[1])
    assert device.status is not None
    assert device.status.models[0].version == 3
    register = opens()
    assert register.enrol("cam-1", KEYS[1], "a", 8.0).counter == 7  # the answer may have been lost
    assert register.revoke("cam-1", 9.0).revoked == 9.0
    assert register.revoke("cam-1", 10.0).revoked == 9.0
    with pytest.raises(ServingError, match="cam-1 is revoked"):
        register.enrol("cam-1", KEYS[1], "a", 11.0)  # a repetition changes nothing
    with pytest.raises(ServingError, match="was enrolled before"):
        register.enrol("cam-1", KEYS[1], "b", 11.0)
    assert register.enrol("cam-1", KEYS[3], "b", 12.0).revoked is None
    register.keep([KeptStatus("cam-1", KEYS[1], 99, 13.0, b"by the key of before")])
    (device,) = opens().devices()
    assert (device.counter, device.revoked, device.status) == (0, None, None)


def test_one_server_has_a_database(opens: Opens, tmp_path: Path, request) -> None:
    opens()
    is_postgres = "postgresql" in request.node.name
    url = request.getfixturevalue("address") if is_postgres else None
    with pytest.raises(EdgelineError, match="Another `edgeline fleet serve` has"):
        database.connect(tmp_path / "state", url)


@pytest.mark.slow
def test_a_connection_that_was_lost_is_made_again(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psycopg

    monkeypatch.setenv("PGPASSWORD", postgres.PASSWORD)
    base = database.connect(tmp_path, address)
    register = FleetRegister(base)
    with psycopg.connect(address, autocommit=True) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
    with pytest.raises(KeptError, match="does not answer as it should"):
        register.devices()
    assert register.token_key("nothing") is None
    base.close()


def test_what_cannot_be_used_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not an address"):
        database.connect(tmp_path, "mysql://x")
    with pytest.raises(UsageError, match="has the password") as refused:
        database.connect(tmp_path, "postgresql://me:geheim@db/x")
    assert "geheim" not in str(refused.value)
    (tmp_path / database.FILE).write_bytes(b"something else" * 100)
    with pytest.raises(EdgelineError, match="does not hold the state of a fleet"):
        database.connect(tmp_path, None)


def test_stale_and_silent_devices_and_stragglers_are_told() -> None:
    def device(name: str, received: float | None, version: int, p95: float) -> FleetDevice:
        body = {"device": name, "counter": 1, "time": 1000, "interval": 10}
        told = statuses.read(dumps({**body, "models": [ran("m", version, latency_p95_ms=p95)]}))
        status = told if received else None
        return FleetDevice(name, b"", (), "", 0.0, None, 1, received, status)

    state = FleetState(device(f"d{n:02}", 1000.0, 8, float(n)) for n in range(20))
    state.put(device("old", 1000.0, 7, 1.0))
    state.put(device("gone", 969.0, 8, 99.0))
    state.put(device("new", None, 0, 0.0))
    found = FleetCount(1000.0)
    for each in state.all():
        found.add(each)
    assert dict(found.states) == {"current": 21, "stale": 1, "silent": 1}
    assert [each.name for each in found.stale] == ["gone"]
    count = found.versions["m", 8]
    assert (count.devices, count.stale, count.latency) == (21, 1, 19.0)  # the 20th of 21
    assert list(found.stragglers()) == [{"model": "m", "version": 7, "usual": 8, "devices": 1}]
