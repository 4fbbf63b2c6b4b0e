"""How triggers stand, as plain values: for `edgeline triggers show`, and `GET /state`."""

from __future__ import annotations

from typing import Any

from edgeline.triggers.judging import told, why_not
from edgeline.triggers.store import Firing, TriggerStore

LAST = 10  # runs of a rule


def state(store: TriggerStore, now: float) -> dict[str, Any]:
    """Each rule with what it waits for and its last runs, the newest first; what came of events."""
    firings = store.firings(last=LAST)
    counts = store.counts()
    return {
        "time": told(now),
        "rules": [
            {
                "name": rule.name,
                **_standing(store, rule.name, now),
                "runs": [run(each) for each in reversed(firings) if each.rule == rule.name],
            }
            for rule in store.rules.values()
        ],
        "runs_of_other_rules": [run(each) for each in firings if each.rule not in store.rules],
        "events": counts,
        "remembered": store.held[0],
    }


def run(firing: Firing) -> dict[str, Any]:
    """A run."""
    return {
        "mark": firing.mark,
        "state": firing.state,
        "pipeline": firing.ordered.run.pipeline,
        "where": firing.ordered.run.where,
        "decided": told(firing.decided),
        "begun": None if firing.begun is None else told(firing.begun),
        "ended": None if firing.ended is None else told(firing.ended),
        "tries": firing.tries,
        "feature": firing.feature,
        "devices": list(firing.devices),
        "place": firing.place,
        "said": firing.said,
    }


def _standing(store: TriggerStore, name: str, now: float) -> dict[str, Any]:
    rule = store.rules[name]
    standing = store.standing(rule, now)
    return {
        "devices": standing.devices,
        "quorum": rule.quorum,
        "of": rule.of,
        "feature": standing.feature,
        "used": standing.recent,
        "budget": rule.budget,
        "waits_for": why_not(rule, standing, now),
    }
