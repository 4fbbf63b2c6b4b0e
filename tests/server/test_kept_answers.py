"""Answers that wait for labels: a ring that is bounded in rows and in time, over restarts."""

from __future__ import annotations

import time

import numpy as np
import pytest

from edgeline.server.watching import kept_answers
from edgeline.server.watching.kept_answers import KeptAnswers, key_of, keys_of


def put(kept: KeptAnswers, identity: str, rows: int, score: float = 0.5) -> np.ndarray:
    keys = keys_of(key_of(identity), np.arange(rows))
    kept.put(keys, np.full(rows, score), np.ones(rows, int), np.zeros((rows, 0), int))
    return keys


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    then = time.time() + seconds
    monkeypatch.setattr(kept_answers.time, "time", lambda: then)


def test_the_oldest_rows_make_room_and_are_counted_unless_they_have_a_label():
    kept = KeptAnswers(32 * 10, 60.0, 0)
    first = put(kept, "first", 6)
    rows, known = kept.join(first[:2], np.array([1.0, 0.0]))
    assert (rows["truth"].tolist(), known.tolist()) == ([1.0, 0.0], [True, True])
    put(kept, "second", 8)
    assert (kept.waiting, kept.lost["evicted"], kept.bytes) == (10, 2, 320)
    put(kept, "large", 25)
    assert (kept.waiting, kept.lost["evicted"]) == (10, 2 + 10 + 15)


def test_of_two_answers_with_one_id_the_last_gets_the_label_once(monkeypatch):
    kept = KeptAnswers(3200, 60.0, 0)
    put(kept, "same", 1, 0.1)
    later(monkeypatch, 5)
    key = put(kept, "same", 1, 0.9)
    rows, _ = kept.join(np.concatenate([key, key]), np.array([1.0, 0.0]))
    assert rows["score"].tolist() == pytest.approx([0.9])
    assert rows["truth"].tolist() == [1.0]
    rows, known = kept.join(key, np.array([0.0]))
    assert (len(rows), known.tolist()) == (0, [True])


def test_what_has_waited_long_enough_goes_and_is_counted(monkeypatch):
    kept = KeptAnswers(3200, 60.0, 0)
    keys = put(kept, "old", 3)
    kept.join(keys[:1], np.ones(1))
    later(monkeypatch, 90)
    _, known = kept.join(keys[1:], np.ones(2))
    assert known.tolist() == [False, False]
    assert (kept.lost["expired"], kept.waiting) == (2, 0)
    assert len(kept.labelled(60.0, 1)) == 1  # what is labelled is measured still
    assert len(kept.labelled(60.0, 0)) == 0


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04", None])
def test_a_file_of_before_is_taken_over_and_a_damaged_or_other_one_is_not(tmp_path, damage, caplog):
    file = tmp_path / "answers" / "1.npz"
    kept = KeptAnswers(3200, 60.0, 0)
    kept.restore(file)  # there is none yet
    keys = put(kept, "a", 3)
    kept.join(keys[:1], np.ones(1))
    kept.save(file)
    again = KeptAnswers(3200, 60.0, 0)
    again.restore(file)
    assert (again.waiting, len(again.labelled(60.0, 0))) == (2, 1)
    assert not list(file.parent.glob("*.tmp"))
    other = KeptAnswers(3200 if damage is not None else 6400, 60.0, 0)
    if damage is not None:
        file.write_bytes(damage)
    other.restore(file)
    assert other.waiting == 0
    assert str(file) in caplog.text
    put(other, "b", 1)
    assert other.waiting == 1


def test_no_memory_keeps_nothing():
    kept = KeptAnswers(0, 60.0, 0)
    keys = put(kept, "a", 3)
    assert kept.join(keys, np.ones(3))[1].tolist() == [False] * 3
    assert (kept.lost["evicted"], kept.waiting, kept.bytes) == (3, 0, 0)
