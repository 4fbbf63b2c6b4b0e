"""What the client programs share: inputs, and counting what passes."""

import sys
import traceback

import numpy as np


class Checks:
    """Call it with a name and what must be true."""

    def __init__(self):
        self.failed = 0

    def __call__(self, name, what):
        try:
            right = bool(what())
        except Exception:
            traceback.print_exc(file=sys.stdout)
            right = False
        print("ok  " if right else "FAIL", name)
        self.failed += not right

    def refused(self, name, error, what):
        try:
            what()
        except error as refusal:
            right = str(refusal).strip() != "" and "Traceback" not in str(refusal)
            print("ok  " if right else "FAIL", "refused:", name, "-", str(refusal)[:120])
        else:
            right = False
            print("FAIL", name, "was not refused")
        self.failed += not right

    def end(self):
        sys.exit(min(self.failed, 100))


def image():
    return np.arange(128 * 128 * 3, dtype=np.uint32).astype(np.uint8).reshape(1, 128, 128, 3)


def mixed_inputs():
    """Each input of the model `mixed` with its datatype: score is 2 * sum(amount) + count."""
    return {
        "amount": (np.array([[1, 2], [3, 4]], np.float32), "FP32"),
        "count": (np.array([[1], [2]], np.int64), "INT64"),
        "name": (np.array([[b"a\x00b"], ["gr\u00fc\u00df".encode()]], object), "BYTES"),
    }
