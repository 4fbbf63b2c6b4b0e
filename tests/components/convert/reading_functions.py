"""Functions of four features, and which of them their `Substr` reads; imports TensorFlow."""

import tensorflow as tf

DTYPES = {"a": tf.string, "b": tf.string, "c": tf.float32, "d": tf.float32}


def number(text):
    return tf.strings.to_number(tf.strings.substr(text, 0, 2))


called = tf.function(
    lambda text, other: number(text) + other,
    autograph=False,
    experimental_attributes={"_noinline": True},
)


def loop(x):
    """The text of the first round is 'a', of the next ones 'b'; 'd' says how many there are."""

    def step(count, text, _, total):
        return count + 1.0, x["b"], x["c"], total + number(text)

    most = tf.reduce_sum(x["d"])
    return tf.while_loop(
        lambda count, *_: count < most, step, [0.0, x["a"], x["c"], tf.zeros_like(x["c"])]
    )[3]


def branch(x):
    positive = tf.reduce_sum(x["c"]) > 0
    return tf.cond(positive, lambda: number(x["a"]), lambda: x["d"])


def within(x):
    return tf.cond(
        tf.reduce_sum(x["d"]) > 0,
        lambda: tf.map_fn(
            lambda pair: called(pair[0], pair[1]),
            (x["b"], x["c"]),
            fn_output_signature=tf.float32,
        ),
        lambda: x["c"],
    )


FUNCTIONS = {
    "one": (lambda x: number(x["a"]) + x["c"], ["a"]),
    "call": (lambda x: called(x["b"], x["c"]), ["b"]),
    "one and call": (lambda x: number(x["a"]) + called(x["b"], x["d"]), ["a", "b"]),
    "joined": (lambda x: number(tf.strings.join([x["a"], x["b"]])), ["a", "b"]),
    "branch": (branch, ["a"]),
    "branch of a choice": (
        lambda x: branch({**x, "a": tf.where(x["d"] > 0, x["b"], "")}),
        ["b", "d"],
    ),
    "loop": (loop, ["a", "b"]),
    "within": (within, ["b"]),
    "none": (lambda x: x["c"] + x["d"], []),
}
