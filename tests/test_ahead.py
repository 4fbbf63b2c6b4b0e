"""Work ahead gives the same items, and what goes wrong is told where they are taken."""

from __future__ import annotations

import threading

import pytest

from edgeline.artifacts.ahead import ahead


def test_the_next_item_is_made_while_one_is_used():
    made = [threading.Event() for _ in range(3)]

    def items():
        for number, event in enumerate(made):
            event.set()
            yield number

    found = []
    for number in ahead(items()):
        if number < 2:
            assert made[number + 1].wait(20)
        found.append(number)
    assert found == [0, 1, 2]


def test_an_error_comes_after_the_items_before_it():
    def items():
        yield "good"
        raise ValueError("the second")

    found = ahead(items())
    assert next(found) == "good"
    with pytest.raises(ValueError, match="the second"):
        next(found)


def test_who_stops_early_leaves_no_thread():
    before = threading.active_count()
    found = ahead(iter(range(1000)))
    assert next(found) == 0
    found.close()
    assert threading.active_count() == before
