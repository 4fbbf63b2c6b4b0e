"""Ingest a file and read what came of it, for the tests of formats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from edgeline import artifacts
from edgeline.artifacts import examples
from edgeline.components.ingest.ingest import ingest
from edgeline.errors import EdgelineError

ONE = {"all": 1}


def table(output: Path, split: str = "all") -> pa.Table:
    artifact = artifacts.read(output, examples.SCHEMA)
    return pa.Table.from_batches(examples.read_batches(artifact, split))


def rows(data: Path | str, output: Path) -> list[dict[str, Any]]:
    ingest(str(data), output, split_ratios=ONE)
    found: list[dict[str, Any]] = table(output).to_pylist()
    return found


def fault(data: Path | str, output: Path, **options: Any) -> str:
    with pytest.raises(EdgelineError) as caught:
        ingest(str(data), output, **options)
    assert not list(output.parent.glob(output.name + "*"))
    return str(caught.value)
