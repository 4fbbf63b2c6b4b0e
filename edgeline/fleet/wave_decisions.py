"""What follows for a version from what its devices report: a pure function of declared limits.

A version is withdrawn at the first look at which a limit is passed. Counts are held against the
devices that tried it (with drift and decay: that look for it), or `min_devices` where these are
fewer: of three devices of which one fails, with `min_devices` 20, 5 % have failed. So a small first
wave can withdraw a version, and a single device cannot where `failed` is above one of
`min_devices`.

A wave is raised only by what is known, and by those devices that the open wave adds: what earlier
waves did says nothing of these. Where an answer is missing or old, too few of them serve the
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
    if report is not None and (passed := next(_passed(report, limits, len(begun)), "")):
        return WaveDecision("withdraw", len(begun), passed)
    if plan.is_finished(now):
        return WaveDecision("finish", len(begun), "all its waves have begun")
    if lacks := next(_lacks(version, plan, newest, limits, answer, now, oldest), ""):
        return WaveDecision("wait", len(begun), lacks)
    assert report is not None and report.wave is not None
    following, wave = waves.described(plan, len(begun)), report.wave
    of = f"{wave.serving} of the {wave.devices} devices that wave {len(begun)} adds"
    good = f"{of} serve it and {report.failed} failed in all: {following}"
    return WaveDecision("raise", len(begun) + 1, good)


def failed(limits: WatchLimits, report: ReportedVersion | None) -> str:
    """Why a version that every device may have is withdrawn; "" where it is not.

    By failures alone: what drifts or decays then is the world, which an older version is no better
    for.
    """
    shares = _shares(report, limits) if report else ()
    return next((told for name, told in shares if name == "failed"), "")


def _passed(report: ReportedVersion, limits: WatchLimits, count: int) -> Iterator[str]:
    for _, told in _shares(report, limits):
        yield told
    if (wave := report.wave) is not None:
        of = max(wave.serving + wave.failed, limits.min_devices)
        if wave.failed > limits.failed * of:
            counted = (
                f"{wave.failed} of {of} devices that wave {count} adds ({wave.failed / of:.2%})"
            )
            yield f"failed is {counted}, above the limit of {limits.failed:.2%}"
    if (slow := _slow(report, limits)) and report.latency_devices >= limits.min_devices:
        yield slow


def _slow(report: ReportedVersion, limits: WatchLimits) -> str:
    limit, latency = limits.latency_p95_ms, report.latency_p95_ms
    if limit is None or latency is None or latency <= limit:
        return ""
    return (
        f"latency_p95_ms is {latency:g} on {report.latency_devices} devices, above the limit of "
        f"{limit:g}"
    )


def _shares(report: ReportedVersion, limits: WatchLimits) -> Iterator[tuple[str, str]]:
    for name, count, of in (
        ("failed", report.failed, report.devices),
        ("drift", report.drift, report.drift_devices),
        ("decay", report.decay, report.decay_devices),
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
    yield from _lacks_of_wave(plan, len(begun), limits, report)
    if report.stale > limits.stale * report.devices:
        yield f"{report.stale} of its {report.devices} devices are silent, above {limits.stale:.2%}"
    enough = min(limits.min_devices, report.serving)
    for name in ("drift", "decay", "latency"):
        field = "latency_p95_ms" if name == "latency" else name
        if getattr(limits, field) is None:
            continue
        if getattr(report, field) is None:
            yield f"{field} has a limit, and is not reported"
        if (known := getattr(report, f"{name}_devices")) < enough:
            yield f"{field} has a limit, and is reported by {known} devices, of at least {enough}"
    if slow := _slow(report, limits):
        yield slow


def _lacks_of_wave(
    plan: WavePlan, count: int, limits: WatchLimits, report: ReportedVersion
) -> Iterator[str]:
    """What the devices that the open wave adds do not show; `count`: how many waves are open."""
    wave = report.wave
    if not count:
        yield "none of its waves is open"
        return
    if wave is None:
        yield "the fleet does not tell which devices its open wave adds"
        return
    which = waves.described(plan, count - 1)
    if not wave.devices:
        yield f"{which} adds no device that the fleet knows: open the next one by hand"
        return
    if wave.stale > limits.stale * wave.devices:
        yield (
            f"{wave.stale} of the {wave.devices} devices that {which} adds are silent, above "
            f"{limits.stale:.2%}"
        )
    if wave.serving < (enough := min(limits.min_devices, wave.devices)):
        yield (
            f"{wave.serving} of the {wave.devices} devices that {which} adds serve it, of at least "
            f"{enough}"
        )
