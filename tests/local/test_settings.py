"""`--set NAME=VALUE` as the types that a pipeline's parameters have."""

from __future__ import annotations

import click
import pytest

from edgeline.cli import parse_settings

TYPES = {
    "data": "STRING",
    "steps": "NUMBER_INTEGER",
    "rate": "NUMBER_DOUBLE",
    "fast": "BOOLEAN",
    "names": "LIST",
    "options": "STRUCT",
}


def test_values_get_their_types() -> None:
    given = ("data=a=b.csv", "steps=5", "rate=1", "fast=true", 'names=["x"]', 'options={"a": 1}')
    assert parse_settings(given, TYPES) == {
        "data": "a=b.csv",
        "steps": 5,
        "rate": 1,
        "fast": True,
        "names": ["x"],
        "options": {"a": 1},
    }
    assert type(parse_settings(("rate=1",), TYPES)["rate"]) is float  # KFP refuses an int


@pytest.mark.parametrize(
    "setting",
    ["steps=1.5", "steps=true", "fast=1", "fast=yes", 'names="x"', "options=[]", "rate=x"],
)
def test_a_wrong_type_names_the_parameter(setting: str) -> None:
    with pytest.raises(click.UsageError, match=f"--set {setting.partition('=')[0]}"):
        parse_settings((setting,), TYPES)


def test_a_model_name_that_is_no_text_is_the_pipeline_s_own() -> None:
    assert parse_settings(("model_name=5",), {"model_name": "NUMBER_INTEGER"}) == {"model_name": 5}
