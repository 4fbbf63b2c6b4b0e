"""What an action on a repository led to: devices see it, or it waits for signatures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from securesystemslib.signer import CryptoSigner

from edgeline.artifacts.waves import WavePlan
from edgeline.repository import roles
from edgeline.repository.place import Place, open_place
from edgeline.repository.roles import ROLES


@dataclass(frozen=True)
class Outcome:
    """What an action led to.

    Attributes:
        live: whether devices see it; else it waits for signatures.
        missing: signatures that are missing, by role.
        plan: of a version that was added, the waves by which devices take it; None: all at once.
    """

    live: bool
    missing: Mapping[str, int]
    plan: WavePlan | None = None


def existing(repository: str) -> Place:
    """The place of a repository, which a lock would make a folder for.

    Raises:
        UsageError: there is none.
    """
    place = open_place(repository)
    roles.read(place)
    return place


def publish(
    place: Place, state: roles.RepositoryState, signers: Sequence[CryptoSigner], *changed: str
) -> Outcome:
    """Publish what may be; `changed` names the roles that have to be live, none for all."""
    if not roles.publish(place, state):
        roles.keep(place, state, signers, renew=False)
    return outcome_of(state, *changed)


def outcome_of(state: roles.RepositoryState, *changed: str) -> Outcome:
    """Whether what changed is live, and which signatures are missing."""
    lacking = {role: roles.missing(state, role) for role in ROLES}
    return Outcome(
        not state.staged.keys() & set(changed or ROLES),
        {role: count for role, count in lacking.items() if count},
    )
