"""In which numbers a network computes while it trains; its weights are float32 in any case.

| kind       | while it trains                                                                  |
|------------|----------------------------------------------------------------------------------|
| ""         | float32, or what build_model says itself                                          |
| `bfloat16` | Keras' policy mixed_bfloat16: fast on TPUs and newer GPUs, slow on most CPUs      |
| `float16`  | mixed_float16, whose loss Keras scales: for older GPUs, one device                |

What is exported computes in float32 again, since LiteRT has no bfloat16 and an edge model is made
smaller by its quantisation.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from edgeline.errors import EdgelineError

if TYPE_CHECKING:
    import keras

    from edgeline.artifacts.features import Feature

KINDS = ("", "bfloat16", "float16")


def check(kind: str, workers: int) -> None:
    """Refuse what cannot be done.

    Raises:
        EdgelineError: names the parameter.
    """
    if kind not in KINDS:
        raise EdgelineError(
            f"Parameter 'mixed_precision' is {kind!r}: choose one of "
            f"{', '.join(filter(None, KINDS))}, or none."
        )
    if kind == "float16" and workers > 1:
        raise EdgelineError(
            "Parameter 'mixed_precision' is 'float16', whose loss each worker would scale by "
            f"itself, with {workers} workers: use bfloat16."
        )


@contextlib.contextmanager
def policy(kind: str) -> Iterator[None]:
    """What is built meanwhile computes so."""
    import keras

    before = keras.config.dtype_policy()
    if kind:
        keras.config.set_dtype_policy(f"mixed_{kind}")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def plain(
    trained: keras.Model, build: Callable[[], keras.Model], features: Sequence[Feature]
) -> keras.Model:
    """A network that is built anew, with the variables of a trained one.

    Args:
        trained: built by the same function, in mixed precision or below a strategy.
        build: gives the network outside of both.
        features: that it takes.
    """
    import tensorflow as tf

    network = build()
    if not network.built:
        network({f.name: tf.zeros([1, *f.shape], f.dtype) for f in features})
    for variable, source in zip(network.variables, trained.variables, strict=True):
        variable.assign(source.numpy())
    return network
