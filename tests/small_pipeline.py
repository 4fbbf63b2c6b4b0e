"""A small pipeline in a file, and what it was compiled to."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

SMALL = """
from kfp import dsl

from edgeline.components.ingest.component import ingest
from edgeline.components.validate.component import validate


@dsl.pipeline(name="small", description="Read and look.")
def pipeline(data: str, split_key: str = "", skew_threshold: float = 0.1):
    read = ingest(data=data, split_key=split_key)
    validate(examples=read.outputs["examples"], skew_threshold=skew_threshold)
"""


@pytest.fixture
def small(tmp_path) -> str:
    file = tmp_path / "small.py"
    file.write_text(SMALL)
    return str(file)


def cli(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from edgeline.cli.main import main; main()", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONHASHSEED": str(len(arguments))},
        capture_output=True,
        text=True,
    )


def documents(file: Path) -> list[dict]:
    return list(yaml.load_all(file.read_text(), yaml.CSafeLoader))
