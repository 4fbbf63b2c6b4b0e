"""Whether a run explains its model, and of how many rows, is settled by its first task."""

from __future__ import annotations

from typing import Any

import pytest

from edgeline.components.settings.settings import names, settings
from edgeline.errors import EdgelineError


def told(kind: str = "tabular", **evaluation: Any) -> dict[str, Any]:
    schema = {"images": {"image": [8, 8, 1]}} if kind == "vision" else {}
    given = settings(kind=kind, defaults={}, evaluation=evaluation, schema=schema)
    return dict(zip(names(), given, strict=True))


@pytest.mark.parametrize("kind", ["tabular", "tuned", "vision"])
def test_rows_are_explained_where_some_are_asked_for(kind: str) -> None:
    assert told(kind)["explains"] is False
    found = told(kind, explained_rows=500, explained_slices=["hour"])
    assert found["explains"] is True
    # 500 is what the face has by default, so it need not be handed
    assert found["for_explain"].get("explained_rows", 500) == 500
    assert found["for_explain"]["explained_slices"] == ["hour"]
    assert "explained_rows" not in found["for_analyze"]


@pytest.mark.parametrize(
    ("kind", "evaluation", "said"),
    [
        (
            "tabular",
            {"explained_rows": -1},
            "explained_rows: -1 is not an integer from 0 to 100000",
        ),
        ("tabular", {"explained_slices": "hour"}, "explained_slices"),
        ("candidates", {"explained_rows": 5}, "explained_rows"),
    ],
)
def test_what_cannot_be_explained_is_refused(
    kind: str, evaluation: dict[str, Any], said: str
) -> None:
    with pytest.raises(EdgelineError, match=said):
        told(kind, **evaluation)
