"""Host operations beside TensorFlow's operators, text by text; and texts that are hard."""

from __future__ import annotations

import random

import numpy as np

from edgeline.runtimes.host.elements import RefusedElementError

LETTERS = [bytes([code]) for code in range(256)]
LETTERS += [sign.encode() for sign in "éßÜüłΣσςİıŉǅ類🚕ﬃԱաﾊ"] * 4 + [
    b" ",
    b"\t",
    b",",
    b"a",
    b"B",
] * 3


def texts(count: int, seed: int = 0) -> list[bytes]:
    """Random bytes, most of them no UTF-8, and texts of letters that behave in odd ways."""
    drawn = random.Random(seed)
    return [
        b"".join(drawn.choice(LETTERS) for _ in range(drawn.randint(0, drawn.choice([2, 6, 30]))))
        for _ in range(count)
    ]


def check(ours, theirs, values, *more):
    """Each element gives the same bits, or is refused by both."""
    import tensorflow as tf

    for place, value in enumerate(values):
        others = [[column[place]] for column in more]
        try:
            wanted = theirs(tf.constant([value]), *map(tf.constant, others)).numpy()
        except (tf.errors.InvalidArgumentError, UnicodeDecodeError):  # of its own message
            wanted = None
        try:
            found = ours(np.array([value], object), *map(np.array, others))
        except RefusedElementError:
            found = None
        assert (found is None) == (wanted is None), (value, others, found, wanted)
        if found is None:
            continue
        if found.dtype == object:
            same = found[0] == wanted[0]
        elif np.isnan(found[0]):  # the bits behind it are nobody's
            same = np.isnan(wanted[0]) and np.signbit(found[0]) == np.signbit(wanted[0])
        else:
            same = found.tobytes() == wanted.tobytes()
        assert same and found.dtype == wanted.dtype, (value, others, found, wanted)
