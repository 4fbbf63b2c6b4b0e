"""The sentence about transformed features, from fields that may be anyone's."""

import pytest

from edgeline.artifacts.transformed import KEY, Cause, causes, sentence

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


@pytest.mark.parametrize(
    "facts",
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
def test_what_an_older_version_or_a_stranger_wrote_lacks_the_operator(facts):
    assert causes(facts) == []
    assert sentence("transformed", facts) == (
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
