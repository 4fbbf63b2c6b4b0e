"""onnx2tf in its own Python, where tests convert ONNX files."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

LOCK = Path(__file__).with_name("onnx2tf.lock")
CACHE = os.environ.get("EDGELINE_TEST_CACHE") or Path.home() / ".cache/edgeline-tests"


@pytest.fixture(scope="session")
def onnx2tf_python() -> str:
    """The Python that build_onnx2tf.sh made."""
    pytest.importorskip("onnx", reason="not installed: edgeline[onnx]")
    digest = hashlib.sha256(LOCK.read_bytes()).hexdigest()[:16]
    folder = Path(CACHE) / f"onnx2tf-{digest}"
    if not (folder / "complete").is_file():
        pytest.skip("NOT TESTED: onnx2tf; tests/components/import_model/build_onnx2tf.sh builds it")
    return str(folder / "bin/python")


@pytest.fixture(scope="module")
def onnx2tf(onnx2tf_python):
    """`EDGELINE_ONNX2TF_PYTHON`, for a module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGELINE_ONNX2TF_PYTHON", onnx2tf_python)
        yield onnx2tf_python
