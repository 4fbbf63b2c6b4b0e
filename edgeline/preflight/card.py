"""What people declare of the model: a card that the run's first task would refuse."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from edgeline.artifacts.declared_card import NAME, check
from edgeline.errors import EdgelineError
from edgeline.preflight.given import GivenRun


def declared(run: GivenRun) -> Iterator[str]:
    """A card with a field that there is not, or with more than a run's workflow has room for."""
    given = run.values.get(NAME)
    if not isinstance(given, Mapping):
        return
    try:
        check(given)
    except EdgelineError as error:
        yield str(error)
