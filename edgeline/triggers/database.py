"""The file of the state: its tables, how it is opened, and that one server alone has it."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from edgeline.errors import EdgelineError, UsageError, at_path
from edgeline.local import folders

FILE, LOCK = "triggers.sqlite", "lock"
VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
  source TEXT, id TEXT, type TEXT, time REAL, received REAL, result TEXT, body BLOB,
  PRIMARY KEY (source, id)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS events_by_time ON events (time);
CREATE INDEX IF NOT EXISTS events_by_result ON events (result, time);
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
CREATE INDEX IF NOT EXISTS firings_by_state ON firings (state);
CREATE INDEX IF NOT EXISTS firings_by_time ON firings (decided);
CREATE TABLE IF NOT EXISTS counts (name TEXT PRIMARY KEY, value INTEGER) WITHOUT ROWID;
"""


def connect(folder: Path | None, read_only: bool) -> sqlite3.Connection:
    """The state in a folder; in memory without one.

    Raises:
        UsageError: there is none to be read.
        sqlite3.DatabaseError: it is something else, or of another edgeline.
    """
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


def make(folder: Path) -> None:
    """Make a folder that only its owner reads.

    Raises:
        EdgelineError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise at_path(
            error, f"--state {folder} cannot be made ({error.strerror}): name another folder."
        ) from error


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
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
