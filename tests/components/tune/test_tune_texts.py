"""A search space's values as texts, and back."""

from __future__ import annotations

from typing import Any

import pytest

from edgeline.components.tune import texts
from edgeline.components.tune.space import Dimension, parse
from edgeline.errors import EdgelineError


def dimension(**given: Any) -> Dimension:
    return parse({"units": given}, "search_space")[0]


@pytest.mark.parametrize(
    ("choices", "called"),
    [
        ([16, 32], ("16", "32")),
        ([[64, 32], [16]], ("[64, 32]", "[16]")),
        (["relu", "gelu"], ("relu", "gelu")),
        ([True, None, 0.5], ("true", "null", "0.5")),
        (["1", 1], ("0", "1")),  # both would be called 1
        (["$(HOME)", "a"], ("0", "1")),
        (['say "hi"', "a"], ("0", "1")),
        (["a\nb", "a"], ("0", "1")),
        ([{"a": 1}, {"a": 2}], ("0", "1")),
        (["é", "e"], ("0", "1")),
        (["", "e"], ("0", "1")),
        (["x" * 65, "e"], ("0", "1")),
    ],
)
def test_choices_are_called_what_every_system_hands_on_as_it_is(choices: Any, called: Any) -> None:
    found = dimension(choices=choices)
    assert texts.choices(found, "it") == called
    assert [texts.value(found, each) for each in called] == choices


def test_a_range_with_steps_is_a_list_from_its_low_end() -> None:
    whole = dimension(low=4, high=30, step=8)
    assert texts.choices(whole, "it") == ("4", "12", "20", "28")
    assert texts.value(whole, "28") == 28 and isinstance(texts.value(whole, "28"), int)
    numbers = dimension(low=0.1, high=0.7, step=0.2)
    assert texts.choices(numbers, "it") == ("0.1", "0.3", "0.5", "0.7")
    with pytest.raises(EdgelineError, match="it has 1001 values, more than 100"):
        texts.choices(dimension(low=0, high=1000, step=1, type="int"), "it")


def test_a_range_takes_numbers_within_it() -> None:
    found = dimension(low=0.001, high=0.1, log=True)
    assert texts.ends(found) == {"min": "0.001", "max": "0.1"}
    assert texts.value(found, "1e-2") == 0.01
    assert texts.value(found, "0.10000000000000002") == 0.1  # by way of its logarithm
    for wrong in ("0.2", "0", "nan", "inf", "-inf", "", "many"):
        with pytest.raises(EdgelineError, match=r"but may be numbers from 0\.001 to 0\.1"):
            texts.value(found, wrong)
    whole = dimension(low=4, high=64, log=True)
    assert texts.ends(whole) == {"min": "4", "max": "64"}
    assert [texts.value(whole, each) for each in ("4", "64", "17.0")] == [4, 64, 17]
    for wrong in ("16.5", "3", "65"):
        with pytest.raises(EdgelineError, match="but may be whole numbers from 4 to 64"):
            texts.value(whole, wrong)
    with pytest.raises(EdgelineError, match="units is '24': give one of 16, 32"):
        texts.value(dimension(choices=[16, 32]), "24")
