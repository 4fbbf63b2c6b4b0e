"""What Prometheus reads of a fleet. `METRICS` is all that there is; no device is a label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from edgeline.fleet.admission import RESULTS
from edgeline.fleet.devices import STATES
from edgeline.fleet.showing import FleetCount
from edgeline.server.fleet.protocol import OUTCOMES
from edgeline.server.metrics import escaped, resident, under_heads

MOST_VERSIONS = 200  # whose devices are told, of those that most devices have
METRICS = {
    "edgeline_fleet_devices": (
        "gauge",
        "Devices: current, stale (missed 3 statuses), silent (never told anything), revoked.",
    ),
    "edgeline_fleet_version_devices": ("gauge", "Devices by model, version and outcome."),
    "edgeline_fleet_version_stale": ("gauge", "Devices of a version that are stale."),
    "edgeline_fleet_version_drift": ("gauge", "Devices where a version's columns drift."),
    "edgeline_fleet_version_decay": ("gauge", "Devices where a version decays."),
    "edgeline_fleet_version_latency_p95_seconds": (
        "gauge",
        "What 95 % of the devices keep in 95 % of their answers.",
    ),
    "edgeline_fleet_versions_left_out": ("gauge", "Versions that are not told, for their number."),
    "edgeline_fleet_update_outcomes": ("gauge", "Devices by what came of their last look."),
    "edgeline_fleet_clocks_off": ("gauge", "Devices whose clock is off by 5 minutes or more."),
    "edgeline_fleet_without_model": ("gauge", "Devices that serve no model."),
    "edgeline_fleet_statuses_total": (
        "counter",
        "Statuses: taken, failed (not kept), full, too_many (of one client), unsigned, unknown "
        "(not enrolled), revoked, forged (signed by another key), malformed, replayed.",
    ),
    "edgeline_fleet_statuses_waiting": ("gauge", "Statuses that are not on the disk yet."),
    "edgeline_fleet_requests_total": ("counter", "HTTP answers by status."),
    "process_resident_memory_bytes": ("gauge", "Resident memory of this process."),
}


def render(found: FleetCount, results: Counter[str], statuses: Counter[int], waiting: int) -> bytes:
    """The text format."""
    lines = under_heads(_samples(found, results, statuses, waiting), METRICS)
    return "\n".join([*lines, ""]).encode(errors="backslashreplace")


def _samples(
    found: FleetCount, results: Counter[str], statuses: Counter[int], waiting: int
) -> Iterator[str]:
    for state in STATES:
        yield f'edgeline_fleet_devices{{state="{state}"}} {found.states[state]}'
    by_devices = sorted(found.versions.items(), key=lambda item: -item[1].outcomes.total())
    for (name, version), count in by_devices[:MOST_VERSIONS]:
        of = f'model="{escaped(name)}",version="{version}"'
        for outcome in OUTCOMES:
            labels = f'{of},outcome="{outcome}"'
            yield f"edgeline_fleet_version_devices{{{labels}}} {count.outcomes[outcome]}"
        yield f"edgeline_fleet_version_stale{{{of}}} {count.stale}"
        if count.drift_devices:  # else nobody looks
            yield f"edgeline_fleet_version_drift{{{of}}} {count.drift}"
        if count.decay_devices:  # else nobody looks
            yield f"edgeline_fleet_version_decay{{{of}}} {count.decay}"
        if (latency := count.latency) is not None:
            yield f"edgeline_fleet_version_latency_p95_seconds{{{of}}} {latency / 1000:.9g}"
    yield f"edgeline_fleet_versions_left_out {max(0, len(by_devices) - MOST_VERSIONS)}"
    for came, devices in sorted(found.updates.most_common(20)):
        yield f'edgeline_fleet_update_outcomes{{outcome="{escaped(came)}"}} {devices}'
    yield f"edgeline_fleet_clocks_off {len(found.skewed)}"
    yield f"edgeline_fleet_without_model {len(found.without)}"
    for result in RESULTS:  # each from 0: Prometheus sees no increase in one that begins later
        yield f'edgeline_fleet_statuses_total{{result="{result}"}} {results[result]}'
    yield f"edgeline_fleet_statuses_waiting {waiting}"
    for status, count_of in sorted(statuses.items()):
        yield f'edgeline_fleet_requests_total{{status="{status}"}} {count_of}'
    yield f"process_resident_memory_bytes {resident()}"
