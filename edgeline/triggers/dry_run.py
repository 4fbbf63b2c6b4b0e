"""What a log of events would have started: the same rules on a state in memory, the clock from the
events.

Nothing is run: a run is taken to end at once, so that what would have waited for its end is decided
earlier.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from edgeline.server.errors import ServingError
from edgeline.triggers.events import CloudEvent, read_line
from edgeline.triggers.judging import why_not
from edgeline.triggers.rules import DAY, TriggerFile
from edgeline.triggers.store import DECIDED, SUCCEEDED, Firing, TriggerStore


@dataclass(frozen=True)
class Rehearsal:
    """One line of a log, and what would have come of it.

    Attributes:
        line: its number, from 1.
        event: None where the line is not one.
        result: one of `store.RESULTS`, or why the line is not an event.
        fired: the runs that were decided between the line before and this one, or by it.
    """

    line: int
    event: CloudEvent | None
    result: str
    fired: tuple[Firing, ...]


class DryRun:
    """The rules of a file on a log of events."""

    def __init__(self, declared: TriggerFile) -> None:
        self.now = 0.0
        self.counts: Counter[str] = Counter()
        self._store = TriggerStore(declared, None)

    def replay(self, lines: Iterable[bytes]) -> Iterator[Rehearsal]:
        """What comes of each line: an event in structured mode, as `triggers show --events`
        writes."""
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                event = read_line(line)
            except ServingError as error:
                self.counts["malformed"] += 1
                yield Rehearsal(number, None, str(error), ())
                continue
            before = self._until(event.time)
            (result,) = self._store.take([event], self.now)
            self.counts[result] += 1
            yield Rehearsal(number, event, result, (*before, *self._fired()))

    def waits(self) -> dict[str, list[str]]:
        """Why each rule starts no further run at the end of the log."""
        return {
            rule.name: why_not(rule, self._store.standing(rule, self.now), self.now)
            for rule in self._store.rules.values()
        }

    def firings(self) -> list[Firing]:
        """All runs."""
        return self._store.firings()

    def _until(self, time: float) -> list[Firing]:
        """Decide what time alone decides before an event, at the moments at which it may."""
        found = []
        for moment in sorted(self._moments(time)):
            self.now = moment
            self._store.look(moment)
            found += self._fired()
        self.now = max(self.now, time)
        return found

    def _moments(self, end: float) -> set[float]:
        moments = set()
        for rule in self._store.rules.values():
            standing = self._store.standing(rule, self.now)
            if standing.last is not None:
                moments.add(standing.last + rule.cool_down)
            if standing.oldest is not None:
                moments.add(standing.oldest + DAY)
        return {moment for moment in moments if self.now < moment < end}

    def _fired(self) -> list[Firing]:
        """The runs that were decided since this was asked last, which end at once."""
        return [
            self._store.change(each, state=SUCCEEDED, ended=self.now)
            for each in self._store.firings(DECIDED)
        ]
