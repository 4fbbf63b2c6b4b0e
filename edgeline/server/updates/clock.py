"""What time it is at least, on a device whose clock may be wrong.

A board without a battery starts in 1970, and metadata of any age is fresh to it. But what is signed
says when it was signed, so it cannot be earlier than that; and while the device runs, it knows how
long that was ago, whatever is done to its clock. The latest such time is kept with the metadata,
and no check goes back behind it. A clock that is ahead proves nothing and is not kept. Who steals
the key of the timestamp could sign a time that is far ahead: with the next root, which takes that
key away, what was proven under the one before counts no more.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata
from tuf.api.serialization import DeserializationError

from edgeline.artifacts.folder import write_text
from edgeline.errors import EdgelineError
from edgeline.formats import typed
from edgeline.stores.signed import SIGNED_AT

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_FILE = "clock.json"
_KEPT_EVERY = timedelta(hours=1)  # a card is not written to with each check


@dataclass(frozen=True)
class ProvenTime:
    """What is kept.

    Attributes:
        time: ISO 8601.
        boot: which start of the machine this was.
        running: seconds that the machine had then been running.
        root: the version of the root that was trusted.
    """

    time: str
    boot: str
    running: float
    root: int


def at_least(folder: Path) -> datetime | None:
    """What time it is at least by what was proven before; None where nothing was."""
    with contextlib.suppress(EdgelineError, ValueError, OverflowError):
        kept = typed.convert(typed.read(folder / _FILE), ProvenTime)
        if kept.root != _root(folder):
            return None
        proven = datetime.fromisoformat(kept.time).astimezone(timezone.utc)
        if kept.boot and kept.boot == _boot():
            proven += timedelta(seconds=max(0.0, _running() - kept.running))
        return proven
    return None


def now(folder: Path) -> datetime:
    """The time that metadata is held to: this device's clock, or what is proven to be later."""
    clock, proven = datetime.now(timezone.utc), at_least(folder)
    return clock if proven is None else max(clock, proven)


def keep(folder: Path, verified: Iterable[Metadata[Any]]) -> None:
    """Keep the latest time that metadata proves, which has been verified."""
    before = at_least(folder)
    proven = max(filter(None, [before, *map(_signed_at, verified)]), default=None)
    if proven is None:
        return
    with contextlib.suppress(OSError, EdgelineError, ValueError):
        kept = typed.convert(typed.read(folder / _FILE), ProvenTime)
        same = (kept.boot, kept.root) == (_boot(), _root(folder))
        if same and proven - datetime.fromisoformat(kept.time) < _KEPT_EVERY:
            return
    with contextlib.suppress(OSError):  # a disk that takes nothing still serves
        made = ProvenTime(proven.isoformat(), _boot(), _running(), _root(folder))
        write_text(folder / _FILE, json.dumps(asdict(made)))


def _signed_at(metadata: Metadata[Any]) -> datetime | None:
    said = metadata.signed.unrecognized_fields.get(SIGNED_AT)
    if not isinstance(said, str):
        return None
    try:
        found = datetime.fromisoformat(said.replace("Z", "+00:00"))
    except ValueError:
        return None
    # what expires before it was signed was not signed then
    return found if found.tzinfo and found <= metadata.signed.expires else None


def _root(folder: Path) -> int:
    with contextlib.suppress(OSError, RepositoryError, DeserializationError, ValueError):
        return int(Metadata.from_bytes((folder / "root.json").read_bytes()).signed.version)
    return 0


def _boot() -> str:
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return ""


def _running() -> float:
    """Seconds since the machine started, sleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else 0.0
