"""What events decide: who is counted, when, and what is remembered of it over a restart."""

from __future__ import annotations

import json
import random
import sqlite3

import pytest
from made_events import NOW, RANGE, RESOLVED, declared, document, event

from edgeline.errors import EdgelineError
from edgeline.triggers.dry_run import DryRun
from edgeline.triggers.events import CloudEvent, read_line
from edgeline.triggers.judging import why_not
from edgeline.triggers.steady_time import SteadyTime
from edgeline.triggers.store import DECIDED, FAILED, SUCCEEDED, TriggerStore


def waits(store: TriggerStore, now: float = NOW) -> str:
    (rule,) = store.rules.values()
    return "; ".join(why_not(rule, store.standing(rule, now), now))


def ended(store: TriggerStore) -> None:
    for firing in store.firings():
        store.change(firing, state=SUCCEEDED, ended=NOW)


def test_a_quorum_of_devices_in_the_same_feature_starts_one_run():
    store = TriggerStore(declared(quorum=3, of=200, same="feature"), None)
    store.take([event("a", "fare", "miles"), event("b", "fare"), event("c", "miles")], NOW)
    assert not store.firings()
    assert waits(store).startswith("2 of the 3 devices (of 200) that it takes in fare within")
    store.take([event("b", "fare", id="again"), event("b", "fare", id="more")], NOW)
    assert not store.firings()  # one device is one voice
    assert store.take([event("d", "fare")], NOW) == ["counted"]
    [firing] = store.firings()
    assert (firing.feature, firing.devices) == ("fare", ("/a", "/b", "/d"))
    store.take([event(each, "miles") for each in "efgh"], NOW)
    assert len(store.firings()) == 1
    assert "has not ended" in waits(store) and "cools down until" in waits(store)


def test_one_event_in_a_thousand_repeats_starts_one_run():
    store = TriggerStore(declared(cool_down=0, budget=1000), None)
    for moment in range(1000):
        store.take([event("a", "fare", id="one")], NOW + moment)
        ended(store)
    assert len(store.firings()) == 1
    assert store.counts() == {"counted": 1, "repeated": 999}


def test_an_event_says_all_that_drifts_and_a_resolved_one_takes_it_back():
    store = TriggerStore(declared(quorum=2, same="feature"), None)
    store.take([event("a", "fare"), event("a", "miles", time=NOW + 1)], NOW + 1)
    assert store.take([event("b", "fare")], NOW + 1) == ["counted"]
    assert not store.firings()  # fare drifts on a no more
    store.take([event("a", type=RESOLVED, time=NOW + 2)], NOW + 2)
    store.take([event("b", "miles", time=NOW + 3)], NOW + 3)
    assert not store.firings()
    store.take([event("a", "miles", id="late", time=NOW + 1.5)], NOW + 4)
    assert not store.firings()  # it was sent before the resolved one
    store.take([event("a", "miles", time=NOW + 5)], NOW + 5)
    assert store.firings()


def test_decay_of_each_kind_is_taken_back_by_itself():
    store = TriggerStore(declared(signals=["decay"], quorum=2, same="feature"), None)

    def decay(device: str, kind: str, at: float, **data: object) -> CloudEvent:
        more = {"type": f"io.edgeline.decay.{kind}", "data": {"model": "taxi", **data}}
        return event(device, time=NOW + at, id=f"{device}{kind}{at}", **more)

    store.take([decay("a", "estimated", 1, decayed=["accuracy"])], NOW + 9)
    store.take([decay("a", "measured", 2, decayed=["accuracy", "auc"])], NOW + 9)
    store.take([decay("a", "estimated", 3, decayed=[])], NOW + 9)
    assert waits(store).startswith("1 of the 2 devices that it takes in accuracy")
    store.take([decay("a", "measured", 4, decayed=[])], NOW + 9)
    store.take([decay("b", "measured", 4, decayed=["accuracy"])], NOW + 9)
    assert not store.firings()
    store.take([decay("a", "concept", 5, drifting=True)], NOW + 9)
    store.take([decay("b", "concept", 5, drifting=True)], NOW + 9)
    [firing] = store.firings()
    assert (firing.feature, firing.devices) == ("", ("/a", "/b"))
    store = TriggerStore(declared(signals=["io.edgeline.decay.concept"], quorum=2), None)
    store.take([decay("a", "concept", 5, drifting=True)], NOW + 9)
    store.take([decay("a", "concept", 6, drifting=False)], NOW + 9)
    store.take([decay("b", "concept", 6, drifting=True)], NOW + 9)
    assert not store.firings()


def test_events_are_of_a_model_a_kind_and_the_features_that_are_named():
    rule = {"model": "taxi", "signals": ["range"], "features": ["fare", "amount"]}
    store = TriggerStore(declared(**rule), None)
    assert store.take([event("a", "fare"), event("a", "miles", type=RANGE)], NOW) == [
        "unmatched",
        "unmatched",
    ]
    other = event("a", "fare", type=RANGE, source="/a/models/birds", data={"feature": "fare"})
    assert store.take([other], NOW) == ["unmatched"]
    assert store.take([event("b", "amount.mean", type=RANGE)], NOW) == ["counted"]
    assert store.firings()


def test_a_window_a_cool_down_and_a_budget_end_by_the_clock():
    store = TriggerStore(declared(quorum=2, within=600, cool_down=3600, budget=2), None)
    store.take([event("a", "x")], NOW)
    store.take([event("b", "x", time=NOW + 700)], NOW + 700)
    assert not store.firings()  # not within 600 s
    store.take([event("a", "y", time=NOW + 710)], NOW + 710)
    assert len(store.firings()) == 1
    ended(store)
    at = NOW + 710 + 3600
    store.take([event(each, "x", time=at - 10) for each in "ab"], at - 10)
    assert len(store.firings()) == 1
    store.look(at + 1)  # nothing came, but the cool-down has ended
    assert len(store.firings()) == 2
    ended(store)
    later = at + 4000
    store.take([event(each, "x", time=later) for each in "ab"], later)
    assert waits(store, later) == "its budget of 2 in 24 hours is used until 2027-01-16T08:11:50Z"
    store.look(NOW + 86_400 + 711)
    assert len(store.firings()) == 2  # what was waiting is older than 600 s by then


def test_old_expired_and_future_events_are_refused_and_a_full_memory_takes_no_more():
    few = declared()
    few = type(few)(few.rules, max_age=3600, max_events=2)
    store = TriggerStore(few, None)
    assert store.take(
        [
            event("a", "x", time=NOW - 3601),
            event("a", "x", time=NOW + 301),
            event("a", "x", expirytime="2027-01-15T07:00:00Z"),
            event("a", "x", expirytime="2027-01-15T09:00:00Z"),
            event("b", "x"),
            event("c", "x"),
        ],
        NOW,
    ) == ["too_old", "ahead", "expired", "counted", "counted", "full"]
    later = NOW + 3600 + 301  # when what was remembered would be too old to be repeated
    assert store.take([event("c", "x", time=later)], later) == ["counted"]
    assert store.held[0] == 1


def test_a_restart_remembers_and_only_one_server_has_the_folder(tmp_path):
    rules = declared(quorum=2)
    store = TriggerStore(rules, tmp_path)
    store.take([event("a", "x", id="one")], NOW)
    with pytest.raises(EdgelineError, match=r"Another `edgeline triggers serve` has"):
        TriggerStore(rules, tmp_path)
    beside = TriggerStore(rules, tmp_path, read_only=True)
    assert waits(beside).startswith("1 of the 2 devices")
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        beside.take([event("b", "x")], NOW)
    store.close()
    again = TriggerStore(rules, tmp_path)
    assert again.take([event("a", "x", id="one"), event("b", "x")], NOW) == ["repeated", "counted"]
    [firing] = again.firings()
    assert firing.ordered == rules.rules[0]


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "triggers.sqlite").write_text("not a database" * 100)
    with pytest.raises(EdgelineError, match=r"does not hold the state of triggers .*--state"):
        TriggerStore(declared(), tmp_path)
    with pytest.raises(EdgelineError, match=r"holds no state of triggers"):
        TriggerStore(declared(), tmp_path / "none", read_only=True)


@pytest.mark.parametrize("seed", range(5))
def test_a_dry_run_tells_what_a_server_would_have_started(seed):
    chance = random.Random(seed)
    rules = declared(quorum=3, within=900, cool_down=1800, budget=3, same="feature")
    log, at = [], NOW
    for number in range(250):
        at += chance.choice([5, 20, 300])
        kind = {"type": RESOLVED} if chance.random() < 0.2 else {}
        features = () if kind else chance.sample(["fare", "miles", "tips"], chance.randint(1, 2))
        log.append(document(chance.choice("abcdefgh"), *features, id=str(number), time=at, **kind))
    store, decided = TriggerStore(rules, None), []
    last = int(NOW)
    for each in log:  # a server that looks every five seconds
        sent = read_line(json.dumps(each).encode())
        for moment in range(last + 5, int(sent.time) + 1, 5):
            store.look(moment)
        last = int(sent.time)
        store.take([sent], sent.time)
        for firing in store.firings("decided"):
            store.change(firing, state=SUCCEEDED, ended=sent.time)
            decided.append((firing.feature, firing.devices))
    rehearsal = DryRun(rules)
    lines = [json.dumps(each).encode() + b"\n" for each in log]
    found = list(rehearsal.replay([b"{}\n", *lines]))
    assert found[0].event is None
    assert "specversion" in found[0].result
    assert [(f.feature, f.devices) for f in rehearsal.firings()] == decided
    assert len(decided) >= 3
    assert sum(rehearsal.counts.values()) == len(log) + 1


def test_what_a_device_says_of_one_model_is_not_taken_back_by_another_or_another_version():
    store = TriggerStore(declared(quorum=2), None)
    store.take([event("a", "fare")], NOW)
    for number, path in enumerate(("iris/versions/1", "taxi/versions/4")):
        more = {"source": f"/a/models/{path}", "data": {"drifting": []}, "type": RESOLVED}
        assert store.take([event("a", id=str(number), **more)], NOW) == ["counted"]
    assert waits(store).startswith("1 of the 2 devices")
    store.take([event("a", "fare", source="/a/models/taxi/versions/4")], NOW)
    assert waits(store).startswith("1 of the 2 devices")  # two versions are one device
    store.take([event("b", "fare")], NOW)
    assert store.firings()


def test_events_that_match_nothing_give_way_to_those_that_count():
    few = declared(quorum=9)
    store = TriggerStore(type(few)(few.rules, max_events=3), None)
    noise = [event("noisy", "x", type="org.example.other", id=str(n)) for n in range(5)]
    assert store.take(noise, NOW) == ["unmatched"] * 5
    assert store.held[0] == 3
    assert store.take([event(each, "fare") for each in "abcd"], NOW) == ["counted"] * 3 + ["full"]
    assert store.take([*noise[:1], event("a", "fare")], NOW) == ["unmatched", "repeated"]
    assert [json.loads(each)["source"][1] for each in store.events()] == ["a", "b", "c"]


def test_a_clock_that_jumps_ahead_and_back_forgets_no_event_and_no_device():
    rules, ticks = declared(quorum=2, within=3600), [50.0]
    steady = SteadyTime(300, 3900, lambda: ticks[0])
    store = TriggerStore(rules, None, steady=steady)
    first = event("a", "fare")
    store.take([first], NOW)
    ticks[0] += 2
    store.look(NOW + 400 * 86_400)
    ticks[0] += 2
    assert store.take([first, event("b", "fare")], NOW + 4) == ["repeated", "counted"]
    assert store.firings()
    # a machine that was suspended: its time is right, and is believed after a while
    for _ in range(80):
        ticks[0] += 60
        store.look(NOW + 400 * 86_400 + ticks[0])
    assert store.held[0] == 0


def test_a_run_decided_by_a_wrong_clock_does_not_hold_up_the_rule_for_years(caplog):
    store = TriggerStore(declared(), None)
    wrong = NOW + 400 * 86_400
    store.take([event("a", "fare", time=wrong)], wrong)
    ended(store)
    for _ in range(3):
        store.look(NOW)
    assert caplog.text.count("which is yet to come: the clock was wrong") == 1
    store.take([event("b", "fare")], NOW)
    assert len(store.firings()) == 2


def test_a_run_is_told_when_the_last_one_that_succeeded_was_decided():
    store, times = TriggerStore(declared(cool_down=0, budget=10), None), []
    for number, state in enumerate((FAILED, SUCCEEDED, FAILED, FAILED)):
        at = NOW + 100 * number
        store.take([event("a", "fare", time=at)], at)
        times.append(store.firings()[-1].since)
        store.change(store.firings()[-1], state=state, ended=at)
    assert times == [0, 0, NOW + 100, NOW + 100]


def test_ended_runs_are_remembered_up_to_a_number(monkeypatch):
    monkeypatch.setattr("edgeline.triggers.store.KEPT", 3)
    store = TriggerStore(declared(cool_down=0), None)
    for day in range(8):
        at = NOW + 100_000 * day
        store.take([event("a", "fare", time=at)], at)
        for firing in store.firings(DECIDED):
            store.change(firing, state=SUCCEEDED, ended=at)
    kept = [round((each.decided - NOW) / 100_000) for each in store.firings()]
    assert kept == [5, 6, 7]
    assert store.tally() == {("retrain", SUCCEEDED): 3}
    assert [each.decided for each in store.firings(last=1)] == [at]
