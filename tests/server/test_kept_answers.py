"""Answers that wait for labels: bounded in rows and in time, over restarts."""

from __future__ import annotations

import time

import numpy as np
import pytest

from edgeline.monitoring import kept_answers
from edgeline.monitoring.kept_answers import KeptAnswers, key_of, keys_of, stored


def put(kept: KeptAnswers, identity: str, rows: int, score: float = 0.5) -> np.ndarray:
    keys = keys_of(key_of(identity), np.arange(rows))
    kept.put(keys, np.full(rows, score), np.ones(rows, int), np.zeros((rows, 0), int))
    return keys


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    then = time.time() + seconds
    monkeypatch.setattr(kept_answers.time, "time", lambda: then)


def test_what_does_not_fit_is_thinned_by_its_key_and_labels_of_it_are_told_so():
    kept = KeptAnswers(32 * 1000, 60.0, 0)
    keys = [put(kept, f"request-{number}", 40) for number in range(400)]  # 16,000 rows
    assert 300 <= kept.waiting <= kept.capacity == 1000
    assert kept.waiting + kept.lost["thinned"] == 16_000
    assert 1 / 64 <= kept.share <= 1 / 16
    asked = np.concatenate(keys)
    rows, fresh, known = kept.join(asked, np.ones(len(asked)))
    assert len(rows) == fresh.sum() == known.sum() == len(asked) - kept.lost["thinned"]
    assert (kept.thinned(asked) | known).all()
    early, late = known[:8000].sum(), known[8000:].sum()  # the sample spans all of the time
    assert 0.5 < early / late < 2


def test_labels_of_an_hour_ago_are_joined_with_the_default_memory():
    """200 rows per second, whose labels come an hour later: of each second some rows."""
    kept = KeptAnswers(1 << 20, 7 * 86400.0, 0)
    keys = [put(kept, f"second-{second}", 200) for second in range(3600)]
    seconds = [len(kept.join(each, np.ones(200))[0]) for each in keys]
    assert sum(seconds) >= kept.capacity / 4
    assert sum(seconds[:900]) > sum(seconds) / 8


def test_labelled_rows_make_room_beyond_those_that_are_measured():
    kept = KeptAnswers(32 * 100, 60.0, 0)
    for number in range(10):
        keys = put(kept, f"request-{number}", 40)
        assert len(kept.join(keys, np.ones(40))[0]) == 40
    assert (kept.lost["thinned"], kept.share) == (0, 1.0)
    assert len(kept.labelled(60.0, 1)) >= 50
    newest = keys_of(key_of("request-9"), np.arange(40))
    assert kept.join(newest, np.ones(40))[2].all()


def test_more_rows_are_kept_again_where_there_is_room(monkeypatch):
    kept = KeptAnswers(32 * 100, 60.0, 0)
    put(kept, "large", 5000)
    least = kept.share
    later(monkeypatch, 90)
    for _ in range(20):
        kept.expire()
    assert least < kept.share == 1.0
    assert kept.least_share == least


def test_an_index_finds_rows_as_a_plain_search_does(monkeypatch):
    monkeypatch.setattr(kept_answers, "_LATEST", 7)
    random, kept, wanted = np.random.default_rng(0), KeptAnswers(32 * 500, 60.0, 0), {}
    for turn in range(60):
        rows = int(random.integers(1, 12))
        keys = random.integers(1, 300, rows).astype(np.uint64)  # of a few, so some come again
        scores = random.random(rows).astype("f4")
        kept.put(keys, scores, np.ones(rows, int), np.zeros((rows, 0), int))
        wanted.update(zip(keys.tolist(), scores.tolist(), strict=True))
        asked = np.unique(random.integers(1, 300, 5)).astype(np.uint64)
        found, fresh, known = kept.join(asked, np.full(len(asked), turn))
        assert known.tolist() == [key in wanted for key in asked.tolist()]
        assert found["score"].tolist() == [wanted[key] for key in asked[fresh].tolist()]
    assert kept.share == 1.0


def test_of_two_answers_with_one_id_the_last_gets_the_label_once(monkeypatch):
    kept = KeptAnswers(3200, 60.0, 0)
    put(kept, "same", 1, 0.1)
    later(monkeypatch, 5)
    key = put(kept, "same", 1, 0.9)
    rows, _, _ = kept.join(np.concatenate([key, key]), np.array([1.0, 0.0]))
    assert rows["score"].tolist() == pytest.approx([0.9])
    assert rows["truth"].tolist() == [1.0]
    rows, _, known = kept.join(key, np.array([0.0]))
    assert (len(rows), known.tolist()) == (0, [True])


def test_what_has_waited_long_enough_goes_and_is_counted(monkeypatch):
    kept = KeptAnswers(3200, 60.0, 0)
    keys = put(kept, "old", 3)
    kept.join(keys[:1], np.ones(1))
    later(monkeypatch, 90)
    _, _, known = kept.join(keys[1:], np.ones(2))
    assert known.tolist() == [False, False]
    kept.expire()
    assert (kept.lost["expired"], kept.waiting) == (2, 0)
    assert len(kept.labelled(60.0, 1)) == 1  # what is labelled is measured still
    assert len(kept.labelled(60.0, 0)) == 0


def test_a_file_of_before_is_taken_over_also_into_less_memory(tmp_path):
    file = tmp_path / "answers" / "1.npz"
    assert stored(file) is None  # there is none yet
    kept = KeptAnswers(32 * 1000, 60.0, 0)
    keys = put(kept, "a", 900)
    kept.join(keys[:300], np.ones(300))
    kept.save(file, "what it is of")
    assert not list(file.parent.glob("*.tmp"))
    found = stored(file)
    assert found.of == "what it is of"
    again, small, none = (KeptAnswers(32 * rows, 60.0, 0) for rows in (1000, 200, 0))
    for each in (again, small, none):
        each.take_over(found, ())
    assert (again.waiting, len(again.labelled(60.0, 0))) == (600, 300)
    assert 0 < small.waiting + len(small.labelled(60.0, 0)) <= 200
    assert len(small.labelled(60.0, 0)) == 100
    assert again.join(keys[:1], np.ones(1))[1].tolist() == [False]  # it had one
    assert (none.waiting, none.bytes) == (0, 0)


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04"])
def test_a_damaged_file_of_before_is_told(tmp_path, damage, caplog):
    file = tmp_path / "1.npz"
    file.write_bytes(damage)
    assert stored(file) is None
    assert str(file) in caplog.text


def test_no_memory_keeps_nothing():
    kept = KeptAnswers(0, 60.0, 0)
    keys = put(kept, "a", 3)
    assert kept.join(keys, np.ones(3))[2].tolist() == [False] * 3
    assert (kept.lost["thinned"], kept.waiting, kept.bytes) == (3, 0, 0)
