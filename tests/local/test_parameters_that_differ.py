"""Which parameters of two runs differ: each leaf, and no value that is told wrongly."""

from __future__ import annotations

from typing import Any

import pytest

from edgeline.local.parameters import change, differences


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ({}, {"units": [16]}, {"x.units[0]": "not set -> 16"}),
        ([], ["ethos-u55"], {"x[0]": "not set -> ethos-u55"}),
        ('{"a": null}', "{}", {"x.a": "null -> not set"}),
        ({"a": {}}, {"a": {"b": 1, "c": {}}}, {"x.a.b": "not set -> 1", "x.a.c": "not set -> {}"}),
        ({"a": {}}, {}, {"x.a": "{} -> not set"}),
        ({"a": 1}, {"a": [2]}, {"x.a": "1 -> not set", "x.a[0]": "not set -> 2"}),
        ({"a": 1, "b": 2}, {"b": 3, "a": 1}, {"x.b": "2 -> 3"}),
        (5, None, {"x": "5 -> not set"}),
        ("[1", "[2", {"x": "[1 -> [2"}),
    ],
)
def test_differences(before: Any, after: Any, told: dict[str, str]) -> None:
    found = {path: change(*values) for path, values in differences("x", (before, after))}
    assert found == told
