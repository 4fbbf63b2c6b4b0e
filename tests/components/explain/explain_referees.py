"""Where shap is, and how it is asked about a model of another process."""

from __future__ import annotations

import hashlib
import io
import json
import os
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("EDGELINE_TEST_CACHE", Path.home() / ".cache/edgeline-tests"))
LOCK = hashlib.sha256((HERE / "referees.lock").read_bytes()).hexdigest()[:16]
FOLDER = CACHE / f"explain-referees-{LOCK}"
PYTHON = FOLDER / "bin" / "python"

needs_referees = pytest.mark.skipif(
    not (FOLDER / "complete").is_file(),
    reason="NOT TESTED: explanations by shap; tests/components/explain/build_referees.sh "
    "installs it",
)


def shap_values(answers, rows, targets, background, max_evals=500):
    """What shap's PermutationExplainer says each feature adds to one output of each row.

    `answers` gives scores [rows, outputs] of raw features. The rows of one target are explained
    together, since shap's model has no other argument than rows.
    """
    names, values, codes = list(rows), {}, []
    for name in names:
        both = np.concatenate([rows[name], background[name]])[:, 0]
        values[name], code = np.unique(both, return_inverse=True, equal_nan=True)
        codes.append(code.reshape(-1))
    coded = np.stack(codes, axis=1)
    found = np.empty((len(targets), len(names)))
    for target in np.unique(targets):
        here = np.flatnonzero(targets == target)

        def model(asked, target=target):
            given = {name: values[name][asked[:, at]][:, None] for at, name in enumerate(names)}
            return answers(given)[:, target]

        found[here] = _asked(model, coded[here], coded[len(targets) :], max_evals)
    return found


def _asked(model, rows, background, max_evals):
    options = json.dumps({"seed": 0, "max_evals": max_evals})
    command = [PYTHON, HERE / "shap_referee.py", options]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        _send(process.stdin, rows)
        _send(process.stdin, background)
        while True:
            [size] = struct.unpack("<Q", process.stdout.read(8))
            array = np.load(io.BytesIO(process.stdout.read(size)), allow_pickle=False)
            if array.dtype.kind == "f":
                return array
            _send(process.stdin, model(array))


def _send(stream, array):
    held = io.BytesIO()
    np.save(held, array, allow_pickle=False)
    stream.write(struct.pack("<Q", len(held.getvalue())) + held.getvalue())
    stream.flush()
