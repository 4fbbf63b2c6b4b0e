"""Waves as a publisher declares, signs and opens them, and what devices make of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from click.testing import CliRunner
from fleet_simulation import waves
from publishing import bundle, model

from edgeline.artifacts.waves import WHOLE, Wave, WavePlan, from_json, position
from edgeline.cli.main import cli
from edgeline.errors import EdgelineError, UsageError
from edgeline.repository import actions, roles, wave_actions, wave_file
from edgeline.repository.place import open_place
from edgeline.repository.status import status
from edgeline.repository.versions import published_versions
from edgeline.server.updates.order import UpdateOrder, UpdateResult
from edgeline.server.updates.synchronise import synchronise

NOW = datetime(2027, 1, 31, 6, tzinfo=timezone.utc)
LATER = NOW + timedelta(hours=1)
Add = Callable[..., int]


@pytest.fixture
def add(publisher, tmp_path) -> Add:
    def add(weight: float, plan: WavePlan | None = None, **more) -> int:
        folder = bundle(tmp_path / "bundle", model(weight))
        signing = [str(publisher.keys)]
        return actions.add(str(publisher.path), folder, signing, waves=plan, **more)[0].version

    return add


def look(publisher, tmp_path, device="edge-1", **more) -> UpdateResult:
    state = tmp_path / "state" / device
    order = {"root": str(publisher.root), "state": str(state), "device": device, **more}
    return synchronise(UpdateOrder(str(publisher.path), **order))


def listed(publisher) -> dict:
    live = roles.read(open_place(str(publisher.path))).live["targets"].signed
    return {path: target.custom for path, target in live.targets.items() if target.custom}


# the plan


def test_positions_are_spread_evenly_and_are_others_for_each_version():
    places = [position(f"edge-{n}", "m", 2) / 2**64 for n in range(10_000)]
    assert sum(place < 0.1 for place in places) == pytest.approx(1000, abs=100)
    again = [position(f"edge-{n}", "m", 3) / 2**64 for n in range(10_000)]
    both = sum(a < 0.1 and b < 0.1 for a, b in zip(places, again, strict=True))
    assert both == pytest.approx(100, abs=40)


def test_a_device_of_a_wave_is_in_all_larger_ones_and_all_are_in_the_last():
    plan = waves(0.01, 0.1, 1)
    for number in range(1000):
        place = position(f"edge-{number}", "m", 2)
        inside = [wave.has(place, ()) for wave in plan.waves]
        assert inside == sorted(inside)
    assert Wave(WHOLE).has(2**64 - 1, ())
    assert not Wave(1).has(2**64 - 1, ())
    assert Wave(1).has(0, ())


def test_a_wave_opens_by_time_behind_the_one_before():
    plan = WavePlan(
        (
            Wave(WHOLE // 10),
            Wave(WHOLE // 2, after=3600, opens="time"),
            Wave(WHOLE, after=3600, opens="time", not_before=(NOW + timedelta(days=1)).isoformat()),
        ),
        (NOW.isoformat(),),
    )
    assert len(plan.begun(NOW)) == 1
    assert len(plan.begun(LATER)) == 2
    assert len(plan.begun(NOW + timedelta(hours=23))) == 2
    assert len(plan.begun(NOW + timedelta(hours=25))) == 3
    assert len(plan.begun(None)) == 1  # nothing proves the time
    assert plan.is_finished(NOW + timedelta(hours=25))


def test_what_is_signed_can_be_read_again():
    plan = WavePlan(
        (Wave(5, ("lab",)), Wave(WHOLE, after=60, opens="time")), (NOW.isoformat(),), ("stable",)
    )
    assert from_json(json.loads(json.dumps(plan.to_json()))) == plan


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        {"waves": []},
        {"waves": [{"millionths": 0}]},
        {"waves": [{"millionths": WHOLE, "opens": "moon"}]},
        {"waves": [{"millionths": WHOLE, "speed": 1}]},  # of a later edgeline
        {"waves": [{"millionths": WHOLE}], "opened": ["soon"]},
        {"waves": [{"millionths": WHOLE}], "opened": ["2027-01-31T06:00:00"]},
        {"waves": [{"millionths": WHOLE}], "opened": ["0001-01-01T00:00:00+14:00"]},
        {"waves": [{"millionths": WHOLE}], "opened": [NOW.isoformat()] * 2},
        {"waves": [{"millionths": WHOLE, "after": 2**62}]},
        {"waves": [{"millionths": WHOLE, "groups": ["A b"]}]},
        {"waves": [{"millionths": n} for n in range(1, 200)]},
    ],
)
def test_a_device_takes_no_version_whose_waves_it_cannot_read(value):
    with pytest.raises(EdgelineError):
        from_json(value)


# the file


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("waves: [{share: 0}, {share: 1}]", "wave 1 has the share 0"),
        ("waves: [{share: .nan}]", "wave 1 has the share nan"),
        ("waves: [{share: 0.1}]", "the last wave has the share 0.1"),
        ("groups: [lab]\nwaves: [{share: 1, groups: [lab]}]", "the share 1 of some groups"),
        ("waves: [{share: 0.2}, {share: 0.1}, {share: 1}]", "wave 2 (share 0.1) has no device"),
        ("waves: [{share: 1}, {share: 1}]", "wave 2 (share 1) has no device that wave 1"),
        (
            "waves: [{share: 1, groups: [lap]}, {share: 1}]",
            "the group 'lap': the file's groups are",
        ),
        ("waves: [{share: 1, not_before: 2027-01-31T06:00:00}]", "give a time with its zone"),
        ("waves: [{share: 1, not_before: 2027-01-31}]", "give a time with its zone"),
        ("waves: [{share: 1, not_before: soon}]", "give a time with its zone"),
        ("waves: [{share: 0.1}, {share: 1, after: 1 day}]", "after of wave 2: '1 day'"),
        ("waves: [{share: 0.1}, {share: 1, after: -5}]", "after of wave 2: '-5'"),
        ("waves: [{share: 0.1}, {share: 1, opens: time}]", "neither after nor not_before"),
        ("waves: [{share: 0.0000001}, {share: 1}]", "give whole millionths"),
        ("waves: [{share: 1, size: 3}]", "contains unknown field `size`"),
        ("waves: [{share: 1}]\nwaves: []", "has 'waves' again"),
        ("- 1", "declares no waves"),
        ("", "declares no waves"),
        ("waves: []", "there are 0 waves"),
        ("waves: [", "line 2: it declares no waves"),
    ],
)
def test_waves_that_cannot_be_are_refused_in_a_sentence(tmp_path, text, sentence):
    (tmp_path / "waves.yaml").write_text(text)
    with pytest.raises(UsageError) as refused:
        wave_file.read(tmp_path / "waves.yaml")
    assert sentence in str(refused.value)
    assert str(refused.value).startswith(f"{tmp_path / 'waves.yaml'}")
    assert "\n" not in str(refused.value)


def test_a_file_says_shares_groups_and_times(tmp_path):
    (tmp_path / "waves.yaml").write_text(
        """
groups: [lab]
waves:
  - {share: 1, groups: [lab]}
  - {share: 0.01, after: 1h30m}
  - {share: 1, after: 2d, not_before: "2027-01-31T08:00:00+02:00", opens: time}
"""
    )
    assert wave_file.read(tmp_path / "waves.yaml").waves == (
        Wave(WHOLE, ("lab",)),
        Wave(10_000, after=5400),
        Wave(WHOLE, not_before=NOW.isoformat(), after=172_800, opens="time"),
    )


# the repository


def test_an_older_device_takes_a_version_when_its_last_wave_is_open(
    publisher, add, tmp_path, monkeypatch
):
    assert add(2, waves(0.000001, 1)) == 2
    entry = listed(publisher)["m/2/manifest.json"]
    assert not {"name", "version"} & entry.keys()  # by which it would take it
    with monkeypatch.context() as older:
        older.setattr("edgeline.server.updates.selection.ROLLOUT", "unknown to it")
        assert sorted(look(publisher, tmp_path).models["m"]) == [1]
        wave_actions.wave(str(publisher.path), "m", 2, "next", [str(publisher.keys)])
        entry = listed(publisher)["m/2/manifest.json"]
        assert (entry["name"], entry["version"], entry["labels"]) == ("m", 2, [])
        assert sorted(look(publisher, tmp_path).models["m"]) == [1, 2]


def test_a_device_that_cannot_read_the_waves_waits_and_says_so(
    publisher, add, tmp_path, monkeypatch
):
    monkeypatch.setattr(WavePlan, "to_json", lambda _: {"waves": [], "moons": 1})
    with pytest.raises(EdgelineError, match="update edgeline"):
        add(2, waves(0.000001, 1))  # which a later edgeline has published
    result = look(publisher, tmp_path)
    assert (result.outcome, sorted(result.models["m"])) == ("ok", [1])
    assert result.waits["m"][2]["sentence"].endswith("update edgeline")
    with pytest.raises(EdgelineError, match=r"The waves of m 2 cannot be read .* update edgeline"):
        status(str(publisher.path))
    publisher.sign()  # what others publish stays fresh


def test_labels_come_with_the_last_wave(publisher, add):
    add(1, labels=["stable"])
    add(2, waves(0.1, 1), labels=["stable"])
    assert listed(publisher)["m/1/manifest.json"]["labels"] == ["stable"]
    wave_actions.wave(str(publisher.path), "m", 2, "all", [str(publisher.keys)])
    assert listed(publisher)["m/1/manifest.json"]["labels"] == []
    assert listed(publisher)["m/2/manifest.json"]["labels"] == ["stable"]


def test_a_wave_opens_not_before_its_time_after_the_one_before(publisher, add):
    add(2, waves(0.1, 0.5, 1, after=3600))
    opening = str(publisher.path), "m", 2
    with pytest.raises(EdgelineError, match=r"Wave 2 of m 2 opens 1 h after wave 1, not before"):
        wave_actions.wave(*opening, "next", [str(publisher.keys)])
    plan, outcome = wave_actions.wave(*opening, "all", [str(publisher.keys)])
    assert (len(plan.opened), outcome.live) == (3, True)
    with pytest.raises(UsageError, match="m 2 has no waves any more"):
        wave_actions.wave(*opening, "next", [str(publisher.keys)])
    with pytest.raises(UsageError, match="m 9 is not a version with waves: m has none"):
        wave_actions.wave(*opening[:2], 9, "next", [str(publisher.keys)])


def test_a_wave_that_is_open_is_not_opened_again(publisher, add):
    add(2, waves(0.1, 0.5, 1))
    opening = str(publisher.path), "m", 2
    wave_actions.wave(*opening, 2, [str(publisher.keys)])
    before = roles.read(open_place(str(publisher.path))).live["targets"].signed
    plan, _ = wave_actions.wave(*opening, 2, [str(publisher.keys)])
    after = roles.read(open_place(str(publisher.path))).live["targets"].signed
    assert (len(plan.opened), after) == (2, before)
    with pytest.raises(UsageError, match="m 2 has no wave 4: it has 3"):
        wave_actions.wave(*opening, 4, [str(publisher.keys)])


def test_what_would_leave_devices_without_a_model_is_refused(publisher, add, tmp_path):
    other = tmp_path / "other"
    actions.init(str(other), {}, tmp_path / "other-keys")
    folder = bundle(tmp_path / "bundle", model(1))
    with pytest.raises(UsageError, match="add the first version without waves"):
        actions.add(str(other), folder, [str(tmp_path / "other-keys")], waves=waves(0.1, 1))
    add(2, waves(0.1, 1))
    with pytest.raises(EdgelineError, match="m 1 is the only version of m"):
        publisher.withdraw(1)


def test_the_same_content_is_published_once(publisher, add):
    assert add(2, waves(0.1, 1)) == 2
    assert add(2, waves(0.1, 1)) == 2
    with pytest.raises(EdgelineError, match="m 2, which is rolled out by other waves"):
        add(2, waves(0.2, 1))
    assert add(2) == 2  # a task that runs again opens nothing
    assert add(1, waves(0.1, 1)) == 1  # every device has it
    assert [each["version"] for each in status(str(publisher.path))["rollouts"]] == [2]
    assert add(3) == 3


def test_a_withdrawn_version_with_waves_stays_listed_as_withdrawn(publisher, add, tmp_path):
    add(2, waves(0.5, 1))
    inside = next(f"edge-{n}" for n in range(99) if position(f"edge-{n}", "m", 2) < 2**63)
    assert sorted(look(publisher, tmp_path, inside).models["m"]) == [2]
    publisher.withdraw(2)
    assert listed(publisher)["m/2/manifest.json"]["withdrawn"]
    assert not look(publisher, tmp_path, inside).models["m"][1]["withdrawn"]
    with pytest.raises(EdgelineError, match="This is m 2, which was withdrawn"):
        add(2, waves(0.5, 1))


def test_who_asks_for_the_latest_version_gets_what_all_devices_may_have(publisher, add):
    add(2, waves(0.5, 1))
    assert published_versions(str(publisher.path), "m").numbers == (1,)
    wave_actions.wave(str(publisher.path), "m", 2, "all", [str(publisher.keys)])
    assert published_versions(str(publisher.path), "m").numbers == (1, 2)


def test_rollouts_that_were_overtaken_are_pruned(publisher, add):
    add(2, waves(0.5, 1))
    add(3)
    add(4)
    taken, _ = actions.prune(str(publisher.path), 1, [str(publisher.keys)])
    assert taken == {"m": [1, 3, 2]}
    assert status(str(publisher.path))["rollouts"] == []


def test_a_threshold_of_two_keys_holds_for_waves(publisher, add):
    add(2, waves(0.1, 1))
    ann = publisher.key("ann")
    signing = [str(publisher.keys), ann]
    place = str(publisher.path)
    actions.rotate_keys(place, "targets", signing, [f"{ann}.pub"], [], 2)
    _, outcome = wave_actions.wave(place, "m", 2, "next", [str(publisher.keys)])
    assert (outcome.live, outcome.missing["targets"]) == (False, 1)
    assert listed(publisher)["m/2/manifest.json"]["rollout"]["opened"][1:] == []
    assert status(place)["rollouts"] == []  # it would be a version like any other
    _, outcome = actions.sign(place, signing)
    assert outcome.live
    assert "version" in listed(publisher)["m/2/manifest.json"]


def test_the_command_line_adds_opens_and_tells_waves(publisher, tmp_path: Path):
    folder = bundle(tmp_path / "bundle", model(2))
    (tmp_path / "waves.yaml").write_text(
        "waves: [{share: 0.01}, {share: 0.5}, {share: 1, after: 1d}]"
    )
    place, key = str(publisher.path), ["--key", str(publisher.keys)]

    def run(*arguments: str) -> str:
        return CliRunner().invoke(cli, ["repository", *arguments]).output

    waved = ("--waves", str(tmp_path / "waves.yaml"))
    said = run("add", place, str(folder), *key, *waved)
    assert said == (
        "m 2 is added: devices will see it when a wave that has them is open, the others later.\n"
    )
    told = " ".join(run("status", place).split())
    assert "rolling out: m 2, wave 1 of 3 (1 %) is open since" in told
    assert "next wave 2 of 3 (50 %), which is not open" in told
    said = run("wave", place, "m", "2", "--open", "next", *key)
    assert said == "wave 2 of 3 (50 %) of m 2 is open: devices will see it.\n"
    [known] = json.loads(run("status", place, "--json"))["rollouts"]
    assert (known["open"], len(known["opened"]), known["next"]["wave"]) == (2, 2, 3)
    assert known["next"]["not_before"] > known["opened"][1]
    assert "give next, all or how many" in run("wave", place, "m", "2", "--open", "0", *key)
    run("add", place, str(bundle(tmp_path / "b", model(3))), *key, "--candidate", "wide")
    run("promote", place, "m", "wide", *key, *waved)
    assert {each["version"] for each in status(place)["rollouts"]} == {2, 3}


def test_usual_waves_are_those_of_what_comes_without_any(publisher, add):
    place, key = str(publisher.path), [str(publisher.keys)]
    wave_actions.usual_waves(place, "m", waves(0.1, 1), key)
    assert status(place)["usual_waves"] == {"m": ["wave 1 of 2 (10 %)", "wave 2 of 2 (100 %)"]}
    assert add(2) == 2
    assert add(2) == 2  # a pipeline that runs again
    assert add(3, waves(0.5, 1)) == 3
    assert add(4, candidate="wide") == 4
    assert add(5, at_once=True) == 5
    rolling = {each["version"]: each["current"] for each in status(place)["rollouts"]}
    assert rolling == {2: "wave 1 of 2 (10 %)", 3: "wave 1 of 2 (50 %)"}
    assert [each["version"] for each in status(place)["versions"]] == [1, 5]
    with pytest.raises(EdgelineError, match="m 2, which is rolled out by waves"):
        add(2, at_once=True)
    with pytest.raises(UsageError, match="leave one out"):
        add(6, waves(0.5, 1), at_once=True)
    wave_actions.usual_waves(place, "m", None, key)
    assert add(6) == 6
    assert [each["version"] for each in status(place)["versions"]] == [1, 5, 6]


def test_the_first_version_of_a_model_with_usual_waves_is_every_device_s(publisher):
    other, keys = str(publisher.folder / "other"), publisher.folder / "other-keys"
    actions.init(other, {}, keys)
    wave_actions.usual_waves(other, "m", waves(0.1, 1), [str(keys)])
    folder = bundle(publisher.folder / "bundle", model(1))
    _, outcome = actions.add(other, folder, [str(keys)])
    assert (outcome.plan, [each["version"] for each in status(other)["versions"]]) == (None, [1])
    command = ["repository", "usual-waves", other, "m", "--none", "--key", str(keys)]
    assert "go to devices at once: signed." in CliRunner().invoke(cli, command).output


def test_a_candidate_has_no_waves(publisher, add):  # noqa: ARG001
    with pytest.raises(UsageError, match="The candidate wide cannot have waves"):
        add(2, waves(0.1, 1), candidate="wide")


def test_the_device_tells_which_wave_it_waits_for(publisher, add, tmp_path):
    begin = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(days=9)
    plan = waves(0.000001, 0.5, 1)
    second = replace(plan.waves[1], not_before=begin.isoformat())
    add(2, replace(plan, waves=(plan.waves[0], second, plan.waves[2])))
    inside = next(f"edge-{n}" for n in range(99) if position(f"edge-{n}", "m", 2) < 2**63)
    wait = look(publisher, tmp_path, inside).waits["m"][2]
    shown = f"{begin:%Y-%m-%d %H:%M}+00:00"
    assert wait["sentence"] == f"wave 2 of 3 (50 %), which is not open, not before {shown}"
    assert (wait["wave"], wait["of"], wait["share"]) == (2, 3, 0.5)
    wave_actions.wave(str(publisher.path), "m", 2, "next", [str(publisher.keys)])
    wait = look(publisher, tmp_path, inside).waits["m"][2]
    assert wait["sentence"] == f"wave 2 of 3 (50 %), not before {shown}"
