"""MediaPipe, which runs the files that are written; in an environment of its own."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("EDGELINE_TEST_CACHE", Path.home() / ".cache/edgeline-tests"))
LOCK = hashlib.sha256((HERE / "mediapipe.lock").read_bytes()).hexdigest()[:16]
FOLDER = CACHE / f"mediapipe-{LOCK}"


@pytest.fixture(scope="session")
def mediapipe(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[Any]]:
    """What MediaPipe's `classify` or `detect` answers to pictures, uint8 [n, height, width, 3]."""
    if not (FOLDER / "complete").is_file():
        pytest.skip(
            "NOT TESTED: what MediaPipe answers; tests/mobile/build_mediapipe.sh installs it."
        )

    def ask(task: str, model: Path, pictures: np.ndarray) -> list[Any]:
        file = tmp_path_factory.mktemp("pictures") / "pictures.npy"
        np.save(file, pictures)
        done = subprocess.run(
            [FOLDER / "bin" / "python", HERE / "mediapipe_answers.py", task, model, file],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return ask
