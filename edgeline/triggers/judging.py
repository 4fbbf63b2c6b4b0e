"""What an event speaks for, and whether a rule starts a run: plain functions of what is kept.

A device is the `source` of an event up to `/models/`: a new version of its model is no second
device. It speaks once for each feature, with its latest event. An event of drift or decay names all
columns or metrics that are bad, so that it takes back what the device said before of that version
of that model; one that names none, or whose type ends in `.resolved`, takes back all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from edgeline.triggers.events import CloudEvent
from edgeline.triggers.rules import DAY, KINDS, TriggerRule

ANY = ""  # the feature of an event that names none, and of rules that pool all
_RESOLVED = ".resolved"
_WHOLE = (KINDS["drift"], KINDS["decay"])  # their events tell all there is on their topic
_LISTS = ("drifting", "decayed")  # the fields of `data` that do so
_MOST = 200  # features of an event that are counted


@dataclass(frozen=True)
class Voice:
    """What an event speaks for in a rule.

    Attributes:
        device: whose event it is.
        topic: what it is about: drift or a type of another event, of which model and version.
        features: what it names; empty: it takes back what the device said.
        replaces: whether it tells all there is to say on the topic, so that what the device said
            of it before goes.
    """

    device: str
    topic: str
    features: tuple[str, ...]
    replaces: bool


@dataclass(frozen=True)
class Standing:
    """How a rule stands.

    Attributes:
        feature: the one with the most devices; `ANY` where these are pooled.
        devices: how many speak for it.
        last: when its latest run was decided, None for never.
        recent: how many runs were decided in the last 24 hours, and `oldest`, when the first of
            them was.
        running: the mark of a run that has not ended; empty for none.
    """

    feature: str
    devices: int
    last: float | None
    recent: int
    oldest: float | None
    running: str


def model_of(event: CloudEvent) -> str:
    """The model that an event is about; empty where it does not tell."""
    named = event.data.get("model")
    if isinstance(named, str):
        return named
    _, _, path = event.source.partition("/models/")
    return path.partition("/")[0]


def voice(rule: TriggerRule, event: CloudEvent) -> Voice | None:
    """What an event speaks for in a rule; None where it is nothing to it."""
    resolved = event.type.endswith(_RESOLVED)
    if not any(_is_of(kind, event.type, resolved) for kind in rule.signals):
        return None
    if rule.model and model_of(event) != rule.model:
        return None
    device, _, path = event.source.partition("/models/")
    kind = KINDS["drift"] if event.type.startswith(KINDS["drift"]) else event.type
    topic = f"{kind} {model_of(event)} {path}"
    replaces = event.type.startswith(_WHOLE)
    if resolved or (replaces and any(event.data.get(name) in ([], False) for name in _LISTS)):
        return Voice(device, topic, (), True)
    named = [each for each in _features(event.data) if _is_wanted(each, rule.features)][:_MOST]
    if rule.features and not named:
        return Voice(device, topic, (), True) if replaces else None
    return Voice(device, topic, tuple(named) if rule.same and named else (ANY,), replaces)


def why_not(rule: TriggerRule, standing: Standing, now: float) -> list[str]:
    """Why a rule starts no run at a time; empty where it does."""
    why = []
    if standing.devices < rule.quorum:
        among = f" (of {rule.of})" if rule.of else ""
        on = f" in {standing.feature}" if standing.feature else ""
        why.append(
            f"{standing.devices} of the {rule.quorum} devices{among} that it takes{on} "
            f"within {rule.within:g} s"
        )
    if standing.running:
        why.append(f"its run {standing.running} has not ended")
    if standing.last is not None and now < standing.last + rule.cool_down:
        why.append(f"it cools down until {told(standing.last + rule.cool_down)}")
    if standing.recent >= rule.budget and standing.oldest is not None:
        why.append(
            f"its budget of {rule.budget} in 24 hours is used until {told(standing.oldest + DAY)}"
        )
    return why


def told(time: float) -> str:
    """A time as people and programs read it: ISO 8601, UTC."""
    return datetime.fromtimestamp(time, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def best(counts: Mapping[str, int]) -> tuple[str, int]:
    """The feature with the most devices, by name among equals, and how many."""
    feature = min(counts, key=lambda name: (-counts[name], name), default=ANY)
    return feature, counts.get(feature, 0)


def _is_of(kind: str, type_: str, resolved: bool) -> bool:
    """Whether a type is one of a kind, or takes back what such events said."""
    if kind in KINDS:
        return type_.startswith(KINDS[kind])
    return type_ == kind or (resolved and type_.rpartition(".")[0] == kind.rpartition(".")[0])


def _features(data: Mapping[str, Any]) -> Iterator[str]:
    """The features that an event names."""
    for name in ("feature", "column"):
        if isinstance(data.get(name), str):
            yield data[name]
    for name in _LISTS:
        named = data.get(name)
        for each in named if isinstance(named, list) else ():
            if isinstance(each, str):
                yield each


def _is_wanted(feature: str, wanted: Sequence[str]) -> bool:
    """Whether a feature is one of those; a statistic such as `amount.mean` is its column's."""
    return not wanted or any(feature == each or feature.startswith(f"{each}.") for each in wanted)
