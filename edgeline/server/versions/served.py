"""A model of a server: its versions that serve, those that are prepared, and why others do not."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field
from time import monotonic

from edgeline.errors import EdgelineError
from edgeline.server.digits import whole
from edgeline.server.errors import Code, ServingError, not_found
from edgeline.server.models import loading
from edgeline.server.models.loading import TransientError
from edgeline.server.models.pool import Pool
from edgeline.server.versions.probation import Probation
from edgeline.server.versions.sources import VersionSource

TRIES, RETRY = 5, 10.0  # of what failed for no fault of its own; seconds, doubled each time
NEWEST = "latest"  # a label that every model has


@dataclass(frozen=True)
class Failure:
    """Why a version is not served. `elsewhere`: it is for another runtime; `count`: how often it
    was tried; `again`: when it is next, of `time.monotonic`."""

    source: VersionSource
    reason: str
    elsewhere: bool = False
    count: int = 1
    again: float = math.inf


@dataclass(frozen=True)
class Preparing:
    """A version that is being prepared."""

    source: VersionSource
    task: asyncio.Task[None]


@dataclass
class ServedModel:
    """A model: its versions that serve, by number, and what is known of others."""

    name: str
    pools: dict[int, Pool] = field(default_factory=dict)
    loaded: dict[int, VersionSource] = field(default_factory=dict)  # what each pool is made from
    preparing: dict[int, Preparing] = field(default_factory=dict)
    failures: dict[int, Failure] = field(default_factory=dict)
    found: dict[int, VersionSource] = field(default_factory=dict)  # when it was last looked at
    probations: dict[int, Probation] = field(default_factory=dict)  # of versions that went live
    labels: dict[str, int] = field(default_factory=dict)
    unloaded: bool = False

    def forget(self) -> None:
        """What is being prepared is not wanted any more."""
        for preparing in self.preparing.values():
            preparing.task.cancel()
        self.preparing.clear()

    @property
    def reason(self) -> str:
        """Why nothing of it serves."""
        if self.unloaded:
            return "it is unloaded"
        return "; ".join(f.reason for f in self.failures.values()) or "it is being loaded"

    @property
    def elsewhere(self) -> bool:
        """Whether all of it is for other runtimes: no fault of a server in a common store."""
        failed = self.failures.values()
        return not self.pools and bool(failed) and all(failure.elsewhere for failure in failed)

    def pool(self, version: str = "", label: str = "") -> Pool:
        """The pool of a version, by its number or its label.

        Raises:
            ServingError: there is no such version or label, or nothing serves.
        """
        name = self.name
        if not self.pools:
            raise ServingError(Code.UNAVAILABLE, f"Model {name!r} is not ready: {self.reason}.")
        if label == NEWEST:
            return self.pools[max(self.pools)]
        number = self.labels.get(label, 0) if label else whole(version) or 0
        if (found := self.pools.get(number)) is not None:
            return found
        if label:
            raise not_found(f"Model {name!r} has no version labelled {label[:100]!r}.")
        raise not_found(f"Model {name!r} has no version {version[:100]!r}.")

    def fail(self, source: VersionSource, fault: EdgelineError) -> Failure:
        """Remember why a version is not served, and when to try it again."""
        before = self.failures.get(source.version)
        count = before.count + 1 if before is not None and before.source == source else 1
        reason, again = str(fault), math.inf
        if isinstance(fault, TransientError):
            if count < TRIES:
                pause = RETRY * 2 ** (count - 1)
                again = monotonic() + pause
                reason += f" It is tried again in {pause:g} s."
            else:
                reason += f" It was tried {count} times."
        failure = Failure(source, reason, loading.is_elsewhere(source.path), count, again)
        self.failures[source.version] = failure
        return failure
