"""TensorFlow, loaded without what it says meanwhile: import this in a fork server alone.

What a fork server prints comes among the lines of the process that started it, which has loaded
TensorFlow before and said the same.
"""

import os

_said = [os.dup(number) for number in (1, 2)]
with open(os.devnull, "wb") as _nothing:
    for _number in (1, 2):
        os.dup2(_nothing.fileno(), _number)
try:
    import tensorflow as tf  # noqa: F401
finally:
    for _number, _former in enumerate(_said, 1):
        os.dup2(_former, _number)
        os.close(_former)
