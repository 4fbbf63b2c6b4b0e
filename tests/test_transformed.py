"""The sentence about transformed features, from fields that may be anyone's."""

import io

import pytest
from rich.markup import escape

from edgeline import artifacts
from edgeline.artifacts.transformed import KEY, Cause, causes, sentence
from edgeline.local.plan import PlannedTask
from edgeline.local.progress import facts
from edgeline.local.tasks import TaskResult
from edgeline.reports import terminal

HEAD = "The model takes transformed features instead of raw ones"


def told(*found: Cause) -> str:
    return sentence("transformed", {KEY: [cause.to_json() for cause in found]})


def test_raw_features_need_no_sentence():
    assert sentence("raw", {}) == sentence("raw", {KEY: [Cause(("a",), "Substr").to_json()]}) == ""


def test_operators_and_features_are_named():
    assert told(Cause(("a",), "Substr"), Cause(("b", "c"), "RegexReplace"), Cause((), "Foo")) == (
        f"{HEAD}, because LiteRT lacks Substr, which the transform applies to feature 'a'; and "
        "RegexReplace, which the transform applies to features 'b' and 'c'; and Foo, which the "
        "transform uses: whoever asks for a prediction has to transform the features first."
    )
    assert "lacks AsString, RegexReplace and Substr, which the transform applies to f" in told(
        *(Cause(("a",), name) for name in ("AsString", "RegexReplace", "Substr"))
    )


def test_an_imported_file_gives_its_reason():
    reason = "input 'image' takes images with the channels first"
    assert told(Cause(("image",), reason=reason)) == f"{HEAD}: {reason}."


MANY = tuple(f"a column of a wide table, number {number:03}" for number in range(150))


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (
            [Cause(MANY, "Substr"), Cause(MANY, "StringToNumber"), Cause(("b",), "Foo")],
            f"LiteRT lacks Substr and StringToNumber, which the transform applies to features "
            f"{', '.join(map(repr, MANY[:10]))} and 140 others; and Foo, which the transform "
            "applies to feature 'b':",
        ),
        (
            [Cause(MANY[:11], "Substr")],
            f"applies to features {', '.join(map(repr, MANY[:10]))} and 1 other:",
        ),
        ([Cause(("n" * 500,), "Substr")], f"applies to feature '{'n' * 99}…':"),
        ([Cause(("ü",) * 10, f"Operator{i}") for i in range(20)], "Operator19, which"),
    ],
)
def test_the_table_of_the_run_says_the_same_of_many_features(found, said, tmp_path):
    with artifacts.writing(tmp_path / "edge_model", "edge_model/v1") as draft:
        draft.metadata |= {"takes": "transformed", KEY: [cause.to_json() for cause in found]}
    outputs = {"edge_model": {"uri": str(tmp_path / "edge_model"), "metadata": {}}}
    result = TaskResult(PlannedTask("convert", "convert", ()), "succeeded", outputs=outputs)
    assert said in told(*found)
    assert facts(result, {}) == told(*found)


def test_a_name_is_printed_as_it_is():
    """Neither taken for a colour nor for a picture of a key."""
    printed = io.StringIO()
    terminal.console(printed).print(escape(told(Cause(("a:key:[bold]",), "Substr"))))
    assert "feature 'a:key:[bold]':" in printed.getvalue()


def test_so_many_operators_that_their_features_have_no_room_are_all_named():
    found = [Cause(("f" * 500 + str(i),) * 12, f"An{'Operator' * 4}{i}") for i in range(30)]
    text = told(*found)
    assert all(f"{cause.operator}" in text for cause in found)
    assert "and 2 others:" in text


@pytest.mark.parametrize("others", [None, "3", -1, 1e300, float("nan"), [], 0.5])
def test_a_stranger_s_number_of_features_is_none(others):
    entry = {**Cause(("a",), "Substr").to_json(), "others": others}
    assert sentence("transformed", {KEY: [entry]}) == told(Cause(("a",), "Substr"))


@pytest.mark.parametrize(
    "found",
    [
        {},
        {"run": "1"},
        {KEY: []},
        {KEY: None},
        {KEY: 3},
        {KEY: [None, 3, {}, {"features": "a"}]},
        None,
        [],
        "text",
    ],
)
def test_what_an_older_version_or_a_stranger_wrote_lacks_the_operator(found):
    assert causes(found) == []
    assert sentence("transformed", found) == (
        f"{HEAD}; which operator of the transform LiteRT lacks was not recorded."
    )


def test_a_stranger_s_fields_stay_one_short_line():
    entry = {"features": ["a\n" * 5000, 3], "operator": "Sub\nstr", "reason": "x\ny " * 5000}
    text = sentence("transformed", {KEY: [entry]})
    assert "\n" not in text and len(text) < 500
    entry |= {"operator": None, "reason": None}
    assert sentence("transformed", {KEY: [entry]}).endswith("was not recorded.")
    entry["operator"] = "Substr"
    text = sentence("transformed", {KEY: [entry]})
    assert "\n" not in text and len(text) < 500 and "Substr" in text
