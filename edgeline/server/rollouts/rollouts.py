"""All rollouts of a server: which are declared, which are on, what was decided.

A new version of a model with a declared rollout does not take over: it becomes the candidate
beside the stable version, and `decide` promotes or returns it by the declared limits. A version
that was returned is not loaded again until its rollout is declared anew. With a state folder the
stable version, what was returned and what was declared by a call outlive a restart; without one,
the newest version but one is taken for stable at a start, so that the newest is tried again. In
either case a restart in the middle of a rollout serves the stable version.
"""

from __future__ import annotations

import json
import logging
import time
from collections import Counter, deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from edgeline.artifacts import write_text
from edgeline.artifacts.windows import Windows
from edgeline.errors import EdgelineError
from edgeline.formats import typed
from edgeline.server.errors import Code, ServingError
from edgeline.server.models.pool import Pool
from edgeline.server.rollouts import declaration as declared
from edgeline.server.rollouts.declaration import Action, Rollout, RolloutVerdict, judge
from edgeline.server.rollouts.traffic import Traffic

log = logging.getLogger("edgeline.server")
STATE = "rollouts.json"
RolloutState = Literal["waiting", "on"]
_REMEMBERED = 50  # decisions


@dataclass(frozen=True)
class Decision:
    """`time` is in seconds since the epoch."""

    time: float
    model: str
    action: Action
    stable: int
    candidate: int
    reason: str


@dataclass(frozen=True)
class _Kept:
    """The state's file."""

    stable: Mapping[str, int]
    returned: Mapping[str, tuple[int, ...]]
    rollouts: tuple[object, ...]


class Rollouts:
    """Used on the event loop only.

    Attributes:
        traffic: the rollouts that are on, by model.
        decisions: the last ones, the newest last.
    """

    def __init__(self, rollouts: Mapping[str, Rollout], state: Path | None = None) -> None:
        self.traffic: dict[str, Traffic] = {}
        self.decisions: deque[Decision] = deque(maxlen=_REMEMBERED)
        self._state = state
        self._stable: dict[str, int] = {}
        self._returned: dict[str, set[int]] = {}
        self._called: dict[str, Rollout] = {}  # declared by a call
        self._counts: Counter[tuple[str, Action]] = Counter()
        self._restore()
        self._declared = {**rollouts, **self._called}

    def get(self, model: str) -> Rollout | None:
        """The rollout that is declared for a model."""
        return self._declared.get(model)

    def declare(self, rollout: Rollout, serving: int | None) -> None:
        """Declare a model's rollout, for versions newer than the one that serves.

        A rollout that is on ends, its candidate stays a candidate under the new terms, and what
        was returned may be tried again.
        """
        name = rollout.model
        self._declared[name] = self._called[name] = rollout
        self._returned.pop(name, None)
        if name not in self._stable and serving is not None:
            self._stable[name] = serving
        self._end(name)
        self._save()

    def withdraw(self, model: str) -> None:
        """Forget a model's rollout: from now on its newest version serves.

        Raises:
            ServingError: there is none.
        """
        if self._declared.pop(model, None) is None:
            raise ServingError(Code.NOT_FOUND, f"Model {model[:100]!r} has no rollout.")
        for known in (self._called, self._returned, self._stable):
            known.pop(model, None)
        self._end(model)
        self._save()

    def allowed(self, model: str, versions: Collection[int]) -> set[int]:
        """Those of the versions found that may be loaded: not what was returned."""
        return set(versions) - self._returned.get(model, set())

    def kept(self, model: str, versions: Collection[int]) -> set[int]:
        """Versions to have beside the newest: the stable one, or where it is gone the one before
        it, or a guess at first sight."""
        if model not in self._declared:
            return set()
        if model in self._stable:
            return set(sorted(v for v in versions if v <= self._stable[model])[-1:])
        return set(sorted(versions)[-2:])

    def settle(self, model: str, pools: Mapping[int, Pool]) -> None:
        """Start or end a model's rollout after its versions may have changed."""
        rollout = self._declared.get(model)
        if rollout is None or not pools:
            self._end(model)
            return
        versions = sorted(pools)
        stable = self._stable.get(model, 0)
        if stable not in pools:
            older = [version for version in versions if version < stable]
            stable = older[-1] if older else versions[-2:][0]
        newest = versions[-1]
        self._remember(model, stable)
        on = self.traffic.get(model)
        if on is not None and (on.stable, on.candidate) == (stable, newest):
            return
        if on is not None:
            reason = f"version {newest} takes its place."
            for version in (on.stable, on.candidate):
                if version not in pools:
                    reason = f"version {version} is no longer served."
            self._log(model, RolloutVerdict("end", reason), on.stable, on.candidate)
        self._end(model)
        if newest > stable and _windows(pools[newest]) != _windows(pools[stable]):
            reason = (
                "its windows are not those of the stable version, and each row of a key would have "
                "to come to both: withdraw the rollout to let it take over."
            )
            self._returned.setdefault(model, set()).add(newest)
            self._save()
            self._log(model, RolloutVerdict("return", reason), stable, newest)
        elif newest > stable:
            self.traffic[model] = Traffic(rollout, pools, stable, newest)
            share = f"{rollout.weight:.1%} of the requests"
            self._log(
                model,
                RolloutVerdict("start", f"{rollout.mode} with {share} and the declared limits."),
                stable,
                newest,
            )

    def decide(self) -> Iterator[Decision]:
        """Judge each rollout that is on; gives the decisions, which are already in force."""
        for model, on in list(self.traffic.items()):
            if (verdict := judge(on.rollout, on.seen())) is not None:
                yield self.apply(model, verdict)

    def apply(self, model: str, verdict: RolloutVerdict) -> Decision:
        """Promote or return a model's candidate.

        Raises:
            ServingError: no rollout of it is on.
        """
        on = self.traffic.get(model)
        if on is None:
            raise ServingError(
                Code.FAILED_PRECONDITION, f"No rollout of model {model[:100]!r} is on."
            )
        self._end(model)
        if verdict.action == "promote":
            self._stable[model] = on.candidate
        else:
            self._returned.setdefault(model, set()).add(on.candidate)
        self._save()
        return self._log(model, verdict, on.stable, on.candidate)

    def stable(self, model: str) -> int | None:
        """The version that a model's requests go to, where a rollout is declared."""
        return self._stable.get(model) if model in self._declared else None

    def stables(self) -> dict[str, int]:
        """The stable version of each model with a rollout, where it is known."""
        return {name: v for name, v in self._stable.items() if name in self._declared}

    def returned(self) -> dict[str, list[int]]:
        """The versions of each model that were tried and returned."""
        return {name: sorted(versions) for name, versions in self._returned.items()}

    def describe(self) -> list[dict[str, object]]:
        """Each declared rollout with what it has shown, for people and machines."""
        entries = []
        for model, rollout in sorted(self._declared.items()):
            on = self.traffic.get(model)
            state: RolloutState = "waiting" if on is None else "on"
            entry: dict[str, object] = {
                "rollout": rollout.to_json(),
                "state": state,
                "stable": self._stable.get(model),
                "candidate": None,
                "returned": sorted(self._returned.get(model, ())),
            }
            if on is not None:
                seen = on.seen()
                entry |= {"candidate": on.candidate, "dropped": on.dropped}
                entry["seen"] = {**asdict(seen), "latency_ratio": seen.latency_ratio}
            entries.append(entry)
        return entries

    def lines(self) -> Iterator[str]:
        """Metrics for Prometheus; see `metrics`."""
        for model, on in sorted(self.traffic.items()):
            seen, labels = on.seen(), f'{{model="{model}",version="{on.candidate}"}}'
            shadow = on.rollout.mode == "shadow"
            for name, value in (
                ("weight", 0.0 if shadow else on.rollout.weight),
                ("requests", seen.requests),
                ("errors", seen.errors),
                ("rows", seen.rows),
                ("disagreements", seen.disagreements),
                ("dropped", on.dropped),
                ("latency_ratio", round(seen.latency_ratio, 4)),
            ):
                yield f"edgeline_rollout_{name}{labels} {value}"
        for (model, action), count in sorted(self._counts.items()):
            labels = f'model="{model}",action="{action}"'
            yield f"edgeline_rollout_decisions_total{{{labels}}} {count}"

    def _end(self, model: str) -> None:
        if (on := self.traffic.pop(model, None)) is not None:
            on.close()

    def _log(self, model: str, verdict: RolloutVerdict, stable: int, candidate: int) -> Decision:
        decision = Decision(time.time(), model, verdict.action, stable, candidate, verdict.reason)
        self.decisions.append(decision)
        self._counts[model, verdict.action] += 1
        level = logging.WARNING if verdict.action == "return" else logging.INFO
        log.log(
            level,
            "Rollout of %s: %s version %d beside %d: %s",
            *(model, verdict.action, candidate, stable, verdict.reason),
        )
        return decision

    def _remember(self, model: str, stable: int) -> None:
        if self._stable.get(model) != stable:
            self._stable[model] = stable
            self._save()

    def _save(self) -> None:
        if self._state is None:
            return
        value = {
            "stable": self._stable,
            "returned": self.returned(),
            "rollouts": [rollout.to_json() for rollout in self._called.values()],
        }
        file = self._state / STATE
        try:
            self._state.mkdir(parents=True, exist_ok=True)
            write_text(file, json.dumps(value, indent=1) + "\n")
        except OSError as error:
            log.error("%s cannot be written (%s): a restart forgets the rollouts.", file, error)

    def _restore(self) -> None:
        if self._state is None or not (file := self._state / STATE).is_file():
            return
        try:
            kept: _Kept = typed.convert(typed.read(file), _Kept)
            called = [declared.parse(entry) for entry in kept.rollouts]
        except EdgelineError as error:
            log.error("%s is damaged (%s): rollouts begin anew.", file, error)
            return
        self._stable = dict(kept.stable)
        self._returned = {model: set(versions) for model, versions in kept.returned.items()}
        self._called = {rollout.model: rollout for rollout in called}


def _windows(pool: Pool) -> Windows | None:
    """What a server keeps for a version; the stride is of training alone."""
    kept = pool.description.windows
    return replace(kept, stride=1) if kept else None
