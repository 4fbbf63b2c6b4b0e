"""Feature functions from a grammar over the operators that preprocessing uses, and the values to
ask them about; it imports TensorFlow, so tests import it in their bodies.

Two numbers that differ in their last bit are apart in whatever is not continuous, and an
exponential makes much of little. So a number knows whether it is the same on both sides bit for bit
(`exact`: features, and what IEEE 754 rounds in one way), and only of such is more than a smooth
function taken.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from extreme_cases import FLOATS, INTEGERS

from edgeline.preprocessing import (
    day_of_week,
    fill_missing,
    hour_of_day,
    parse_datetime,
    seconds_since,
)

DAY = 86_400_000_000  # of microseconds
WORDS = (b"red", b"green", b"blue", b"")
ASKED = (*WORDS, b"unknown", b"x" * 300, "größe".encode())
NOTES = (
    *(b"", b" ", b"12", b"-3.5", b" AB,cd ", b"red,,blue,green", b"RED", b"a-b-c", b"\xff\xfe\x80"),
    *(b"2024-02-29", b"2024-03-01 12:34:56.789+01:00", b"2023-02-29", b"1969-12-31T23:59Z"),
    *("größe, ÄÖ".encode(), "類別".encode(), b"9" * 19, b"1e5", b",", b"x" * 300),
)
TIMES = (-(2**63), 0, 1_700_000_000_000_000, -1_700_000_000_000_001, DAY - 1, -DAY, 2**53 + 1)
VOCABULARY = tf.lookup.StaticHashTable(
    tf.lookup.KeyValueTensorInitializer(tf.constant(WORDS[:3]), tf.constant([0, 1, 2], tf.int64)),
    -1,
)


@dataclass(frozen=True)
class Expression:
    """A function of features by name; `text` is how a user would write it."""

    text: str
    compute: Callable[[dict[str, tf.Tensor]], tf.Tensor]
    exact: bool = True


def values(rows: int) -> dict[str, np.ndarray]:
    """Features, [rows, 1] each: all values of each, in pairs that chance makes."""
    random = np.random.default_rng(11)

    def column(found, dtype):
        found = np.asarray(found, dtype).ravel()
        every = np.concatenate([found, random.choice(found, rows)])[:rows]
        return random.permutation(every)[:, None]

    return {
        "amount": column(FLOATS, np.float32),
        "price": column(FLOATS, np.float32),
        "code": column(INTEGERS, np.int64),
        "when": column(TIMES, np.int64),
        "word": column(ASKED, object),
        "note": column(NOTES, object),
    }


def functions(count: int, seed: int) -> dict[str, Callable[[dict[str, tf.Tensor]], tf.Tensor]]:
    """Functions of these features to float32 [rows, n], by what they compute."""
    grammar = Grammar(np.random.default_rng(seed))
    found: dict[str, Callable[[dict[str, tf.Tensor]], tf.Tensor]] = {}
    while len(found) < count:
        made = grammar.feature()
        found[made.text] = made.compute
    return found


class Grammar:
    """Draws expressions; each method is a rule, `depth` how many may stand within one."""

    def __init__(self, random: np.random.Generator) -> None:
        self.random = random

    def _one_of(self, choices):
        return choices[self.random.integers(len(choices))]

    def feature(self) -> Expression:
        if self.random.random() < 0.3:
            given = self.whole(2)
            return Expression(
                f"one_hot({given.text}, 8)",
                lambda x: tf.reshape(tf.one_hot(given.compute(x), 8), [-1, 8]),
            )
        return self.number(3)

    def number(self, depth: int) -> Expression:
        """float32, [rows, 1]."""
        if not depth or self.random.random() < 0.5:
            return self.exact(depth)
        rule = self._one_of(
            [*(self._curve, self._smooth, self._mean), *(self._chosen, self._share, self._gated)]
        )
        return rule(depth - 1)

    def exact(self, depth: int) -> Expression:
        if not depth:
            name = self._one_of(["amount", "price"])
            return Expression(name, lambda x: x[name])
        rule = self._one_of(
            [
                *(self._filled, self._arithmetic, self._rounded, self._of_three),
                *(self._from_whole, self._from_text, self._flag),
            ]
        )
        return rule(depth - 1)

    def _curve(self, depth: int) -> Expression:
        """What has a steep side, of numbers that are the same."""
        name, curve = self._one_of(list(CURVES.items()))
        given = self.exact(depth)
        return Expression(f"{name}({given.text})", lambda x: curve(given.compute(x)), False)

    def _smooth(self, depth: int) -> Expression:
        name, curve = self._one_of(list(SMOOTH.items()))
        given = self.number(depth)
        return Expression(f"{name}({given.text})", lambda x: curve(given.compute(x)), False)

    def _mean(self, depth: int) -> Expression:
        a, b = self._bounded(depth), self._bounded(depth)
        name, reduce = self._one_of(list(REDUCTIONS.items()))
        return Expression(
            f"{name}({a.text}, {b.text})",
            lambda x: reduce(tf.concat([a.compute(x), b.compute(x)], 1), 1, keepdims=True),
            False,
        )

    def _bounded(self, depth: int) -> Expression:
        """Sums of large numbers cancel."""
        given = self.number(depth)
        return Expression(f"tanh({given.text})", lambda x: tf.tanh(given.compute(x)), False)

    def _chosen(self, depth: int) -> Expression:
        condition, a, b = self.condition(depth), self.number(depth), self.number(depth)
        return Expression(
            f"where({condition.text}, {a.text}, {b.text})",
            lambda x: tf.where(condition.compute(x), a.compute(x), b.compute(x)),
            a.exact and b.exact,
        )

    def _gated(self, depth: int) -> Expression:
        """A condition and its opposite, computed once."""
        condition, a, b = self.condition(depth), self.exact(depth), self.exact(depth)

        def compute(x):
            holds = condition.compute(x)
            return tf.where(holds, a.compute(x), 1.0) + tf.where(~holds, b.compute(x), 2.0)

        return Expression(f"gated({condition.text}, {a.text}, {b.text})", compute)

    def _flag(self, depth: int) -> Expression:
        condition = self.condition(depth)
        return Expression(
            f"float({condition.text})", lambda x: tf.cast(condition.compute(x), tf.float32)
        )

    def _share(self, depth: int) -> Expression:
        a, b = self.whole(depth), self._one_of([7, 1000, -3])
        return Expression(f"{a.text} / {b}", lambda x: tf.cast(a.compute(x) / b, tf.float32), False)

    def _filled(self, depth: int) -> Expression:
        given = self.exact(depth)
        return Expression(f"fill({given.text})", lambda x: fill_missing(given.compute(x), 1.5))

    def _arithmetic(self, depth: int) -> Expression:
        sign, function = self._one_of(list(ARITHMETIC.items()))
        a, b = self.exact(depth), self.exact(depth)
        return Expression(
            f"({a.text} {sign} {b.text})", lambda x: function(a.compute(x), b.compute(x))
        )

    def _rounded(self, depth: int) -> Expression:
        name, function = self._one_of(list(ROUNDED.items()))
        given = self.exact(depth)
        return Expression(f"{name}({given.text})", lambda x: function(given.compute(x)))

    def _of_three(self, depth: int) -> Expression:
        name, reduce = self._one_of(list(LARGEST.items()))
        a, b = self.exact(depth), self.exact(depth)

        def compute(x):
            found = tf.concat([a.compute(x), b.compute(x), tf.ones_like(a.compute(x))], 1)
            return reduce(found, 1, keepdims=True)

        return Expression(f"{name}({a.text}, {b.text}, 1)", compute)

    def _from_text(self, depth: int) -> Expression:
        given = self.text(depth)
        return Expression(f"to_number({given.text})", lambda x: _number(given.compute(x)))

    def _from_whole(self, depth: int) -> Expression:
        given = self.whole(depth)
        return Expression(f"float({given.text})", lambda x: tf.cast(given.compute(x), tf.float32))

    def whole(self, depth: int) -> Expression:
        """int64, [rows, 1]."""
        if not depth:
            return self._one_of(LEAVES)
        if self.random.random() < 0.2:
            name, function = self._one_of(list(OF_TEXT.items()))
            words = self.text(depth)
            return Expression(name.format(words.text), lambda x: function(words.compute(x)))
        if self.random.random() < 0.25:
            given = self.exact(depth - 1)
            return Expression(f"int({given.text})", lambda x: tf.cast(given.compute(x), tf.int64))
        if self.random.random() < 0.2:
            condition, a, b = self.condition(depth - 1), self.whole(depth - 1), self._one_of(LEAVES)
            return Expression(
                f"where({condition.text}, {a.text}, {b.text})",
                lambda x: tf.where(condition.compute(x), a.compute(x), b.compute(x)),
            )
        if self.random.random() < 0.15:
            holds = self.condition(depth - 1)
            return Expression(f"int({holds.text})", lambda x: tf.cast(holds.compute(x), tf.int64))
        name, function = self._one_of(list(WHOLE.items()))
        given = self.whole(depth - 1)
        return Expression(name.format(given.text), lambda x: function(given.compute(x)))

    def text(self, depth: int) -> Expression:
        """string, [rows, 1]."""
        if not depth or self.random.random() < 0.2:
            return self._one_of(TEXTS)
        if self.random.random() < 0.2:
            a, b = self.text(depth - 1), self._one_of(TEXTS)
            return Expression(
                f"join({a.text}, {b.text})",
                lambda x: tf.strings.join([a.compute(x), b.compute(x)], "-"),
            )
        name, function = self._one_of(list(TEXT.items()))
        given = self.text(depth - 1)
        return Expression(name.format(given.text), lambda x: function(given.compute(x)))

    def condition(self, depth: int) -> Expression:
        """bool, [rows, 1]."""
        if depth and self.random.random() < 0.3:
            name, combine = self._one_of(list(LOGIC.items()))
            one, other = self.condition(depth - 1), self.condition(depth - 1)
            return Expression(
                name.format(one.text, other.text),
                lambda x: combine(one.compute(x), other.compute(x)),
            )
        if self.random.random() < 0.3:
            sign, compare = self._one_of(list(COMPARISONS.items()))
            left, right = self.exact(max(depth - 1, 0)), self._one_of(["amount", "price", 1.5, 0.0])
            return Expression(
                f"({left.text} {sign} {right})",
                lambda x: compare(left.compute(x), x[right] if isinstance(right, str) else right),
            )
        if self.random.random() < 0.4:
            given, number = self.whole(depth), int(self.random.integers(-1, 9))
            sign, compare = self._one_of(list(COMPARISONS.items()))
            return Expression(
                f"{given.text} {sign} {number}", lambda x: compare(given.compute(x), number)
            )
        given = self.exact(depth)
        name, test = self._one_of(list(TESTS.items()))
        return Expression(f"{name}({given.text})", lambda x: test(given.compute(x)))


LOGIC = {
    "(not {0})": lambda a, _: ~a,
    "({0} and {1})": tf.logical_and,
    "({0} or {1})": tf.logical_or,
    "({0} xor {1})": tf.math.logical_xor,
    "({0} is {1})": tf.equal,
}
CURVES = {
    "exp": tf.exp,
    "expm1": tf.math.expm1,
    "selu": tf.nn.selu,
    "softplus": tf.nn.softplus,
    "log_sigmoid": tf.math.log_sigmoid,
    "log1p": tf.math.log1p,
    "log": tf.math.log,
    "sin": tf.sin,
    "cos": tf.cos,
    "rsqrt": tf.math.rsqrt,
    "sqrt": lambda x: tf.sqrt(tf.minimum(x, 1e30)),  # XNNPACK's is wrong at the largest floats
    "square": tf.square,
    "softmax": lambda x: tf.nn.softmax(tf.concat([x, tf.zeros_like(x)], 1)),
}
SMOOTH = {
    "tanh": tf.tanh,
    # XNNPACK's is NaN above 5e26 on processors with AVX-512
    "sigmoid": lambda x: tf.sigmoid(tf.clip_by_value(x, -1e20, 1e20)),
    "softsign": tf.nn.softsign,
    "abs": tf.abs,
    "relu": tf.nn.relu,
    "clip": lambda x: tf.clip_by_value(x, -3.0, 3.0),
    "elu": tf.nn.elu,
}
REDUCTIONS = {
    "mean": tf.reduce_mean,
    "sum": tf.reduce_sum,
    "logsumexp": tf.reduce_logsumexp,
}
LARGEST = {"max": tf.reduce_max, "min": tf.reduce_min}
ARITHMETIC = {
    "+": tf.add,
    "-": tf.subtract,
    "*": tf.multiply,
    "/": tf.divide,
    "max": tf.maximum,
    "min": tf.minimum,
}
ROUNDED = {
    "floor": tf.floor,
    "ceil": tf.math.ceil,
    "round": tf.round,
    "sign": tf.sign,
    "negative": tf.negative,
    "abs": tf.abs,
}
WHOLE = {
    "({0} // 3)": lambda x: x // 3,
    "({0} // -7)": lambda x: x // -7,
    "({0} % 24)": lambda x: x % 24,
    "hour({0})": lambda x: x % DAY // 3_600_000_000,
    "weekday({0})": lambda x: (x // DAY + 4) % 7,
    "({0} + 5)": lambda x: x + 5,
    "({0} * 3)": lambda x: x * 3,
    "({0} & 7)": lambda x: x & 7,
    "({0} >> 4)": lambda x: tf.bitwise.right_shift(x, tf.constant(4, tf.int64)),
    "abs({0})": tf.abs,
    "clip({0})": lambda x: tf.clip_by_value(x, 0, 5),
    "fill({0})": lambda x: fill_missing(x, 3),
    "int32({0})": lambda x: tf.cast(tf.cast(x, tf.int32), tf.int64),
    "hour_of_day({0})": hour_of_day,
    "hour_of_day({0}, -03:30)": lambda x: hour_of_day(x, "-03:30"),
    "day_of_week({0}, +05:45)": lambda x: day_of_week(x, "+05:45"),
    "seconds_since({0})": lambda x: seconds_since(x, "2024-01-01"),
}


def _part(place):
    """One of three pieces between commas."""

    def part(x):
        pieces = tf.strings.split(tf.squeeze(x, 1), ",").to_tensor("none", shape=[None, 3])
        return pieces[:, place : place + 1]

    return part


def _number(x, dtype=tf.float32):
    """Of text that is one; TensorFlow refuses all else."""
    pattern = r"-?[0-9]{1,18}" if dtype == tf.int64 else r" *-?[0-9]+(\.[0-9]+)?(e[0-9])? *"
    return tf.strings.to_number(tf.where(tf.strings.regex_full_match(x, pattern), x, "0"), dtype)


TEXT = {
    "lower({0})": tf.strings.lower,
    "upper({0})": tf.strings.upper,
    "lower({0}, utf-8)": lambda x: tf.strings.lower(x, encoding="utf-8"),
    "strip({0})": tf.strings.strip,
    "substr({0}, 0, 3)": lambda x: tf.strings.substr(x, 0, 3),
    "substr({0}, 0, 2, utf-8)": lambda x: tf.strings.substr(_valid(x), 0, 2, unit="UTF8_CHAR"),
    "first of {0}": _part(0),
    "third of {0}": _part(2),
    "digits of {0}": lambda x: tf.strings.regex_replace(x, "[^0-9]+", ""),
    "swapped {0}": lambda x: tf.strings.regex_replace(x, "^([a-z]+),(.*)$", r"\2,\1"),
    "fill({0})": lambda x: fill_missing(x, "none"),
}
OF_TEXT = {
    "length({0})": lambda x: tf.cast(tf.strings.length(x), tf.int64),
    "length({0}, utf-8)": lambda x: tf.cast(tf.strings.length(x, unit="UTF8_CHAR"), tf.int64),
    "vocabulary({0})": lambda x: VOCABULARY.lookup(x),
    "hash({0}, 7)": lambda x: tf.strings.to_hash_bucket_fast(x, 7),
    "strong hash({0}, 17)": lambda x: tf.strings.to_hash_bucket_strong(x, 17, [3, 4]),
    "old hash({0}, 1000)": lambda x: tf.strings.to_hash_bucket(x, 1000),
    "to_number({0}, int64)": lambda x: _number(x, tf.int64),
    "is word({0})": lambda x: tf.cast(tf.strings.regex_full_match(x, "[a-z]+"), tf.int64),
    "parse_datetime({0})": parse_datetime,
    "hour_of_day(parse_datetime({0}))": lambda x: hour_of_day(parse_datetime(x, "+02:00")),
    "is red({0})": lambda x: tf.cast(tf.equal(x, "red"), tf.int64),
}
TEXTS = [
    Expression("word", lambda x: x["word"]),
    Expression("note", lambda x: x["note"]),
    Expression("as_string(code)", lambda x: tf.strings.as_string(x["code"])),
    Expression("as_string(amount)", lambda x: tf.strings.as_string(x["amount"])),
    Expression("as_string(price, 2)", lambda x: tf.strings.as_string(x["price"], precision=2)),
]


def _valid(x):
    """UTF-8, of other bytes nothing: TensorFlow refuses to count their letters."""
    return tf.where(tf.strings.regex_full_match(x, ".*"), x, "")


COMPARISONS = {"<": tf.less, "==": tf.equal, ">": tf.greater, "!=": tf.not_equal}
TESTS = {
    "is_nan": tf.math.is_nan,
    "is_inf": tf.math.is_inf,
    "is_finite": tf.math.is_finite,
    "positive": lambda x: x > 0,
    "below 300": lambda x: x < 300.0,
    "not below -1": lambda x: x >= -1.0,
    "infinite": lambda x: tf.equal(x, np.inf),
}
LEAVES = [
    Expression("code", lambda x: x["code"]),
    Expression("when", lambda x: x["when"]),
    Expression("vocabulary(word)", lambda x: VOCABULARY.lookup(x["word"])),
    Expression(
        "vocabulary(fill(word))", lambda x: VOCABULARY.lookup(fill_missing(x["word"], "red"))
    ),
    Expression("bucket(amount)", lambda x: _bucket(x["amount"])),
]


def _bucket(x: tf.Tensor) -> tf.Tensor:
    boundaries = tf.constant([[-1.0, 0.0, 2.5, 300.0]])
    found = tf.raw_ops.UpperBound(
        sorted_inputs=boundaries, values=tf.reshape(x, [1, -1]), out_type=tf.int64
    )
    return tf.reshape(found, [-1, 1])


def differing(found: dict[str, tuple[np.ndarray, np.ndarray]], given: dict[str, np.ndarray]):
    """By function, the first row of features on which it differs by more than 1e-5, and both."""
    wrong = {}
    for name, (cloud, edge) in found.items():
        close = np.isclose(cloud, edge, rtol=1e-5, atol=1e-5, equal_nan=True)
        rows = np.flatnonzero(~close.reshape(len(cloud), -1).all(axis=1))
        if len(rows):
            row = {feature: column[rows[0], 0] for feature, column in given.items()}
            wrong[name] = (row, cloud[rows[0]].tolist(), edge[rows[0]].tolist())
    return wrong
