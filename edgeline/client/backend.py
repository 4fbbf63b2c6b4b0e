"""Where runs are: a backend takes a request and gives a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from edgeline.client.run import Run


@dataclass(frozen=True)
class RunRequest:
    """What is to be run; `Client.submit` says what each field is.

    `definition` is the pipeline, loaded, and `parameters` are checked against it; `source` is what
    it was loaded by, a name or a path, "" where it was given as an object.
    """

    definition: Any
    parameters: Mapping[str, Any]
    cache: bool = True
    environment: str = ""
    experiment: str = "Default"
    name: str = ""
    shared: bool = False
    source: str = ""


class Backend(Protocol):
    """This machine (`edgeline.client.local`), or a KFP server (`edgeline.client.server`)."""

    def submit(self, request: RunRequest) -> Run:
        """Start a run.

        Raises:
            EdgelineError: it cannot be started.
        """
