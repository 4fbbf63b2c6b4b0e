"""Names of columns inside signatures: as TensorFlow takes them, and read back as they were."""

from __future__ import annotations

import inspect
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edgeline.formats.signature_names import original, safe, told_apart

PIECES = [
    "_",
    "x",
    "0",
    "20",
    "0020",
    "00DF",
    "10FFFF",
    "D",
    "a",
    " ",
    "/",
    "ß",
    "𝛼",
    "class",
    "if",
]
names = st.text(min_size=1) | st.lists(st.sampled_from(PIECES), min_size=1).map("".join)


@pytest.mark.parametrize("name", ["fare", "pos_x", "x1", "x0020", "a_x_b", "trip__miles_", "A9"])
def test_a_name_that_a_signature_takes_stays(name):
    assert safe(name) == original(name) == name


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("sepal length (cm)", "sepal_x0020_length_x0020__x0028_cm_x0029_"),
        ("Sepal.Length", "Sepal_x002E_Length"),
        ("image/encoded", "image_x002F_encoded"),
        ("größe", "gr_x00F6__x00DF_e"),
        ("class", "x0063_lass"),
        ("3d", "x0033_d"),
        ("_id", "x005F_id"),
    ],
)
def test_what_no_signature_takes_is_escaped_as_sql_names_are_in_xml(name, written):
    assert safe(name) == written
    assert original(written) == name


@given(names)
@example("a_x0020_b")
@example("a_x0020 b")
@example("x0033_d")
def test_every_name_can_be_read_back_from_a_parameter_in_ascii(name):
    written = safe(name)
    assert re.fullmatch("[A-Za-z][A-Za-z0-9_]*", written)
    inspect.Parameter(written, inspect.Parameter.KEYWORD_ONLY)  # no keyword of Python
    assert original(written) == name  # so no two names are written alike


@given(st.lists(names | st.sampled_from(["a", "A", "aß", "a_x00df_", "x0041_"]), unique=True))
@example(["x1000M", "x1000m", "\u1000x004D_"])
@example(["y_x1000M", "y_x1000m"])
def test_names_of_one_signature_differ_in_more_than_capitals(columns):
    written = told_apart(columns)
    assert list(written) == columns
    assert len({each.lower() for each in written.values()}) == len(columns)
    assert [original(each) for each in written.values()] == columns


@pytest.mark.parametrize("name", ["a_x0061_b", "x0041", "_x00df_", "x110000_"])
def test_a_name_that_nothing_was_written_as_is_taken_for_itself(name):
    assert original(name) == name
