"""Look at the fleet again and again, and raise waves or withdraw versions by declared limits.

Nothing is kept here: which waves are open and since when is in the repository's signed list, and
what devices do is known to the fleet's server. So a watch may be ended at any time, and begin again
anywhere; two of them decide the same, and what is done already is not done twice.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from threading import Event
from typing import Any

import msgspec
from tuf.api.metadata import TargetFile

from edgeline.artifacts import waves
from edgeline.artifacts.waves import WavePlan
from edgeline.errors import EdgelineError, first_line
from edgeline.fleet import wave_decisions
from edgeline.fleet.answers import FleetAnswer
from edgeline.fleet.watch_rules import WatchFile, WatchLimits, WatchRule
from edgeline.fleet.wave_decisions import WaveDecision
from edgeline.repository import actions, listing, roles, wave_actions
from edgeline.repository.outcomes import Outcome
from edgeline.repository.place import open_place

log = logging.getLogger("edgeline.fleet")
# what the devices report of a model; by version its waves, and how many of them are open
AskFleet = Callable[[str, Mapping[int, tuple[WavePlan, int]]], FleetAnswer]
TellDecision = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class FleetWatch:
    """A watch of one repository.

    Attributes:
        ask: the fleet; raises EdgelineError where it does not answer.
        tell: takes each decision as JSON values: `time`, `model`, `version`, `action`, `wave`,
            `of`, `reason`, `report`, and of what was done `live` and `missing_signatures`.
        signing: references to keys.
        dry_run: whether nothing is done.
    """

    rules: WatchFile
    repository: str
    ask: AskFleet
    tell: TellDecision
    signing: Sequence[str] = ()
    dry_run: bool = False

    def run(self, stop: Event) -> None:
        """Look until it is to stop."""
        while not stop.is_set():
            self.look()
            stop.wait(self.rules.every)

    def look(self, now: datetime | None = None) -> bool:
        """Look once at all models; whether all could be looked at.

        Args:
            now: the time; by default this machine's.
        """
        whole = True
        for rule in self.rules.rules:
            try:
                whole = self._look(rule, now or datetime.now(timezone.utc)) and whole
            except EdgelineError as error:
                whole = False
                self._tell(rule.model, None, "error", str(error).rstrip("."))
            except Exception as error:  # the other rules are looked at nevertheless, and again
                whole = False
                log.exception("The look at %s failed.", rule.model)
                why = f"the look failed ({type(error).__name__}: {first_line(error)})"
                self._tell(rule.model, None, "error", why.rstrip("."))
        return whole

    def _look(self, rule: WatchRule, now: datetime) -> bool:
        state = roles.read(open_place(self.repository))
        newest = state.newest("targets")
        if newest is None:
            self._tell(rule.model, None, "wait", "the repository lists no versions yet")
            return True
        rolling = listing.rollouts(newest.signed).get(rule.model, {})
        full = listing.manifests(newest.signed).get(rule.model, {})
        good = sorted(v for v, each in full.items() if not each.custom.get("withdrawn"))
        answer, whole = None, True
        try:
            asked = {v: (plan, len(plan.begun(now))) for v, (plan, _) in rolling.items()}
            answer = self.ask(rule.model, asked)
        except EdgelineError as error:
            whole = False
            self._tell(rule.model, None, "error", str(error).rstrip("."))
        oldest = timedelta(seconds=2 * self.rules.every + 60)
        for version, (plan, _) in sorted(rolling.items()):
            decision = wave_decisions.decide(
                *(version, plan, good[-1] if good else 0, rule.limits, answer, now, oldest)
            )
            if "targets" in state.staged and decision.action != "withdraw":
                why = "what was decided before waits for signatures"
                decision = WaveDecision("wait", decision.wave, why)
            self._do(rule.model, version, len(plan.waves), decision, answer)
        if answer is not None and len(good) > 1 and _soaks(full[good[-1]], rule.limits, now):
            report = answer.of(good[-1])
            if why := wave_decisions.failed(rule.limits, report):
                self._do(rule.model, good[-1], 0, WaveDecision("withdraw", 0, why), answer)
        if not rolling:
            self._tell(rule.model, None, "wait", "no version of it has waves that are not all open")
        return whole

    def _do(
        self,
        model: str,
        version: int,
        of: int,
        decision: WaveDecision,
        answer: FleetAnswer | None,
    ) -> None:
        report = answer.of(version) if answer else None
        more: dict[str, Any] = {"wave": decision.wave, "of": of}
        more["report"] = msgspec.to_builtins(report) if report else None
        act = self._acts(model, version, decision)
        if act is not None and not self.dry_run:
            try:
                outcome = act()
            except EdgelineError as error:
                said = f"{decision.reason}, but {str(error).rstrip('.')}"
                self._tell(model, version, "error", said, **more)
                return
            more |= {"live": outcome.live, "missing_signatures": dict(outcome.missing)}
        self._tell(model, version, decision.action, decision.reason, **more)

    def _acts(
        self, model: str, version: int, decision: WaveDecision
    ) -> Callable[[], Outcome] | None:
        """What a decision does; waves are counted, so that it is not done twice."""
        place, signing = self.repository, self.signing
        if decision.action == "withdraw":
            return lambda: actions.withdraw(place, model, version, signing)[1]
        if decision.action in ("raise", "finish"):
            return lambda: wave_actions.wave(place, model, version, decision.wave, signing)[1]
        return None

    def _tell(self, model: str, version: int | None, action: str, reason: str, **more: Any) -> None:
        dry = {"dry_run": True} if self.dry_run else {}
        time = datetime.now(timezone.utc).isoformat(timespec="seconds")
        told = {"time": time, "model": model, "version": version, "action": action}
        self.tell({**told, "reason": reason, **more, **dry})


def _soaks(manifest: TargetFile, limits: WatchLimits, now: datetime) -> bool:
    """Whether a version's last wave has begun so lately that it is still watched."""
    said = manifest.custom.get(listing.ROLLED_OUT)
    try:
        return bool(said) and now <= waves.moment(said) + timedelta(seconds=limits.soak_time)
    except (AttributeError, ValueError, OverflowError):
        return False


def sentences(told: dict[str, Any]) -> Iterator[str]:
    """A decision for people."""
    which = told["model"] + (f" {told['version']}" if told["version"] else "")
    done = {
        "raise": f"wave {told.get('wave')} of {told.get('of')} is opened",
        "withdraw": "it is withdrawn",
        "finish": "every device may have it",
        "wait": "waits",
        "error": "nothing is done",
    }[told["action"]]
    dry = "would be: " if told.get("dry_run") and told["action"] not in ("wait", "error") else ""
    yield f"{told['time']} {which}: {dry}{done}: {told['reason']}."
    if told.get("live") is False:
        lacks = [f"{n} of {role}" for role, n in told["missing_signatures"].items()]
        yield f"  It waits for signatures ({', '.join(lacks)}): `edgeline repository sign`."
