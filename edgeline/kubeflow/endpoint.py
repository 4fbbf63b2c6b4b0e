"""Where KFP's API answers: what is given, else what the environment says."""

from __future__ import annotations

import os

from edgeline.errors import UsageError

VARIABLE = "KF_PIPELINES_ENDPOINT"  # kfp's own


def of_environment() -> str:
    """The address in the environment; empty where there is none."""
    return os.environ.get(VARIABLE, "")


def chosen(host: str | None) -> str:
    """The address that is given, or that of the environment.

    Raises:
        UsageError: there is none.
    """
    if found := host or of_environment():
        return found
    raise UsageError(f"Which server? Give its address (--host), or set {VARIABLE}.")
