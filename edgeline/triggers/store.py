"""What is remembered of events and runs: SQLite, one transaction a step.

An event, what it speaks for and the run that it decides are one transaction, after which its sender
is answered: what was answered is not lost, and what was not is sent again. Events are told apart by
`source` and `id` (CloudEvents 1.0), and remembered until a repetition would be too old to be taken.
Where there is no room, those that are nothing to any rule give way to those that count.
"""

from __future__ import annotations

import contextlib
import json
import logging
import secrets
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from edgeline.errors import EdgelineError
from edgeline.triggers import database
from edgeline.triggers.events import CloudEvent
from edgeline.triggers.judging import Standing, Voice, best, told, voice, why_not
from edgeline.triggers.rules import DAY, TriggerFile, TriggerRule

log = logging.getLogger("edgeline.triggers")
DECIDED, STARTING, RUNNING = "decided", "starting", "running"
SUCCEEDED, FAILED = "succeeded", "failed"
OPEN = (DECIDED, STARTING, RUNNING)
COUNTED, REPEATED, UNMATCHED = "counted", "repeated", "unmatched"
OLD, EXPIRED, AHEAD, FULL = "too_old", "expired", "ahead", "full"
RESULTS = (COUNTED, REPEATED, UNMATCHED, OLD, EXPIRED, AHEAD, FULL)
LARGEST = 256 << 20  # bytes of events that are remembered
FEW = 100  # events that a device may always have remembered
KEPT = 1000  # ended runs of each rule that are remembered, beside those of the last day


@dataclass(frozen=True)
class Firing:
    """A run that a rule has decided on.

    Attributes:
        mark: its name, wherever it runs; it is never given again.
        feature: what the devices agreed on; empty where that was not asked.
        devices: those whose events decided it.
        since: when the rule's last run that has succeeded was decided; 0 for none.
        ordered: the rule as it was then, whatever the file says since.
        tries: how often it was begun, and `begun`, when last, in seconds since 1970.
        place: the run's folder, or its identifier on the server.
        said: how it ended, or why it waits.
    """

    mark: str
    rule: str
    feature: str
    devices: tuple[str, ...]
    since: float
    decided: float
    ordered: TriggerRule
    state: str = DECIDED
    tries: int = 0
    begun: float | None = None
    ended: float | None = None
    place: str = ""
    said: str = ""


class TriggerStore:
    """The state of one triggers file. Safe for threads."""

    def __init__(
        self,
        declared: TriggerFile,
        folder: Path | None,
        read_only: bool = False,
        steady: Callable[[float], float] = float,
    ) -> None:
        """
        Args:
            folder: where it lies, which is made where it is missing; None: in memory.
            read_only: whether it is looked at beside a server.
            steady: the time up to which things are forgotten, of the time of day: see
                `steady_time`.

        Raises:
            EdgelineError: the folder cannot be written, is another server's, or holds another kind
                of state.
        """
        self.rules = {rule.name: rule for rule in declared.rules}
        self._declared, self._steady = declared, steady
        self._warned: set[str] = set()  # runs of which it was told that their time is to come
        self._lock = threading.RLock()
        self._held = contextlib.ExitStack()
        self._counts: Counter[str] = Counter()
        if folder is not None and not read_only:
            database.make(folder)
            self._held.enter_context(database.alone(folder))
        try:
            self._base = database.connect(folder, read_only)
            self._events, self._bytes = self._base.execute(
                "SELECT COUNT(*), COALESCE(SUM(LENGTH(body)), 0) FROM events"
            ).fetchone()
        except sqlite3.DatabaseError as error:
            self._held.close()
            raise EdgelineError(
                f"{folder} does not hold the state of triggers ({error}): name another folder with "
                "--state, or move that one away."
            ) from error

    def close(self) -> None:
        with self._lock:
            self._base.close()
            self._held.close()

    def take(self, events: Sequence[CloudEvent], now: float) -> list[str]:
        """Take events, and decide what they decide: one transaction.

        Args:
            now: seconds since 1970.

        Returns:
            Of each event one of `RESULTS`.
        """
        with self._lock:
            found: list[str] = []
            touched: dict[str, TriggerRule] = {}
            with self._transaction():
                self._forget(self._steady(now))
                for event in events:
                    found.append(self._take(event, now, touched))
                for rule in touched.values():
                    self._decide(rule, now)
                self._add(Counter(found))
            return found

    def has_share(self, device: str) -> bool:
        """Whether a device has room left: the events of one take up a hundredth of what is
        remembered, or `FEW` events."""
        with self._lock:
            count, size = self._base.execute(
                "SELECT COUNT(*), COALESCE(SUM(LENGTH(body)), 0) FROM events "
                "WHERE source = ? OR (source >= ? AND source < ?)",
                (f"/{device}", f"/{device}/models/", f"/{device}/models0"),
            ).fetchone()
        return bool(count < max(FEW, self._declared.max_events // 100) and size < LARGEST // 100)

    def look(self, now: float) -> None:
        """Decide what time alone decides: a cool-down has ended, or a run has."""
        with self._lock, self._transaction():
            self._forget(self._steady(now))
            self._warn(now)
            for rule in self.rules.values():
                self._decide(rule, now)

    def standing(self, rule: TriggerRule, now: float) -> Standing:
        """How a rule stands at a time. A run whose time is yet to come, as the clock was wrong when
        it was decided, neither cools it down nor uses its budget."""
        latest = now + self._declared.max_ahead
        with self._lock:
            feature, devices = best(
                dict(
                    self._base.execute(
                        "SELECT feature, COUNT(DISTINCT device) FROM voices "
                        "WHERE rule = ? AND time >= ? GROUP BY feature",
                        (rule.name, now - rule.within),
                    )
                )
            )
            (last,) = self._base.execute(
                "SELECT MAX(decided) FROM firings WHERE rule = ? AND decided <= ?",
                (rule.name, latest),
            ).fetchone()
            recent, oldest = self._base.execute(
                "SELECT COUNT(*), MIN(decided) FROM firings "
                "WHERE rule = ? AND decided > ? AND decided <= ?",
                (rule.name, now - DAY, latest),
            ).fetchone()
            running = self._base.execute(
                f"SELECT mark FROM firings WHERE rule = ? AND state IN {OPEN}", (rule.name,)
            ).fetchone()
        return Standing(feature, devices, last, recent, oldest, running[0] if running else "")

    def firings(self, *states: str, last: int = -1) -> list[Firing]:
        """Runs in these states, or in all, in the order in which they were decided; `last`: so many
        of each rule."""
        chosen = f"WHERE state IN ({', '.join('?' * len(states))})" if states else ""
        with self._lock:
            rows = self._base.execute(
                "SELECT mark, rule, feature, devices, since, decided, ordered, state, tries, "
                "begun, ended, place, said FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY rule "
                f"ORDER BY decided DESC, mark DESC) AS back FROM firings {chosen}) "
                "WHERE ? < 0 OR back <= ? ORDER BY decided, mark",
                (*states, last, last),
            ).fetchall()
        return [_firing(list(row)) for row in rows]

    def tally(self) -> dict[tuple[str, str], int]:
        """How many runs are remembered, by rule and state."""
        with self._lock:
            rows = self._base.execute(
                "SELECT rule, state, COUNT(*) FROM firings GROUP BY rule, state"
            ).fetchall()
        return {(rule, state): count for rule, state, count in rows}

    def change(self, firing: Firing, **fields: Any) -> Firing:
        """Keep what has become of a run, before anything else is done for it."""
        changed = replace(firing, **fields)
        names = ", ".join(f"{name} = ?" for name in fields)
        with self._lock, self._transaction():
            self._base.execute(
                f"UPDATE firings SET {names} WHERE mark = ?", (*fields.values(), firing.mark)
            )
        return changed

    def counts(self) -> dict[str, int]:
        """How many events came to what, since the state was made."""
        with self._lock:
            return dict(self._base.execute("SELECT name, value FROM counts"))

    def events(self) -> Iterator[bytes]:
        """The events that are remembered, each as JSON, in the order in which they came."""
        with self._lock:
            rows = self._base.execute("SELECT body FROM events ORDER BY received, time").fetchall()
        for (body,) in rows:
            yield bytes(body)

    @property
    def held(self) -> tuple[int, int]:
        """How many events are remembered, and their bytes."""
        return self._events, self._bytes

    def _take(self, event: CloudEvent, now: float, touched: dict[str, TriggerRule]) -> str:
        if event.expires is not None and event.expires <= now:
            return EXPIRED
        if event.time < now - self._declared.max_age:
            return OLD
        if event.time > now + self._declared.max_ahead:
            return AHEAD
        key = event.source, event.id
        if self._base.execute("SELECT 1 FROM events WHERE source = ? AND id = ?", key).fetchone():
            return REPEATED
        heard = [(rule, said) for rule in self.rules.values() if (said := voice(rule, event))]
        result = COUNTED if heard else UNMATCHED
        if not self._has_room(len(event.body), result):
            return FULL if heard else UNMATCHED
        for rule, said in heard:
            self._hear(rule, said, event.time, now)
            touched[rule.name] = rule
        self._base.execute(
            "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)",
            (*key, event.type, event.time, now, result, event.body),
        )
        self._events += 1
        self._bytes += len(event.body)
        return result

    def _has_room(self, size: int, result: str) -> bool:
        """Whether an event can be remembered; one that counts drives out those that do not."""
        while self._events >= self._declared.max_events or self._bytes + size > LARGEST:
            oldest = self._base.execute(
                "SELECT source, id, LENGTH(body) FROM events WHERE result = ? "
                "ORDER BY time LIMIT 1",
                (UNMATCHED,),
            ).fetchone()
            if oldest is None or result == UNMATCHED:
                return False
            self._base.execute("DELETE FROM events WHERE source = ? AND id = ?", oldest[:2])
            self._events, self._bytes = self._events - 1, self._bytes - oldest[2]
        return True

    def _hear(self, rule: TriggerRule, said: Voice, sent: float, now: float) -> None:
        """Keep what an event says to a rule."""
        key = rule.name, said.device, said.topic
        if said.replaces:  # unless a later event of the device came before it
            last = self._base.execute(
                "SELECT time FROM heard WHERE rule = ? AND device = ? AND topic = ?", key
            ).fetchone()
            if last and last[0] > sent:
                return
            self._base.execute("INSERT OR REPLACE INTO heard VALUES (?, ?, ?, ?)", (*key, sent))
            self._base.execute(
                "DELETE FROM voices WHERE rule = ? AND device = ? AND topic = ?", key
            )
        for feature in said.features:
            self._base.execute(
                "INSERT INTO voices VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT (rule, device, topic, feature) "
                "DO UPDATE SET time = MAX(time, excluded.time)",
                (*key, feature, min(sent, now)),
            )

    def _decide(self, rule: TriggerRule, now: float) -> None:
        standing = self.standing(rule, now)
        if why_not(rule, standing, now):
            return
        devices = [
            device
            for (device,) in self._base.execute(
                "SELECT DISTINCT device FROM voices WHERE rule = ? AND time >= ? AND feature = ?",
                (rule.name, now - rule.within, standing.feature),
            )
        ]
        mark = f"{rule.name}-{told(now).replace('-', '').replace(':', '')}-{secrets.token_hex(3)}"
        self._base.execute(
            "INSERT INTO firings VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, NULL, NULL, '', '')",
            (
                *(mark.lower(), rule.name, standing.feature, json.dumps(devices)),
                *(self._since(rule, now), now, msgspec.json.encode(rule), DECIDED),
            ),
        )
        self._base.execute(
            f"DELETE FROM firings WHERE rule = ? AND decided < ? AND state NOT IN {OPEN} AND mark "
            "NOT IN (SELECT mark FROM firings WHERE rule = ? ORDER BY decided DESC LIMIT ?)",
            (rule.name, now - DAY, rule.name, KEPT),
        )
        # what led to this run is answered by it
        self._base.execute("DELETE FROM voices WHERE rule = ?", (rule.name,))

    def _since(self, rule: TriggerRule, now: float) -> float:
        (decided,) = self._base.execute(
            "SELECT MAX(decided) FROM firings WHERE rule = ? AND state = ? AND decided <= ?",
            (rule.name, SUCCEEDED, now),
        ).fetchone()
        return float(decided or 0.0)

    def _warn(self, now: float) -> None:
        """Tell of runs that were decided while the clock was wrong, once of each."""
        for mark, decided in self._base.execute(
            "SELECT mark, decided FROM firings WHERE decided > ?", (now + self._declared.max_ahead,)
        ):
            if mark not in self._warned:
                self._warned.add(mark)
                log.warning(
                    "%s was decided at %s, which is yet to come: the clock was wrong then, or is "
                    "now. It counts neither for the cool-down nor for the budget.",
                    *(mark, told(decided)),
                )

    def _forget(self, now: float) -> None:
        """Drop events that would be refused as too old, and voices of no window."""
        gone = self._base.execute(
            "SELECT COUNT(*), COALESCE(SUM(LENGTH(body)), 0) FROM events WHERE time < ?",
            (before := now - self._declared.max_age - self._declared.max_ahead,),
        ).fetchone()
        if gone[0]:
            self._base.execute("DELETE FROM events WHERE time < ?", (before,))
            self._events, self._bytes = self._events - gone[0], self._bytes - gone[1]
        for rule in self.rules.values():
            self._base.execute(
                "DELETE FROM voices WHERE rule = ? AND time < ?", (rule.name, now - rule.within)
            )
        self._base.execute("DELETE FROM heard WHERE time < ?", (before,))

    def _add(self, counts: Counter[str]) -> None:
        for name, value in counts.items():
            self._base.execute(
                "INSERT INTO counts VALUES (?, ?) ON CONFLICT (name) "
                "DO UPDATE SET value = value + excluded.value",
                (name, value),
            )

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        kept = self._events, self._bytes
        self._base.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._base.execute("COMMIT")
        except BaseException:
            self._events, self._bytes = kept
            with contextlib.suppress(sqlite3.Error):
                self._base.execute("ROLLBACK")
            raise


def _firing(row: list[Any]) -> Firing:
    row[3] = tuple(json.loads(row[3]))
    row[6] = msgspec.json.decode(row[6], type=TriggerRule)
    return Firing(*row)
