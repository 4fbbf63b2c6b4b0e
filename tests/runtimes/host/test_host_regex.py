"""Patterns match what RE2 matches, whether tried in turn or followed all at once."""

import random

import pytest

from edgeline.preprocessing.times import TEXT, ZONE
from edgeline.runtimes.host import regex
from edgeline.runtimes.host.patterns import PatternError

PATTERNS = [
    ("x*", "-"), ("a|ab", r"<\0>"), ("(a+)(b*)", r"\2\1"), (r"\s+", " "), ("[^a-z0-9]", ""),
    (r"^.*?(Z|UTC)?$", r"\1"), ("(a|b|c)d?", r"[\1]"), (r"(a(b)?)+", r"<\1,\2>"), (".", "."),
    (r"\W+", "_"), (r"^\d{3}", ""), ("$", "!"), ("^", "!"), (r"\b", "|"), ("é", "e"),
    ("[éa]", r"<\0>"), ("(?:a|aa)+b", "X"), ("a{2,3}?", "Y"), ("a{2,3}", "Y"),
    (r"(\d+)-(\d+)", r"\2/\1"), (r"[a\-z]", "q"), ("[]a]", "q"), (r"[^\s.]", "w"),
    (r"\.", r"\\"), ("(ab|a)(bc|c)?", r"[\1|\2]"), ("(|a)b", r"<\1>"), (r"[\d_]+?", "d"),
    ("(a?b|ab)*c", "R"), (r"\w{2}(\W)", r"\1"), ("u?é?x", "k"), ("", "."), (TEXT, "T"),
    (rf"^.*?{ZONE}?$", r"\1"), (rf"\s?{ZONE}$", ""), (r"^.{0,9}\.?", ""),
]  # fmt: skip
LETTERS = [
    *(b"a", b"b", b"c", b"d", b"x", b"1", b"2", b"-", b"+", b":", b" ", b"\n", b".", b"Z", b"UTC"),
    *(
        "é".encode(),
        "類".encode(),
        "🚕".encode(),
        b"\xff",
        b"\x80",
        b"\xe0\x80\x80",
        b"\xed\xa0\x80",
    ),
    *(b"\xf4\x90\x80\x80", b"\xc0\x80", b"\xc3", b"_", b"\0", b"\\", b"\t", b"\v", b"2024-03-01"),
    *(b"T12:34:56.789", b"+01:00"),
]
ATOMS = [
    *("a", "b", "x", ".", r"\d", r"\s", r"\W", "[ab]", "[^a]", "é", "(a)", "(b|c)", "(?:ab|a)"),
    *("(a|)", "-", r"\.", r"\b", "^", "$", "(a(b)c?)", r"[^\d]", r"(\d)"),
]
TIMES = ["", "", "*", "+", "?", "*?", "+?", "??", "{2}", "{1,2}", "{1,}"]


def some_text(drawn):
    letters = LETTERS[: drawn.choice([2, 5, 12, len(LETTERS)])]
    return b"".join(
        drawn.choice(letters) for _ in range(drawn.randint(0, drawn.choice([3, 8, 20])))
    )


def some_pattern(drawn):
    parts = [
        drawn.choice(ATOMS) + drawn.choice(TIMES) + drawn.choice(["", "", "|"])
        for _ in range(drawn.randint(1, 5))
    ]
    return "".join(parts), drawn.choice([r"<\0>", "", r"\1", r"[\1\2]", r"\\"])


@pytest.mark.slow
@pytest.mark.parametrize("at_once", [False, True])
def test_what_is_replaced_and_what_matches_is_what_re2_says(monkeypatch, at_once):
    import tensorflow as tf

    if at_once:
        monkeypatch.setattr(regex, "_longest", lambda _: -1)
    drawn = random.Random(7)
    tried = 0
    for pattern, rewrite in [*PATTERNS, *(some_pattern(drawn) for _ in range(150))]:
        try:
            ours = [regex.replace(pattern, rewrite, everywhere) for everywhere in (True, False)]
            matches = regex.full_match(pattern)
        except PatternError:
            assert (pattern, rewrite) not in PATTERNS
            continue
        tried += 1
        given = [some_text(drawn) for _ in range(60)]
        for replaced, everywhere in zip(ours, (True, False), strict=True):
            wanted = tf.strings.regex_replace(given, pattern, rewrite, everywhere).numpy()
            assert [replaced(text) for text in given] == wanted.tolist(), (pattern, rewrite)
        wanted = tf.strings.regex_full_match(given, pattern).numpy()
        assert [matches(text) for text in given] == wanted.tolist(), pattern
    assert tried > 80


@pytest.mark.parametrize(
    "pattern",
    [
        *(
            "(?i)a",
            "(?P<n>a)",
            "(a",
            "a)",
            "a**",
            "a*+",
            "(a*)*",
            "(|a)+",
            "[[:alpha:]]",
            r"\pL",
            "a{",
        ),
        *(r"(a)\1", "[b-a]", "[^é]", "[à-é]", r"\Q.\E", "(?=a)", "*a", "a{2000}", r"\B", "[a"),
    ],
)
def test_what_might_mean_something_else_is_refused(pattern):
    with pytest.raises(PatternError):
        regex.full_match(pattern)


@pytest.mark.parametrize("rewrite", [r"\2", "\\", r"\x"])
def test_so_is_what_it_is_replaced_by(rewrite):
    with pytest.raises(PatternError):
        regex.replace("(a)", rewrite, True)


def test_a_pattern_that_would_take_for_ever_comes_to_an_end():
    matches = regex.full_match("(a+)+b")
    assert matches(b"a" * 5000 + b"b")
    assert not matches(b"a" * 5000 + b"c")
    with pytest.raises(ValueError, match="1,000,000 bytes, and at most 100,000 are matched"):
        matches(b"a" * 1_000_000)
