"""Fleets of devices that update through their own code: what reaches whom, whatever goes wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fleet_simulation import Fleet, waves
from publishing import model

from edgeline.artifacts.waves import WHOLE, Wave, WavePlan, position
from edgeline.repository import actions


def in_first(fleet: Fleet, version: int, share: float) -> set[str]:
    """The devices whose position lies below a share."""
    names = (device.name for device in fleet.devices)
    return {name for name in names if position(name, "m", version) < share * 2**64}


@pytest.mark.parametrize(
    "count", [100, pytest.param(1000, marks=[pytest.mark.long, pytest.mark.timeout(3600)])]
)
def test_a_version_that_is_bad_everywhere_reaches_its_first_wave_and_no_more(
    publisher, tmp_path, clock, count
):
    fleet = Fleet(publisher, tmp_path / "devices", count, clock)
    fleet.bad = {2}
    fleet.add(2, waves(0.1, 0.5, 1))
    first = in_first(fleet, 2, 0.1)
    assert 0.03 * count < len(first) < 0.17 * count
    fleet.rounds(fleet.watch(), 2)
    assert fleet.having(2) == first
    assert fleet.actions == [("withdraw", 2)]
    assert fleet.serving == {1: count}


def test_a_good_version_reaches_all_by_its_waves(publisher, tmp_path, clock):
    fleet = Fleet(publisher, tmp_path / "devices", 20, clock)
    fleet.add(2, waves(0.3, 0.6, 1))
    reached, watch = [], fleet.watch(min_devices=2)
    for _ in range(5):
        fleet.rounds(watch, 1, minutes=20)
        reached.append(fleet.having(2))
    assert reached == [
        *[in_first(fleet, 2, 0.3)] * 3,  # soak
        *[in_first(fleet, 2, 0.6)] * 2,
    ]
    assert "soak is 30 m, and wave 1 of 3 (30 %) is open for 20 m" in fleet.told[1]["reason"]
    fleet.rounds(watch, 1)
    assert fleet.actions == [("raise", 2), ("raise", 2)]
    assert fleet.plan(2) is None  # a version as any other: also older devices take it
    assert fleet.serving == {2: 20}


def test_silent_devices_hold_the_next_wave_up(publisher, tmp_path, clock):
    fleet = Fleet(publisher, tmp_path / "devices", 10, clock)
    fleet.add(2, waves(0.5, 1))
    fleet.look()
    for device in fleet.devices:
        device.offline = True
    clock.turn(minutes=40)
    fleet.watch().look(clock.now())
    assert fleet.actions == []
    assert "devices that wave 1 of 2 (50 %) adds are silent" in fleet.told[-1]["reason"]


def test_a_wave_whose_only_device_is_gone_opens_nothing_whoever_serves_before(
    publisher, tmp_path, clock
):
    fleet = Fleet(publisher, tmp_path / "devices", 8, clock)
    for device in fleet.devices[:7]:
        device.groups = ("lab",)
    away = fleet.devices[7]
    away.groups = ("berlin",)
    fleet.look()
    away.offline = True
    lab, berlin = (Wave(WHOLE, groups=(name,)) for name in ("lab", "berlin"))
    fleet.add(2, WavePlan((lab, berlin, Wave(WHOLE))))
    watch = fleet.watch(min_devices=1)
    fleet.rounds(watch, 10)
    assert fleet.actions == [("raise", 2)]
    assert fleet.told[-1]["reason"] == (
        "1 of the 1 devices that wave 2 of 3 (100 % of berlin) adds are silent, above 10.00%"
    )
    away.offline = False
    fleet.rounds(watch, 1)
    assert fleet.actions == [("raise", 2)] * 2


def test_a_wave_that_adds_no_device_is_told(publisher, tmp_path, clock):
    fleet = Fleet(publisher, tmp_path / "devices", 3, clock)
    for device in fleet.devices:
        device.groups = ("lab",)
    fleet.look()
    lab, berlin = (Wave(WHOLE, groups=(name,)) for name in ("lab", "berlin"))
    fleet.add(2, WavePlan((lab, berlin, Wave(WHOLE))))
    fleet.rounds(fleet.watch(), 8)
    assert fleet.actions == [("raise", 2)]
    assert fleet.told[-1]["reason"] == (
        "wave 2 of 3 (100 % of berlin) adds no device that the fleet knows: open the next one by "
        "hand"
    )


def test_a_device_that_was_offline_is_where_the_others_are(publisher, tmp_path, clock):
    fleet = Fleet(publisher, tmp_path / "devices", 10, clock)
    away = next(device for device in fleet.devices if device.name in in_first(fleet, 2, 0.5))
    fleet.add(2, waves(0.5, 1))
    away.offline = True
    fleet.look()
    assert away.serving == 1
    fleet.open(2)
    away.offline = False
    fleet.look()
    assert fleet.serving == {2: 10}


def test_a_new_device_outside_of_the_waves_takes_what_every_device_may_have(
    publisher, tmp_path, clock
):
    publisher.add(model(2))
    fleet = Fleet(publisher, tmp_path / "devices", 1, clock)
    fleet.add(3, waves(0.000001, 1))
    fleet.folder = tmp_path / "new"
    fleet.look()
    assert fleet.serving == {2: 1}
    [wait] = fleet.devices[0].result.waits["m"].values()
    assert wait["sentence"] == "wave 2 of 2 (100 %), which is not open"


def test_replayed_metadata_neither_open_nor_close_a_wave(publisher, tmp_path, clock):
    fleet = Fleet(publisher, tmp_path / "devices", 6, clock)
    fleet.add(2, waves(0.5, 1))
    half = fleet.copy_of_repository()
    fleet.open(2)
    fleet.look()
    fleet.location = str(half)
    fleet.look()
    assert {device.result.outcome for device in fleet.devices} == {"refused"}
    assert fleet.serving == {2: 6}


def test_a_stale_cache_delays_a_withdrawal_and_no_more(publisher, tmp_path, clock):
    fleet = Fleet(publisher, tmp_path / "devices", 10, clock)
    fleet.add(2, waves(0.5, 1))
    fleet.look()
    stale = fleet.copy_of_repository()
    publisher.withdraw(2)
    fleet.location = str(stale)
    fleet.look()
    assert fleet.serving.keys() == {1, 2}
    fleet.location = str(publisher.path)
    fleet.look()
    assert fleet.serving == {1: 10}


def test_wrong_clocks_open_no_wave(publisher, tmp_path, clock, monkeypatch):
    """What was signed proves the time; a device's own clock may be ahead."""
    import datetime as dt

    class Ahead(dt.datetime):
        @classmethod
        def now(cls, tz=None):
            return dt.datetime.now(tz) + dt.timedelta(days=3)

    monkeypatch.setattr("edgeline.server.updates.clock.datetime", Ahead)
    fleet = Fleet(publisher, tmp_path / "devices", 5, clock)
    begin = (clock.now() + dt.timedelta(days=2)).isoformat()
    fleet.add(2, WavePlan((Wave(WHOLE, not_before=begin),)))
    fleet.look()
    assert fleet.serving == {1: 5}
    [wait] = fleet.devices[0].result.waits["m"].values()
    assert f"not before {begin[:10]}" in wait["sentence"]
    clock.turn(days=2, hours=1)
    publisher.sign()
    fleet.look()
    assert fleet.serving == {2: 5}


def test_a_group_comes_first(publisher, tmp_path, clock):
    fleet = Fleet(publisher, tmp_path / "devices", 12, clock, groups=["lab", "berlin"])
    fleet.add(2, WavePlan((Wave(WHOLE, groups=("lab",)), Wave(WHOLE // 2), Wave(WHOLE))))
    fleet.look()
    lab = {device.name for device in fleet.devices if device.groups}
    assert fleet.having(2) == lab
    for device in fleet.devices:
        device.groups = ()  # moved to other groups: what has come stays
    fleet.look()
    assert fleet.serving[2] == len(lab)
    fleet.open(2)
    fleet.look()
    assert fleet.having(2) == lab | in_first(fleet, 2, 0.5)


def test_waves_that_open_by_time_need_nobody(publisher, tmp_path, clock):
    fleet = Fleet(publisher, tmp_path / "devices", 8, clock)
    plan = waves(0.3, 1)
    later = replace(plan.waves[1], after=7200, opens="time")
    fleet.add(2, replace(plan, waves=(plan.waves[0], later)))
    fleet.look()
    assert fleet.having(2) == in_first(fleet, 2, 0.3)
    clock.turn(hours=4)
    online = [str(publisher.keys / "timestamp.pem")]  # cron's, without the key of targets
    actions.sign(str(publisher.path), online)
    fleet.look()
    assert fleet.serving == {2: 8}
    assert fleet.plan(2) is not None
    publisher.sign()
    assert fleet.plan(2) is None


def test_newer_waves_overtake_older_ones(publisher, tmp_path, clock):
    fleet = Fleet(publisher, tmp_path / "devices", 12, clock)
    fleet.add(2, waves(0.5, 1))
    fleet.add(3, waves(0.5, 1))
    fleet.look()
    third = in_first(fleet, 3, 0.5)
    second = in_first(fleet, 2, 0.5) - third
    by_version = {v: sum(d.serving == v for d in fleet.devices) for v in (1, 2, 3)}
    assert by_version == {1: 12 - len(second | third), 2: len(second), 3: len(third)}
    fleet.open(3, "all")
    fleet.watch().look(clock.now())
    assert fleet.told[-1]["reason"].startswith("version 3 has overtaken it")
