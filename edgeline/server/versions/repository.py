"""How one version takes the place of another: what serves is made what there is.

A version is tried in a process of its own, loaded and warmed beside the one that serves (see
`preparing`); then one assignment on the event loop swaps them, and the old one's workers end when
what was queued is done. A version that cannot be loaded changes nothing: what served goes on
serving, and the reason is in the index. A version that fails its trial, or too many requests once
it is live, is bad: it is not tried again (see `verdicts`), and the last good one serves. What
failed for want of time or of the machine's is tried again, some times.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Collection
from time import monotonic

from edgeline.errors import EdgelineError, first_line
from edgeline.monitoring.range_check import RangeCheck
from edgeline.server.errors import Code, ServingError
from edgeline.server.metrics import Metrics
from edgeline.server.models.batching import batched
from edgeline.server.models.kept_windows import ModelWindows
from edgeline.server.models.model import Description, Instance, Observer
from edgeline.server.models.pool import Pool
from edgeline.server.rollouts.rollouts import Rollouts
from edgeline.server.settings import ServerSettings
from edgeline.server.threads import apart
from edgeline.server.versions import probation
from edgeline.server.versions.preparing import KnownError, Preparer
from edgeline.server.versions.served import Preparing, ServedModel
from edgeline.server.versions.served_models import ServedModels
from edgeline.server.versions.sources import Catalogue, VersionSource
from edgeline.server.versions.verdicts import Verdicts

START_TIME = 5.0  # seconds without any news after which a server that can serve begins to
log = logging.getLogger("edgeline.server")


class Repository:
    """Makes what serves what there is. All methods run on the event loop; loading does not."""

    def __init__(
        self,
        catalogue: Catalogue,
        served: ServedModels,
        rollouts: Rollouts,
        verdicts: Verdicts,
        preparer: Preparer,
        observers: Callable[[Description], tuple[Observer, ...]],
        ranges: Callable[[Description], RangeCheck | None],
        settings: ServerSettings,
        metrics: Metrics,
    ) -> None:
        """
        Args:
            catalogue: what there is.
            served: what serves; it is changed here.
            rollouts, verdicts: what is to be thought of versions.
            preparer: makes interpreters of a version.
            observers: what looks at the predictions of a version.
            ranges: what requests to a version are compared with.
        """
        self._catalogue, self._served = catalogue, served
        self._rollouts, self._verdicts, self._preparer = rollouts, verdicts, preparer
        self._observers, self._ranges = observers, ranges
        self._settings, self._metrics = settings, metrics
        self.windows = ModelWindows(settings)
        self._lock = asyncio.Lock()

    async def refresh(
        self,
        only: str = "",
        again: bool = False,
        until: Collection[str] | None = None,
        wait: float = math.inf,
    ) -> None:
        """Look at the path and make what serves what is there.

        Args:
            only: a model to load although it was unloaded; others are left alone.
            again: load it anew even if its files have not changed.
            until: models whose versions are waited for; None for all that are looked at.
            wait: seconds to wait at most for versions that are being prepared; they go on.

        Raises:
            EdgelineError: the path cannot be read.
        """
        async with self._lock:
            found = await apart(self._catalogue.find)
            names = [only] if only else sorted(found.keys() | self._served.models.keys())
            for name in names:
                self._see(name, found.get(name, {}), bool(only), again)
        await self._settled(names if until is None else until, wait)

    async def begin(self) -> None:
        """Look at the path for the first time, and wait for its models: for all that get on, and
        for one that serves."""
        await self.refresh(wait=0)
        while tasks := self._tasks(self._served.models):
            done, _ = await asyncio.wait(
                tasks, timeout=START_TIME, return_when=asyncio.FIRST_COMPLETED
            )
            if not done and any(self._served.pools()):
                return

    async def _settled(self, names: Collection[str], wait: float) -> None:
        """Wait until nothing of some models is being prepared."""
        end = monotonic() + wait
        while (left := end - monotonic()) > 0:
            if not (tasks := self._tasks(names)):
                return
            limit = left if left < math.inf else None
            await asyncio.wait(tasks, timeout=limit, return_when=asyncio.FIRST_COMPLETED)

    def _tasks(self, names: Collection[str]) -> list[asyncio.Task[None]]:
        models = [served for name, served in self._served.models.items() if name in names]
        return [preparing.task for served in models for preparing in served.preparing.values()]

    async def load(self, name: str) -> None:
        """Load a model's newest versions (again).

        Raises:
            ServingError: there is no such model, or it cannot be loaded.
        """
        try:
            await self.refresh(only=name, again=True)
        except EdgelineError as error:
            raise ServingError(Code.INVALID_ARGUMENT, str(error)) from error
        served = self._served.models.get(name)
        if served is None:
            raise ServingError(
                Code.INVALID_ARGUMENT, f"There is no model {name[:100]!r} in the repository.", 400
            )
        if served.failures or not served.pools:
            raise ServingError(Code.INVALID_ARGUMENT, served.reason)

    async def unload(self, name: str) -> None:
        """Stop serving a model until it is loaded again.

        Raises:
            ServingError: there is no such model.
        """
        served = self._served.models.get(name)
        if served is None:
            raise ServingError(Code.INVALID_ARGUMENT, f"There is no model {name[:100]!r}.", 400)
        served.unloaded = True
        served.failures.clear()
        served.forget()
        for version in list(served.pools):
            self._retire(served, version)
        self._rollouts.settle(name, served.pools)

    async def decide(self) -> None:
        """Promote or return candidates that have shown enough (see `rollouts`)."""
        if list(self._rollouts.decide()):
            await self.refresh(wait=0)

    async def watch(self) -> None:
        """Judge the versions on trial; one that fails too often gives way to the last good one.
        Try again what may work by now."""
        settings, dropped = self._settings, False
        for served in list(self._served.models.values()):
            if any(failure.again <= monotonic() for failure in served.failures.values()):
                self._see(served.name, served.found, False, False)
            for version, on_trial in list(served.probations.items()):
                fault = on_trial.verdict(
                    settings.error_rate, settings.error_count, settings.trial_time
                )
                if fault is None:
                    continue
                del served.probations[version]
                source = served.loaded[version]
                if not fault:
                    self._verdicts.prove(source)
                    continue
                dropped = True
                self._verdicts.condemn(source, fault)
                self._metrics.loads[(served.name, "dropped")] += 1
                log.error("%s %d is dropped: %s.", served.name, version, fault)
        if dropped:
            await self.refresh(wait=0)

    def close(self) -> None:
        """Take no more work."""
        self._verdicts.end()
        for served in self._served.models.values():
            served.forget()
        self._preparer.close()
        for served in self._served.models.values():
            for pool in served.pools.values():
                pool.close()

    def _see(self, name: str, found: dict[int, VersionSource], asked: bool, again: bool) -> None:
        """Make of a model what was found of it, as far as that is prepared; begin to prepare the
        rest, after which this is called again."""
        served = self._served.models.get(name)
        if served is None and found:
            served = self._served.models[name] = ServedModel(name)
        if served is None:
            return
        served.found = found
        if asked:
            served.unloaded = False
        if not served.unloaded:
            self._follow(served, again)

    def _follow(self, served: ServedModel, again: bool) -> None:
        name, there = served.name, bool(served.found)
        labels = self._catalogue.labels(name)
        allowed = self._rollouts.allowed(name, served.found)
        found = {version: served.found[version] for version in allowed}
        kept = self._rollouts.kept(name, found)
        wanted, waiting = self._choose(served, found, {*labels.values(), *kept}, again)
        if not served.pools and not waiting:
            waiting = self._last_resort(served, found)
        served.failures = {v: f for v, f in served.failures.items() if v in found}
        # a label moves when the version that it moves to serves
        late = {x: served.labels.get(x, v) for x, v in labels.items() if v not in served.pools}
        served.labels = {**labels, **late}
        gone: set[int] = set()
        if not there:
            gone = set(served.pools)
        elif wanted:  # else what serves is the last good one, gone or not
            held = {*wanted, *kept, *late.values()}
            if waiting:
                held |= {v for v, s in served.loaded.items() if not self._verdicts.fault(s)}
            gone = served.pools.keys() - held
        for version in gone:
            self._retire(served, version)
        if gone or not waiting:
            self._rollouts.settle(name, served.pools)
        if not there and not served.pools:
            served.forget()
            del self._served.models[name]

    def _choose(
        self,
        served: ServedModel,
        found: dict[int, VersionSource],
        named: Collection[int],
        again: bool,
    ) -> tuple[list[int], list[int]]:
        """Begin to prepare the newest versions and those that are named; the newest of them that
        work, and those that may."""
        wanted: list[int] = []
        waiting: list[int] = []
        for version in sorted(found, reverse=True):
            enough = len(wanted) + len(waiting) >= (self._settings.versions or len(found))
            if enough and version not in named:
                continue
            source = found[version]
            if fault := source.fault or (not again and self._verdicts.fault(source)):
                self._fail(served, source, KnownError(fault))
                continue
            if self._is_due(served, source, again):
                self._begin(served, source, again)
            if version in served.pools:
                wanted.append(version)
            elif version in served.preparing:
                waiting.append(version)
        return wanted, waiting

    def _is_due(self, served: ServedModel, source: VersionSource, again: bool) -> bool:
        """Whether a version is to be prepared (anew)."""
        preparing = served.preparing.get(source.version)
        if preparing is not None and preparing.source == source:
            return False
        failed = served.failures.get(source.version)
        tried = failed is not None and failed.source == source and failed.again > monotonic()
        return again or (served.loaded.get(source.version) != source and not tried)

    def _last_resort(self, served: ServedModel, found: dict[int, VersionSource]) -> list[int]:
        """Serve, where nothing else works, the newest version that ends of the server were laid to:
        a device whose power was cut some times would otherwise be left with nothing."""
        for version in sorted(found, reverse=True):
            if self._verdicts.blamed(found[version]):
                self._verdicts.pardon(found[version])
                self._begin(served, found[version], False)
                return [version]
        return []

    def _begin(self, served: ServedModel, source: VersionSource, again: bool) -> None:
        task = asyncio.ensure_future(self._prepare(served, source, again))
        served.preparing[source.version] = Preparing(source, task)

    async def _prepare(self, served: ServedModel, source: VersionSource, again: bool) -> None:
        """Prepare a version, then serve it or say why not. Raises nothing."""
        instances = list[Instance]()
        fault: EdgelineError | None = None
        pools = [pool for _, _, pool in self._served.pools()]
        held = any(pool.description.device == "edgetpu" for pool in pools)
        try:
            instances = await self._preparer.prepare(source, again, held, bool(pools))
        except EdgelineError as error:
            fault = error
        except Exception as error:  # whatever it is, it is this version's alone
            fault = EdgelineError(
                f"{source.path} cannot be loaded ({type(error).__name__}: {first_line(error)})."
            )
            log.debug("%s", fault, exc_info=True)
        preparing = served.preparing.get(source.version)
        if preparing is None or preparing.task is not asyncio.current_task():
            return  # another has taken its place, or nobody wants it any more
        del served.preparing[source.version]
        if fault is None:
            self._serve(served, source, instances)
        else:
            self._fail(served, source, fault)
        self._see(served.name, served.found, False, False)
        if not self._served.preparing:
            await self._preparer.rest()

    def _serve(self, served: ServedModel, source: VersionSource, instances: list[Instance]) -> None:
        metrics = self._metrics.of(source.name, source.version)
        old = served.pools.get(source.version)
        description = instances[0].description
        observers, ranges = self._observers(description), self._ranges(description)
        kept = None
        if description.windows is not None:
            kept = self.windows.of(source.name, description.windows, description.signature)
        for instance in instances:
            instance.observers, instance.windows, instance.ranges = observers, kept, ranges
        settings = self._settings
        workers = batched(instances, settings.batch, settings.batch_delay)
        # what might run for ever must not do so on the event loop
        inline = 0.0 if settings.batch > 1 or description.loops else settings.inline
        served.pools[source.version] = Pool(workers, metrics, settings.queue, inline)
        served.loaded[source.version] = source
        served.failures.pop(source.version, None)
        served.probations.pop(source.version, None)
        if not self._verdicts.proven(source):
            served.probations[source.version] = probation.begin(metrics)
        if old is not None:
            old.close()
        self._metrics.loads[(source.name, "ok")] += 1
        log.info("%s %d is served from %s.", source.name, source.version, source.path)
        if transformed := description.transformed:
            log.warning("%s %d: %s", source.name, source.version, transformed)
        if kept is not None:
            log.warning(
                "%s %d keeps rows in memory (%s): a restart loses them, and all rows of a key have "
                "to come to this server.",
                source.name,
                source.version,
                description.windows_told,
            )
        if description.unprobed:
            log.warning(
                "%s %d is a bundle of before, of which nothing was probed: where a feature is "
                "missing or extreme, it may answer otherwise than the cloud model.",
                source.name,
                source.version,
            )

    def _fail(self, served: ServedModel, source: VersionSource, fault: EdgelineError) -> None:
        """Remember why a version is not served."""
        before = served.failures.get(source.version)
        if isinstance(fault, KnownError) and before is not None and before.source == source:
            return
        failure = served.fail(source, fault)
        log.error("%s %d is not served: %s", source.name, source.version, failure.reason)
        if not isinstance(fault, KnownError):
            self._metrics.loads[(source.name, "failed")] += 1

    def _retire(self, served: ServedModel, version: int) -> None:
        served.pools.pop(version).close()
        served.loaded.pop(version, None)
        served.probations.pop(version, None)
        log.info("%s %d is no longer served.", served.name, version)
