"""Versions that are rolled out by waves: how they are listed, and how their waves are opened.

That a wave is open, and since when, is in the signed list and nowhere else: whoever opens waves
(a person, `edgeline fleet watch`) may be ended at any time and keeps nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Literal

from tuf.api.metadata import Targets

from edgeline.artifacts import waves as plans
from edgeline.artifacts.bundle import Bundle
from edgeline.artifacts.waves import WavePlan
from edgeline.errors import EdgelineError, UsageError
from edgeline.formats import durations
from edgeline.repository import listing, roles

Opening = int | Literal["next", "all"]


def plan_for(
    state: roles.RepositoryState, name: str, given: WavePlan | None, at_once: bool
) -> WavePlan | None:
    """The waves of a version that is to be added: those given, or the model's usual ones; None
    where every device takes it at once.

    Raises:
        UsageError: waves are given for the first version: a device in none of them would have none.
    """
    newest = state.newest("targets")
    usual = listing.usual_waves(newest.signed).get(name) if newest and not at_once else None
    known = listing.manifests(newest.signed).get(name, {}) if newest else {}
    if any(not each.custom.get("withdrawn") for each in known.values()):
        return given or usual
    if given is not None:
        raise UsageError(
            f"{name} has no version that every device may have, and those outside of the waves "
            "would have none: add the first version without waves."
        )
    return None


def enter(
    targets: Targets,
    bundle: Bundle,
    plan: WavePlan | None,
    labels: Sequence[str],
    now: datetime,
    is_usual: bool,
) -> None:
    """List a version with waves, the first of which is opened; where it is listed so, nothing.

    Raises:
        EdgelineError: it is rolled out already, by other waves or where none are to be.
    """
    name, version = bundle.name, bundle.version
    if known := listing.rollouts(targets).get(name, {}).get(version):
        if not is_usual and (plan is None or plan.waves != known[0].waves):
            how = "by other waves" if plan else "by waves, which are not all open"
            raise EdgelineError(
                f"This is {name} {version}, which is rolled out {how}: open them with `edgeline "
                f"repository wave`, or withdraw it."
            )
        return
    assert plan is not None
    listed = listing.manifests(targets).get(name, {}).get(version)
    if listed is not None and not listed.custom.get("withdrawn"):
        listing.enter(targets, bundle, labels)  # every device may have it
        return
    plan = replace(plan, opened=(), labels=tuple(sorted({*labels})))
    first = 0 if plan.waves[0].opens == "time" else 1
    listing.enter_rollout(targets, bundle, plans.opened(plan, first, now))


def open_waves(
    targets: Targets, name: str, version: int, opening: Opening, now: datetime
) -> WavePlan:
    """Open waves of a version; where every device may have it then, it is one like any other.

    Args:
        opening: how many waves are to be open, `next` for one more, `all` for every device at once,
            whatever the times say.

    Returns:
        Its plan then. Nothing is changed where as many are open already.

    Raises:
        UsageError: there is no such version with waves, or no such wave.
        EdgelineError: the time after the wave before has not passed.
    """
    known = listing.rollouts(targets).get(name, {})
    if version not in known:
        there = (
            f"those of {name} are {', '.join(map(str, sorted(known)))}"
            if known
            else f"{name} has none"
        )
        full = version in listing.manifests(targets).get(name, {})
        what = "has no waves any more" if full else "is not a version with waves"
        raise UsageError(f"{name} {version} {what}: {there}.")
    plan, _ = known[version]
    begun = plan.begun(now)
    count = {"next": len(begun) + 1, "all": len(plan.waves)}.get(str(opening), opening)
    assert isinstance(count, int)
    if opening == "next" and len(begun) == len(plan.waves):
        count = len(begun)
    if not 0 < count <= len(plan.waves):
        raise UsageError(f"{name} {version} has no wave {count}: it has {len(plan.waves)}.")
    for number in range(len(begun), count) if opening != "all" else ():
        wave = plan.waves[number]
        before = begun[number - 1] if 0 < number <= len(begun) else now
        earliest = before + timedelta(seconds=wave.after)
        if wave.after and earliest > now:
            raise EdgelineError(
                f"Wave {number + 1} of {name} {version} opens {durations.told(wave.after)} after "
                f"wave {number}, not before {earliest.isoformat(' ', 'minutes')}: wait, or give "
                "`--open all` to let every device take it now."
            )
    if count > len(begun):
        plan = plans.opened(plan, count, now)
        listing.replan(targets, name, version, plan)
    if opening == "all" or plan.is_finished(now):
        listing.finish(targets, name, version, now)
    return plan


def settle(targets: Targets, now: datetime) -> None:
    """Make of versions whose waves have all begun, also by time, such as older devices take."""
    for name, versions in listing.rollouts(targets).items():
        for version, (plan, _) in versions.items():
            if plan.is_finished(now):
                listing.finish(targets, name, version, now)


def settled(state: roles.RepositoryState) -> Targets | None:
    """The newest list with `settle` done; None where that changes nothing."""
    newest = state.newest("targets")
    if newest is None:
        return None
    targets: Targets = deepcopy(newest.signed)
    settle(targets, roles.now(state))
    return targets if targets != newest.signed else None
