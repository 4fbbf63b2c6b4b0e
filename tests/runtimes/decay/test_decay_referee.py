"""Estimates against NannyML's, of the same map and chunks, and the map against scikit-learn's."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from edgeline.artifacts.calibration import BINARY, fit
from edgeline.runtimes.estimated import estimate, tally

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("EDGELINE_TEST_CACHE", Path.home() / ".cache/edgeline-tests"))
LOCK = hashlib.sha256((HERE / "referees.lock").read_bytes()).hexdigest()[:16]
FOLDER = CACHE / f"decay-referees-{LOCK}"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (FOLDER / "complete").is_file(),
        reason="NOT TESTED: estimated accuracy and AUC by NannyML; "
        "tests/runtimes/decay/build_referees.sh installs it",
    ),
]


@pytest.mark.parametrize("threshold, power", [(0.5, 1.5), (0.2, 3.0)])
def test_estimates_are_nannymls_and_the_map_is_scikit_learns(tmp_path, threshold, power):
    random = np.random.default_rng(11)
    held, chunk = 5000, 1000
    scores = np.concatenate(
        [random.beta(1, 2, held), *(random.beta(a, 2, chunk) for a in (0.5, 1, 2, 4))]
    ).astype("f4")
    truth = random.random(held) < scores[:held] ** power
    made = fit(BINARY, scores[:held], truth, {})
    asked = np.linspace(-0.1, 1.1, 500)
    given = tmp_path / "given.npz"
    np.savez(
        given, scores=scores.astype(float), yes=scores > threshold, truth=truth, reference=held,
        chunk=chunk, places=np.column_stack([made.lows, made.highs]).reshape(-1),
        values=np.repeat(made.probabilities, 2), asked=asked,
    )  # fmt: skip
    command = [FOLDER / "bin" / "python", HERE / "nannyml_referee.py", given]
    environment = {**os.environ, "NML_DISABLE_USAGE_LOGGING": "1"}
    answer = subprocess.run(command, env=environment, check=True, capture_output=True, timeout=300)
    wanted = json.loads(answer.stdout.splitlines()[-1])
    assert made(asked) == pytest.approx(wanted["isotonic"], abs=1e-6)
    for place, part in enumerate(np.split(scores[held:], 4)):
        found = estimate(made, tally(made, part, part > threshold))
        assert found["accuracy"].value == pytest.approx(wanted["accuracy"][place], abs=1e-3)
        assert found["auc"].value == pytest.approx(wanted["auc"][place], abs=1e-3)
