"""What is remembered of events and runs: SQLite, one transaction a step.

An event, what it speaks for and the run that it decides are one transaction, after which its sender
is answered: what was answered is not lost, and what was not is sent again. Events are told apart by
`source` and `id` (CloudEvents 1.0), and remembered until a repetition would be too old to be taken.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from edgeline.errors import EdgelineError, UsageError, at_path
from edgeline.local import folders
from edgeline.triggers.events import CloudEvent
from edgeline.triggers.judging import Standing, best, told, voice, why_not
from edgeline.triggers.rules import DAY, TriggerFile, TriggerRule

FILE, LOCK = "triggers.sqlite", "lock"
VERSION = 1
DECIDED, STARTING, RUNNING = "decided", "starting", "running"
SUCCEEDED, FAILED = "succeeded", "failed"
OPEN = (DECIDED, STARTING, RUNNING)
COUNTED, REPEATED, UNMATCHED = "counted", "repeated", "unmatched"
OLD, EXPIRED, AHEAD, FULL = "too_old", "expired", "ahead", "full"
RESULTS = (COUNTED, REPEATED, UNMATCHED, OLD, EXPIRED, AHEAD, FULL)
LARGEST = 256 << 20  # bytes of events that are remembered
_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
  source TEXT, id TEXT, type TEXT, time REAL, received REAL, result TEXT, body BLOB,
  PRIMARY KEY (source, id)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS events_by_time ON events (time);
CREATE TABLE IF NOT EXISTS voices (
  rule TEXT, device TEXT, topic TEXT, feature TEXT, time REAL,
  PRIMARY KEY (rule, device, topic, feature)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS voices_by_feature ON voices (rule, time, feature);
CREATE TABLE IF NOT EXISTS heard (
  rule TEXT, device TEXT, topic TEXT, time REAL,
  PRIMARY KEY (rule, device, topic)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS firings (
  mark TEXT PRIMARY KEY, rule TEXT, feature TEXT, devices TEXT, since REAL, decided REAL,
  ordered BLOB, state TEXT, tries INTEGER, begun REAL, ended REAL, place TEXT, said TEXT)
  WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS firings_by_rule ON firings (rule, decided);
CREATE TABLE IF NOT EXISTS counts (name TEXT PRIMARY KEY, value INTEGER) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class Firing:
    """A run that a rule has decided on.

    Attributes:
        mark: its name, wherever it runs; it is never given again.
        feature: what the devices agreed on; empty where that was not asked.
        devices: those whose events decided it.
        since: when the rule's run before was decided; 0 for none.
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

    def __init__(self, declared: TriggerFile, folder: Path | None, read_only: bool = False) -> None:
        """
        Args:
            folder: where it lies, which is made where it is missing; None: in memory.
            read_only: whether it is looked at beside a server.

        Raises:
            EdgelineError: the folder cannot be written, is another server's, or holds another kind
                of state.
        """
        self.rules = {rule.name: rule for rule in declared.rules}
        self._declared = declared
        self._lock = threading.RLock()
        self._held = contextlib.ExitStack()
        self._counts: Counter[str] = Counter()
        if folder is not None and not read_only:
            _make(folder)
            self._held.enter_context(_alone(folder))
        try:
            self._base = _connect(folder, read_only)
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
                self._forget(now)
                for event in events:
                    found.append(self._take(event, now, touched))
                for rule in touched.values():
                    self._decide(rule, now)
                self._add(Counter(found))
            return found

    def look(self, now: float) -> None:
        """Decide what time alone decides: a cool-down has ended, or a run has."""
        with self._lock, self._transaction():
            self._forget(now)
            for rule in self.rules.values():
                self._decide(rule, now)

    def standing(self, rule: TriggerRule, now: float) -> Standing:
        """How a rule stands at a time."""
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
                "SELECT MAX(decided) FROM firings WHERE rule = ?", (rule.name,)
            ).fetchone()
            recent, oldest = self._base.execute(
                "SELECT COUNT(*), MIN(decided) FROM firings WHERE rule = ? AND decided > ?",
                (rule.name, now - DAY),
            ).fetchone()
            running = self._base.execute(
                f"SELECT mark FROM firings WHERE rule = ? AND state IN {OPEN}", (rule.name,)
            ).fetchone()
        return Standing(feature, devices, last, recent, oldest, running[0] if running else "")

    def firings(self, *states: str) -> list[Firing]:
        """Runs in these states, or all, in the order in which they were decided."""
        with self._lock:
            rows = self._base.execute(
                "SELECT mark, rule, feature, devices, since, decided, ordered, state, tries, "
                "begun, ended, place, said FROM firings ORDER BY decided, mark"
            ).fetchall()
        found = [_firing(list(row)) for row in rows]
        return [each for each in found if not states or each.state in states]

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
        if self._events >= self._declared.max_events or self._bytes + len(event.body) > LARGEST:
            return FULL
        result = UNMATCHED
        for rule in self.rules.values():
            if self._hear(rule, event, min(event.time, now)):
                touched[rule.name], result = rule, COUNTED
        self._base.execute(
            "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)",
            (*key, event.type, event.time, now, result, event.body),
        )
        self._events += 1
        self._bytes += len(event.body)
        return result

    def _hear(self, rule: TriggerRule, event: CloudEvent, time: float) -> bool:
        """Whether an event is something to a rule, for which what it says is kept."""
        said = voice(rule, event)
        if said is None:
            return False
        key = rule.name, said.device, said.topic
        if said.replaces:  # unless a later event of the device came before it
            last = self._base.execute(
                "SELECT time FROM heard WHERE rule = ? AND device = ? AND topic = ?", key
            ).fetchone()
            if last and last[0] > event.time:
                return True
            self._base.execute(
                "INSERT OR REPLACE INTO heard VALUES (?, ?, ?, ?)", (*key, event.time)
            )
            self._base.execute(
                "DELETE FROM voices WHERE rule = ? AND device = ? AND topic = ?", key
            )
        for feature in said.features:
            self._base.execute(
                "INSERT INTO voices VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT (rule, device, topic, feature) "
                "DO UPDATE SET time = MAX(time, excluded.time)",
                (*key, feature, time),
            )
        return True

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
                *(standing.last or 0.0, now, msgspec.json.encode(rule), DECIDED),
            ),
        )
        # what led to this run is answered by it
        self._base.execute("DELETE FROM voices WHERE rule = ?", (rule.name,))

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


def _connect(folder: Path | None, read_only: bool) -> sqlite3.Connection:
    if read_only and folder is not None:
        file = folder / FILE
        if not file.is_file():
            raise UsageError(
                f"{folder} holds no state of triggers: name the folder of `edgeline triggers "
                "serve` with --state."
            )
        uri = f"{file.absolute().as_uri()}?mode=ro"
        base = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
        base.execute("PRAGMA busy_timeout = 5000")
        return base
    name = ":memory:" if folder is None else str(folder / FILE)
    base = sqlite3.connect(name, isolation_level=None, check_same_thread=False)
    base.execute("PRAGMA busy_timeout = 5000")
    base.execute("PRAGMA journal_mode = WAL")
    base.execute("PRAGMA synchronous = FULL")  # what was answered outlives a power cut, too
    (version,) = base.execute("PRAGMA user_version").fetchone()
    if version not in (0, VERSION):
        raise sqlite3.DatabaseError(f"its version is {version}, of another edgeline")
    base.executescript(_SCHEMA)
    base.execute(f"PRAGMA user_version = {VERSION}")
    return base


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise at_path(
            error, f"--state {folder} cannot be made ({error.strerror}): name another folder."
        ) from error


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One server has a folder; the kernel lets go of it however that ends.

    Raises:
        EdgelineError: another has it, or it cannot be written.
    """
    with contextlib.ExitStack() as stack:
        try:
            is_ours = stack.enter_context(folders.locked(folder / LOCK))
        except OSError as error:
            raise at_path(
                error, f"--state {folder} cannot be written ({error.strerror}): name another."
            ) from error
        if not is_ours:
            raise EdgelineError(
                f"Another `edgeline triggers serve` has {folder}: end it, or name another folder "
                "with --state."
            )
        yield
