"""What follows for a version from what its devices report: a pure function of declared limits.

A version is withdrawn at the first look at which a limit is passed. Counts are held against the
devices that tried it, or `min_devices` where these are fewer: of three devices of which one fails,
with `min_devices` 20, 5 % have failed. So a small first wave can withdraw a version, and a single
device cannot where `failed` is above one of `min_devices`.

A wave is raised only by what is known: where an answer is missing or old, too few devices serve the
version, too many are silent or a metric with a limit is not reported, it waits and says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from edgeline.artifacts import waves
from edgeline.artifacts.waves import WavePlan
from edgeline.fleet.answers import FleetAnswer, ReportedVersion
from edgeline.fleet.watch_rules import WatchLimits
from edgeline.formats import durations

WaveAction = Literal["raise", "withdraw", "finish", "wait"]


@dataclass(frozen=True)
class WaveDecision:
    """What is to be done about a version.

    Attributes:
        action: `raise`: open wave number `wave`; `withdraw`; `finish`: all waves have begun, and
            the version becomes one like any other; `wait`.
        wave: how many waves are open, or with `raise` will be.
        reason: a sentence without its end.
    """

    action: WaveAction
    wave: int
    reason: str


def decide(
    version: int,
    plan: WavePlan,
    newest: int,
    limits: WatchLimits,
    answer: FleetAnswer | None,
    now: datetime,
    oldest: timedelta,
) -> WaveDecision:
    """What is to be done about a version with waves.

    Args:
        newest: the newest version of the model that every device may have.
        answer: of the fleet; None where it has none.
        oldest: how old an answer may be.
    """
    begun = plan.begun(now)
    report = answer.of(version) if answer else None
    if report is not None and (passed := next(_passed(report, limits), "")):
        return WaveDecision("withdraw", len(begun), passed)
    if plan.is_finished(now):
        return WaveDecision("finish", len(begun), "all its waves have begun")
    if lacks := next(_lacks(version, plan, newest, limits, answer, now, oldest), ""):
        return WaveDecision("wait", len(begun), lacks)
    assert report is not None
    following = waves.described(plan, len(begun))
    good = f"{report.serving} devices serve it and {report.failed} failed: {following}"
    return WaveDecision("raise", len(begun) + 1, good)


def failed(limits: WatchLimits, report: ReportedVersion | None) -> str:
    """Why a version that every device may have is withdrawn; "" where it is not.

    By failures alone: what drifts or decays then is the world, which an older version is no better
    for.
    """
    shares = _shares(report, limits) if report else ()
    return next((told for name, told in shares if name == "failed"), "")


def _passed(report: ReportedVersion, limits: WatchLimits) -> Iterator[str]:
    for _, told in _shares(report, limits):
        yield told
    limit, latency = limits.latency_p95_ms, report.latency_p95_ms
    if limit and latency is not None and latency > limit and report.serving >= limits.min_devices:
        yield f"latency_p95_ms is {latency:g}, above the limit of {limit:g}"


def _shares(report: ReportedVersion, limits: WatchLimits) -> Iterator[tuple[str, str]]:
    for name, count, of in (
        ("failed", report.failed, report.devices),
        ("drift", report.drift, report.serving),
        ("decay", report.decay, report.serving),
    ):
        limit, of = getattr(limits, name), max(of, limits.min_devices)
        if limit is not None and count is not None and count > limit * of:
            counted = f"{count} of {of} devices ({count / of:.2%})"
            yield name, f"{name} is {counted}, above the limit of {limit:.2%}"


def _lacks(
    version: int,
    plan: WavePlan,
    newest: int,
    limits: WatchLimits,
    answer: FleetAnswer | None,
    now: datetime,
    oldest: timedelta,
) -> Iterator[str]:
    """Why no wave is raised."""
    begun, report = plan.begun(now), answer.of(version) if answer else None
    if newest > version:
        yield f"version {newest} has overtaken it: withdraw it, or leave it"
    if begun and begun[-1] > now:
        yield f"{waves.waits(plan, len(begun) - 1, now)['sentence']}"
    if len(begun) == len(plan.waves):
        return
    following = plan.waves[len(begun)]
    if following.opens == "time":
        yield f"{waves.waits(plan, len(begun), now)['sentence']}"
    for what, pause in (("soak is", limits.soak_time), ("its next wave is after", following.after)):
        if begun and now < begun[-1] + timedelta(seconds=pause):
            since = durations.about((now - begun[-1]).total_seconds())
            yield (
                f"{what} {durations.told(pause)}, and {waves.described(plan, len(begun) - 1)} is "
                f"open for {since}"
            )
    if answer is None:
        yield "the fleet does not answer"
        return
    if abs(now - answer.at) > oldest:
        yield f"the fleet's answer is of {answer.at.isoformat(' ', 'minutes')}, and is not used"
    if report is None:
        yield "no device has reported it"
        return
    if report.serving < limits.min_devices:
        yield f"{report.serving} devices serve it, of at least {limits.min_devices}"
    if report.stale > limits.stale * report.devices:
        yield f"{report.stale} of its {report.devices} devices are silent, above {limits.stale:.2%}"
    for name in ("drift", "decay", "latency_p95_ms"):
        if getattr(limits, name) is not None and getattr(report, name) is None:
            yield f"{name} has a limit, and is not reported"
