"""What Prometheus reads of triggers. `METRICS` is all that there is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from time import time

from edgeline.server.metrics import escaped, resident, under_heads
from edgeline.triggers.store import OPEN, RESULTS, TriggerStore

METRICS = {
    "edgeline_trigger_events_total": (
        "counter",
        "Events by what came of them: counted, repeated, unmatched, too_old, expired, ahead, full.",
    ),
    "edgeline_trigger_requests_total": ("counter", "HTTP answers by status."),
    "edgeline_trigger_events": ("gauge", "Events that are remembered."),
    "edgeline_trigger_event_bytes": ("gauge", "Bytes of the events that are remembered."),
    "edgeline_trigger_devices": ("gauge", "Devices that speak for a rule, on one feature."),
    "edgeline_trigger_quorum": ("gauge", "Devices that a rule asks for."),
    "edgeline_trigger_runs": ("gauge", "Runs that are remembered, by rule and state."),
    "edgeline_trigger_mqtt_connected": ("gauge", "1 while the MQTT broker is there."),
    "edgeline_trigger_mqtt_events_total": (
        "counter",
        "Events from the MQTT broker by what came of them: as above, refused, limited.",
    ),
    "edgeline_trigger_open_runs": ("gauge", "Runs that have not ended."),
    "process_resident_memory_bytes": ("gauge", "Resident memory of this process."),
}


def render(store: TriggerStore, statuses: Counter[int], more: Iterable[str] = ()) -> bytes:
    """The text format; `more` are samples that others count."""
    lines = under_heads((*_samples(store, statuses), *more), METRICS)
    return "\n".join([*lines, ""]).encode(errors="backslashreplace")


def _samples(store: TriggerStore, statuses: Counter[int]) -> Iterator[str]:
    counts, now = store.counts(), time()
    for result in RESULTS:  # each from 0: Prometheus sees no increase in one that begins later
        yield f'edgeline_trigger_events_total{{result="{result}"}} {counts.get(result, 0)}'
    for status, count in sorted(statuses.items()):
        yield f'edgeline_trigger_requests_total{{status="{status}"}} {count}'
    events, size = store.held
    yield f"edgeline_trigger_events {events}"
    yield f"edgeline_trigger_event_bytes {size}"
    for rule in store.rules.values():
        name = f'rule="{escaped(rule.name)}"'
        yield f"edgeline_trigger_devices{{{name}}} {store.standing(rule, now).devices}"
        yield f"edgeline_trigger_quorum{{{name}}} {rule.quorum}"
    states = store.tally()
    for (rule_name, state), count in sorted(states.items()):
        labels = f'rule="{escaped(rule_name)}",state="{state}"'
        yield f"edgeline_trigger_runs{{{labels}}} {count}"
    open_runs = sum(count for (_, state), count in states.items() if state in OPEN)
    yield f"edgeline_trigger_open_runs {open_runs}"
    yield f"process_resident_memory_bytes {resident()}"
