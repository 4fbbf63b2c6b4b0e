"""Where the readers of what publish writes are: model_signing and CycloneDX's own library."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("EDGELINE_TEST_CACHE", Path.home() / ".cache/edgeline-tests"))
LOCK = hashlib.sha256((HERE / "referees.lock").read_bytes()).hexdigest()[:16]
FOLDER = CACHE / f"publish-referees-{LOCK}"
PYTHON = FOLDER / "bin" / "python"

needs_referees = pytest.mark.skipif(
    not (FOLDER / "complete").is_file(),
    reason="NOT TESTED: model.sig by model_signing and bom.cdx.json by CycloneDX's schema; "
    "tests/components/publish/build_referees.sh installs both",
)
