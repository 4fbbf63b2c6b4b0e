"""shap's PermutationExplainer over a model that another process answers for.

Runs in the environment of build_referees.sh, which has no TensorFlow and no LiteRT. Reads rows and
background as whole numbers, each standing for a value, and options; asks for scores of such rows,
and writes what each feature adds to each row. A message is a length and a .npy.
"""

from __future__ import annotations

import io
import json
import os
import struct
import sys

import numpy as np
import shap

taken, given = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)  # what is printed is no message


def receive():
    [size] = struct.unpack("<Q", taken.read(8))
    return np.load(io.BytesIO(taken.read(size)), allow_pickle=False)


def send(array):
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    given.write(struct.pack("<Q", len(stream.getvalue())) + stream.getvalue())
    given.flush()


def model(codes):
    send(np.asarray(codes, np.int64))
    return receive()


def main():
    options = json.loads(sys.argv[1])
    rows, background = receive().astype(float), receive().astype(float)
    masker = shap.maskers.Independent(background, max_samples=len(background))
    explainer = shap.PermutationExplainer(model, masker, seed=options["seed"])
    found = explainer(rows, max_evals=options["max_evals"], silent=True, batch_size=100)
    send(np.asarray(found.values, np.float64))


main()
