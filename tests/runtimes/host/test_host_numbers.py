"""Numbers are read from text and written as text exactly as TensorFlow does."""

import random
import struct
from decimal import Decimal, localcontext

import numpy as np
import pytest
from same import check

from edgeline.runtimes.host import numbers

pytestmark = pytest.mark.slow

PARTS = [
    *(b"+", b"-", b"1", b"0", b"9", b".", b"e", b"E", b"x", b"X", b"p", b"inf", b"nan", b"(", b")"),
    *(b" ", b"_", b"f", b"00", b"123456789", b"\t", b"\0", b"i", b"n", b"INF", b"NaN", b"inity"),
]
NAMED = [
    *(b"", b" ", b"+1e5", b"1_0", b"-nan(1)", b"infin", b"1e", b".", b"0x", b"0x.8", b"\xc2\xa01"),
    *(b"1e0000000000000000001", b"1e9999999999999999999", b"-1e-9999999999999999999"),
    *(b"0e99999999999", b"0x1p99999999999999999", b"0x0p99999999999", b"1" * 5000),
    *(b"0." + b"0" * 5000 + b"1e5000", b"3.4028235677973366e38", b"0x1.000001p0"),
    *(b"3.40282356779733661637539395458142568447e38", b"9223372036854775808"),
    *(b"-9223372036854775808", b"-9223372036854775809"),
    *(b"3.40282356779733661637539395458142568448e38", b"7.006492321624085e-46", b"0x1p-150"),
]  # fmt: skip


def written(count):
    """Numbers as text, near the middle between two floats, too, and what is hardly any."""
    drawn = random.Random(5)
    yield from NAMED
    for _ in range(count):
        (single,) = struct.unpack("<f", drawn.randbytes(4))
        (double,) = struct.unpack("<d", drawn.randbytes(8))
        yield from (repr(single).encode(), repr(double).encode())
        yield b"%.*e" % (drawn.randint(0, 25), single)
        yield b"%d" % drawn.randint(-(2 ** drawn.randint(1, 66)), 2 ** drawn.randint(1, 66))
        yield b"".join(drawn.choice(PARTS) for _ in range(drawn.randint(0, 6)))
        yield b"0x%x.%xp%d" % (
            drawn.getrandbits(24),
            drawn.getrandbits(50),
            drawn.randint(-180, 120),
        )
        after = np.nextafter(np.float32(single), np.float32(np.inf))
        if np.isfinite(single) and np.isfinite(after):
            with localcontext(prec=200):
                middle = (Decimal(single) + Decimal(float(after))) / 2
                beside = Decimal(drawn.choice([0, 0, 1, -1])) * middle
                yield str(middle + beside * Decimal(10) ** -drawn.randint(17, 60)).encode()


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64"])
def test_numbers_are_read_to_the_bit_or_refused(dtype):
    import tensorflow as tf

    ours = numbers.to_number({"out_type": dtype})
    check(ours, lambda t: tf.strings.to_number(t, dtype), list(written(400)))


FORMS = [
    {},
    {"shortest": True},
    {"scientific": True, "precision": 3},
    {"width": 12, "fill": "0", "precision": 2},
    {"width": 12, "fill": "-", "shortest": True},
    {"width": 3, "fill": "+"},
    {"fill": " ", "scientific": True},
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64", "bool"])
def test_numbers_are_written_as_c_writes_them(form, dtype):
    import tensorflow as tf

    drawn = random.Random(6)
    if dtype.startswith("float"):
        values = [struct.unpack("<f", drawn.randbytes(4))[0] for _ in range(300)]
        values += [
            0.0,
            -0.0,
            np.inf,
            -np.inf,
            np.nan,
            -np.nan,
            1e-45,
            -1e-45,
            3.4e38,
            0.5,
            2.5,
            0.1,
        ]
    elif dtype == "bool":
        values, form = [True, False], {}
    else:
        form = {name: value for name, value in form.items() if name in ("width", "fill")}
        values = [0, -(2**31), 2**31 - 1, *(drawn.randint(-(10**6), 10**6) for _ in range(50))]
    given = np.array(values, dtype)
    wanted = tf.function(lambda x: tf.strings.as_string(x, **form))(given).numpy()
    found = numbers.as_string({**form, "T": dtype})(given)
    assert found.tolist() == wanted.tolist()


def test_denormal_numbers_are_0_as_to_tensorflow():
    import tensorflow as tf

    from edgeline.runtimes.host import arrays

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def cloud(text):
        number = tf.strings.to_number(text, tf.float64)
        shown = tf.strings.as_string(number, shortest=True)
        return tf.equal(number, 0.0), tf.cast(number, tf.float32), shown

    given = np.array([b"1e-310", b"-1e-40", b"1e-30"], object)
    number = numbers.to_number({"out_type": "float64"})(given)
    ours = (
        arrays.typed(np.equal)({"T": "float64"})(number, np.array(0.0)),
        arrays.cast({"SrcT": "float64", "DstT": "float32"})(number),
        numbers.as_string({"T": "float64", "shortest": True, "fill": ""})(number),
    )
    for found, wanted in zip(ours, cloud(tf.constant(given)), strict=True):
        np.testing.assert_array_equal(found, wanted.numpy())
