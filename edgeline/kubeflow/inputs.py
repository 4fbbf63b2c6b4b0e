"""Inputs that KFP's launcher did not bring, which it says of none.

It reads with the settings of the run's root: what the cache gives from before the root got another
scheme is not copied into the pod, and the component starts all the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edgeline.errors import EdgelineError

# where the launcher puts what has a scheme, and where kfp's executor looks for it
PLACES = {"minio": "/minio/", "s3": "/s3/", "gs": "/gcs/"}


def check(executor_input: Mapping[str, Any]) -> None:
    """Refuse a task whose inputs lie under another scheme than its outputs, and are not there.

    Args:
        executor_input: what the launcher hands a task, KFP's message ExecutorInput.

    Raises:
        EdgelineError: with the input, its place and the way out.
    """
    schemes = {uri.partition("://")[0] for _, uri in _artifacts(executor_input, "outputs")}
    (root,) = schemes if len(schemes) == 1 else ("",)
    for name, uri in _artifacts(executor_input, "inputs"):
        scheme, _, place = uri.partition("?")[0].partition("://")
        if root not in PLACES or scheme not in PLACES or scheme == root:
            continue
        if not Path(PLACES[scheme] + place).exists():
            raise EdgelineError(
                f"KFP's launcher brought nothing of the input {name}, {uri.partition('?')[0]}: "
                f"this run's root is under {root}://, with which it reads no {scheme}://. What the "
                "cache has from before the root was changed is of no use then: give another "
                "cache_name, run without the cache, or give the server its old root again."
            )


def _artifacts(executor_input: Mapping[str, Any], kind: str) -> Iterator[tuple[str, str]]:
    """The artifacts of a task by name, each with its URI."""
    for name, given in executor_input.get(kind, {}).get("artifacts", {}).items():
        for artifact in given.get("artifacts", ()):
            yield name, str(artifact.get("uri") or "")
