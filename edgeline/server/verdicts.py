"""What is thought of versions: on trial, proven or bad; with a state folder also after a restart.

A version is on trial from its first load until it has answered requests for a while without
failing too many. One that fails is bad and is not tried again; its identity is the digest of its
manifest, so the same number with other content is another version. A version that was on trial
at several starts in a row without an end in between is what ended the server, and is bad, too.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path

from edgeline.artifacts import sha256, write_text
from edgeline.bundle import MANIFEST
from edgeline.server.sources import Source

FILE = "versions.json"
STARTS = 3  # of the server with the same version on trial, none of which ended as it should
_REMEMBERED = 1000
log = logging.getLogger("edgeline.server")


@dataclass
class Record:
    """`state` is `trial`, `proven` or `bad`; `starts` counts loads while on trial; `blamed` says
    that it is bad for ends of the server alone."""

    name: str
    version: int
    state: str = "trial"
    starts: int = 0
    reason: str = ""
    blamed: bool = False


class Verdicts:
    """Used by one thread at a time."""

    def __init__(self, folder: Path | None) -> None:
        self._file = folder / FILE if folder else None
        self._records: dict[str, Record] = {}
        self._identities: dict[Source, str] = {}
        self._begun: set[str] = set()  # by this process
        if self._file is not None and self._file.is_file():
            try:
                found = json.loads(self._file.read_text())
                self._records = {key: Record(**value) for key, value in found.items()}
            except (OSError, ValueError, TypeError, AttributeError) as error:
                log.error("%s is damaged (%s): all versions are tried again.", self._file, error)

    @property
    def lasting(self) -> bool:
        """Whether it outlives a restart."""
        return self._file is not None

    def fault(self, source: Source) -> str:
        """Why a version is bad; empty if it is not known to be."""
        record = self._records.get(self._identity(source))
        return record.reason if record is not None and record.state == "bad" else ""

    def blamed(self, source: Source) -> bool:
        """Whether a version is bad for ends of the server alone: it may have been the power."""
        record = self._records.get(self._identity(source))
        return record is not None and record.state == "bad" and record.blamed

    def proven(self, source: Source) -> bool:
        """Whether a version has served long enough."""
        record = self._records.get(self._identity(source))
        return record is not None and record.state == "proven"

    def bad(self) -> dict[str, Record]:
        """The bad versions, by the digest of the manifest."""
        return {key: record for key, record in self._records.items() if record.state == "bad"}

    def begin(self, source: Source) -> str:
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

    def condemn(self, source: Source, reason: str) -> None:
        """A version is bad from now on."""
        record = self._record(source)
        record.state, record.reason = "bad", reason
        self._save()

    def prove(self, source: Source) -> None:
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

    def pardon(self, source: Source) -> None:
        """Somebody asks for a bad version to be tried again."""
        self._records.pop(self._identity(source), None)
        self._save()

    def _record(self, source: Source) -> Record:
        return self._records.setdefault(self._identity(source), Record(source.name, source.version))

    def _identity(self, source: Source) -> str:
        if source.digest:
            return source.digest
        if (known := self._identities.get(source)) is None:
            path = source.path if source.path.is_file() else source.path / MANIFEST
            try:
                known = sha256(path)
            except OSError:
                return f"{source.name}/{source.version}"
            if len(self._identities) > _REMEMBERED:
                self._identities.clear()
            self._identities[source] = known
        return known

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
