"""`edgeline run --docker` without an engine; with one, see tests/images."""

from __future__ import annotations

import os
import subprocess
import sys


def test_without_an_engine_it_is_a_sentence_and_nothing_is_left(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "edgeline", "run", "taxi", "--docker"],
        cwd=tmp_path,
        env={**os.environ, "DOCKER_HOST": f"unix://{tmp_path}/none.sock"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "Docker does not answer" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not list(tmp_path.glob("edgeline-runs/*"))
