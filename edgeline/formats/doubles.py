"""Numbers as Kubeflow passes them: in a parameter every number is a double."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LARGEST = 2**53  # beyond it a double has no room for every integer


def whole(value: Any) -> Any:
    """JSON as it was written, where Kubeflow has made 3 a 3.0; tuples become lists."""
    if isinstance(value, Mapping):
        return {key: whole(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [whole(each) for each in value]
    if isinstance(value, float) and value.is_integer() and abs(value) <= LARGEST:
        return int(value)
    return value
