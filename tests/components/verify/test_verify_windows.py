"""What of the windows of the rows a model takes, and who can keep them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgeline.artifacts import Artifact
from edgeline.artifacts.features import Feature
from edgeline.artifacts.windows import Windows
from edgeline.components.verify.verify import _windows
from edgeline.errors import EdgelineError

KEPT = Windows(4, "at", ("x", "y"), kept_by="server")


def artifact(**metadata: Any) -> Artifact:
    return Artifact(Path("edge"), "edge_model/v1", metadata, {})


def test_windows_are_of_the_columns_that_the_model_takes() -> None:
    rows, edge = artifact(windows=KEPT.to_json()), artifact(takes="raw")
    found = _windows(rows, [Feature("y", "float32", (4,)), Feature("z", "int64")], edge)
    assert found == Windows(4, "at", ("y",), kept_by="server")
    assert _windows(rows, [Feature("z", "int64")], edge) is None
    assert _windows(artifact(), [Feature("y", "float32")], edge) is None


def test_a_server_cannot_keep_rows_of_which_the_client_makes_features() -> None:
    rows, edge = artifact(windows=KEPT.to_json()), artifact(takes="mixed")
    with pytest.raises(EdgelineError, match="the server keeps them, but edge takes features that"):
        _windows(rows, [Feature("y", "float32", (4,))], edge)
