"""A change of the list of versions: read, edited, signed and published under the lock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from datetime import datetime
from typing import TypeVar

from tuf.api.metadata import Targets

from edgeline.repository import keys, roles
from edgeline.repository.outcomes import Outcome, existing, publish

_Found = TypeVar("_Found")


def edit_targets(
    repository: str, signing: Sequence[str], edit: Callable[[Targets, datetime], _Found]
) -> tuple[_Found, Outcome]:
    """Edit the newest list of versions, and publish it where enough keys sign.

    Args:
        repository: where the signed repository is.
        signing: references to keys.
        edit: changes the targets, given the time that the repository is held to; what it raises
            ends the action, and nothing is written.

    Returns:
        What `edit` gave, and what it led to. Where nothing changed, what waits is signed alone.

    Raises:
        UsageError: there is no repository, or see `keys.signers`.
    """
    signers = keys.signers(signing)
    place = existing(repository)
    with place.lock():
        state = roles.read(place)
        newest = state.newest("targets")
        targets: Targets = deepcopy(newest.signed) if newest else Targets()
        found = edit(targets, roles.now(state))
        if newest is None or targets != newest.signed:
            roles.stage(state, "targets", targets)
        roles.sign(state, signers)
        return found, publish(place, state, signers, "targets")
