"""What is thought of versions: on trial, proven or bad; with a state folder also after a restart.

A version is tried in a child before it is loaded, and is then on trial until it has answered
requests for a while without failing too many. One that fails is bad and is not tried again. Its
identity is the digest of its manifest, or of a bare model's files, so the same number with other
content is another version; and what one runtime says of it, another need not. A version that was
on trial at several starts in a row without an end in between is what ended the server, and is
bad, too.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from edgeline.artifacts import sha256, write_text
from edgeline.artifacts.bundle import MANIFEST
from edgeline.errors import EdgelineError
from edgeline.formats import typed
from edgeline.runtimes import served_runtimes
from edgeline.server.models import loading
from edgeline.server.models.loading import TransientError
from edgeline.server.settings import ServerSettings
from edgeline.server.versions.sources import VersionSource

FILE = "versions.json"
STARTS = 3  # of the server with the same version on trial, none of which ended as it should
VerdictState = Literal["trial", "proven", "bad"]
TrialLimit = Literal["", "load_memory", "load_time", "run_time"]  # a setting, or none
_REMEMBERED = 1000
log = logging.getLogger("edgeline.server")


@dataclass
class Record:
    """`starts` counts loads while on trial; `blamed` says
    that it is bad for ends of the server alone; `tried`, that a child has run it; `runtime`, the
    version of the runtime that all of it is true of; `limit` and `allowed`, that it is bad for
    what a trial allowed of that, and holds until more is."""

    name: str
    version: int
    state: VerdictState = "trial"
    starts: int = 0
    reason: str = ""
    blamed: bool = False
    tried: bool = False
    runtime: str = ""
    limit: TrialLimit = ""
    allowed: float = 0.0


def limits_of(settings: ServerSettings) -> dict[TrialLimit, float]:
    """What a trial allows by a server's settings."""
    return {
        "load_memory": settings.load_memory,
        "load_time": settings.load_time,
        "run_time": settings.run_time or math.inf,
    }


class Verdicts:
    """Used by one thread at a time, but for `identify`."""

    def __init__(
        self, folder: Path | None, runtime: str, limits: Mapping[TrialLimit, float] | None = None
    ) -> None:
        """`runtime` is the version of LiteRT; those of others are looked up where one is met.
        `limits` are what a trial allows."""
        self._limits: Mapping[TrialLimit, float] = limits or {}
        self._file, self._runtime = folder / FILE if folder else None, runtime
        self._records: dict[str, Record] = {}
        self._identities: dict[VersionSource, tuple[str, dict[str, str] | None]] = {}
        self._runtimes: dict[VersionSource, str] = {}  # of those that are not LiteRT's
        self._begun: set[str] = set()  # by this process
        if self._file is not None and self._file.is_file():
            try:
                self._records = typed.convert(typed.read(self._file), Mapping[str, Record])
            except EdgelineError as error:
                log.error("%s is damaged (%s): all versions are tried again.", self._file, error)

    def identify(self, source: VersionSource) -> dict[str, str] | None:
        """Read what a version is known by; gives the digests of a bare model's files by name.

        What else is asked of a version is asked after this.

        Raises:
            TransientError: a file cannot be read.
        """
        if source in self._identities:
            return self._identities[source][1]
        digests = None
        try:
            if source.path.is_file():
                digests = loading.digests(source.path)
                identity = ",".join(digests.values())
                if len(digests) > 1:
                    identity = hashlib.sha256(identity.encode()).hexdigest()
            else:
                identity = source.digest or sha256(source.path / MANIFEST)
        except OSError as error:
            raise TransientError(f"{source.path} cannot be read ({error.strerror}).") from error
        if len(self._identities) > _REMEMBERED:
            self._identities.clear()
            self._runtimes.clear()
        if other := "" if source.path.is_file() else served_runtimes.version_at(source.path):
            self._runtimes[source] = other
        self._identities[source] = identity, digests
        return digests

    def fault(self, source: VersionSource) -> str:
        """Why a version is bad; empty if it is not known to be."""
        record = self._known(source)
        return record.reason if record is not None and record.state == "bad" else ""

    def blamed(self, source: VersionSource) -> bool:
        """Whether a version is bad for ends of the server alone: it may have been the power."""
        record = self._known(source)
        return record is not None and record.state == "bad" and record.blamed

    def proven(self, source: VersionSource) -> bool:
        """Whether a version has served long enough."""
        record = self._known(source)
        return record is not None and record.state == "proven"

    def tried(self, source: VersionSource) -> bool:
        """Whether a child has run a version."""
        record = self._known(source)
        return record is not None and record.tried

    def bad(self) -> dict[str, Record]:
        """The bad versions, by the digest of the manifest."""
        return {
            key: record
            for key, record in self._records.items()
            if record.state == "bad"
            and not self._is_outgrown(record)
            and (record.runtime == self._runtime or served_runtimes.is_here(record.runtime))
        }

    def passed(self, source: VersionSource) -> None:
        """A child has run a version."""
        self._record(source).tried = True
        self._save()

    def begin(self, source: VersionSource) -> str:
        """A version is about to be loaded here. Why it must not be, empty if it may."""
        record, identity = self._record(source), self._identity(source)
        if record.state == "trial" and identity not in self._begun:
            if record.starts >= STARTS:
                self.condemn(
                    source,
                    f"the server ended {record.starts} times while this version was on trial",
                )
                record.blamed = True
                self._save()
                return record.reason
            record.starts += 1
            self._begun.add(identity)
            self._save()
        return ""

    def condemn(self, source: VersionSource, reason: str, limit: TrialLimit = "") -> None:
        """A version is bad from now on; where it takes more than a limit, until that is larger."""
        record = self._record(source)
        record.state, record.reason, record.limit = "bad", reason, limit
        record.allowed = self._limits.get(limit, 0.0)
        self._save()

    def prove(self, source: VersionSource) -> None:
        """A version has served long enough."""
        record = self._record(source)
        if record.state != "proven":
            record.state, record.starts = "proven", 0
            self._save()

    def end(self) -> None:
        """The server stops as it should: no version on trial is to blame."""
        on_trial = [record for record in self._records.values() if record.starts]
        for record in on_trial:
            record.starts = 0
        if on_trial:
            self._save()

    def pardon(self, source: VersionSource) -> None:
        """Somebody asks for a bad version to be tried again."""
        if self._records.pop(self._identity(source), None) is not None:
            self._save()

    def _known(self, source: VersionSource) -> Record | None:
        record = self._records.get(self._identity(source))
        if record is None or record.runtime != self._runtime_of(source):
            return None
        return None if self._is_outgrown(record) else record

    def _is_outgrown(self, record: Record) -> bool:
        """Whether a version is bad for a limit that is larger by now."""
        return bool(record.limit) and self._limits.get(record.limit, 0.0) > record.allowed

    def _runtime_of(self, source: VersionSource) -> str:
        return self._runtimes.get(source, self._runtime)

    def _record(self, source: VersionSource) -> Record:
        record = self._known(source)
        if record is None:
            record = Record(source.name, source.version, runtime=self._runtime_of(source))
            self._records[self._identity(source)] = record
        return record

    def _identity(self, source: VersionSource) -> str:
        known = self._identities.get(source)
        return source.digest or (known[0] if known else f"{source.name}/{source.version}")

    def _save(self) -> None:
        for key in list(self._records)[: max(0, len(self._records) - _REMEMBERED)]:
            del self._records[key]
        if self._file is None:
            return
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            value = {key: asdict(record) for key, record in self._records.items()}
            write_text(self._file, json.dumps(value, indent=1) + "\n")
        except OSError as error:
            log.error("%s cannot be written (%s): a restart forgets it.", self._file, error)
