"""Which versions of which models are served, and how one takes the place of another.

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
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic

from edgeline.errors import EdgelineError, first_line
from edgeline.runtimes.interpreter import runtime_version
from edgeline.server.errors import Code, ServingError, not_found
from edgeline.server.metrics import Metrics
from edgeline.server.models.batching import batched
from edgeline.server.models.model import Description, Instance, Observer
from edgeline.server.models.pool import Pool
from edgeline.server.rollouts import declaration
from edgeline.server.rollouts.rollouts import Rollouts
from edgeline.server.rollouts.traffic import Traffic
from edgeline.server.settings import Settings
from edgeline.server.threads import apart
from edgeline.server.versions import probation, sources
from edgeline.server.versions.forkserver import ForkServer
from edgeline.server.versions.preparing import KnownError, Preparer
from edgeline.server.versions.served import NEWEST, Served
from edgeline.server.versions.sources import Source
from edgeline.server.versions.verdicts import Verdicts

START_TIME = 5.0  # seconds without any news after which a server that can serve begins to
log = logging.getLogger("edgeline.server")


@dataclass(frozen=True)
class _Pending:
    """A version that is being prepared."""

    source: Source
    task: asyncio.Task[None]


class Repository:
    """The models of one path. All methods run on the event loop; loading does not.

    Attributes:
        find, labels: what there is, and its labels; `updates` puts its own here.
        observers: what looks at the predictions of a version.
    """

    def __init__(self, root: Path, settings: Settings, metrics: Metrics, forks: ForkServer) -> None:
        self.root, self.settings, self.metrics = root, settings, metrics
        self.models: dict[str, Served] = {}
        self.ready = False
        self.find: Callable[[], dict[str, dict[int, Source]]] = partial(sources.find, root)
        self.labels: Callable[[str], dict[str, int]] = partial(sources.labels, root)
        self.observers: Callable[[Description], tuple[Observer, ...]] = lambda _: ()
        state = Path(settings.state) if settings.state else None
        self.verdicts = Verdicts(state, runtime_version())
        self.rollouts = Rollouts(
            declaration.read(settings.rollouts) if settings.rollouts else {},
            state,
        )
        metrics.others += [self.rollouts.lines, self._devices]
        self._forks = forks
        self._preparer = Preparer(settings, self.verdicts, forks)
        self._pending: dict[tuple[str, int], _Pending] = {}  # by name and version
        self._lock = asyncio.Lock()

    def pool(self, name: str, version: str = "", label: str = "") -> Pool | Traffic:
        """The pool of a model's version. Where none is named: of the newest that serves, or with
        a rollout of the stable one, or what divides the requests while the rollout is on.

        Raises:
            ServingError: there is no such model, version or label, or it is not ready.
        """
        served = self.models.get(name)
        if served is None:
            raise not_found(f"There is no model {name[:100]!r}.")
        if version or label:
            return served.pool(version, label)
        stable = self.rollouts.stable(name)
        if stable is None:
            return served.pool(label=NEWEST)
        divided = self.rollouts.traffic.get(name) if served.pools else None
        return divided or served.pools.get(stable) or served.pool(label=NEWEST)

    def index(self) -> list[dict[str, str]]:
        """Each version that serves or failed: name, version, state and reason."""
        entries = []
        for name, served in sorted(self.models.items()):
            for version in sorted(served.pools):
                note = served.pools[version].description.note
                entries.append(_entry(name, version, "READY", note))
            for version, failure in sorted(served.failures.items()):
                if (name, version) not in self._pending and version not in served.pools:
                    entries.append(_entry(name, version, "UNAVAILABLE", failure.reason))
            for version in sorted(v for n, v in self._pending if n == name):
                if version not in served.pools:
                    entries.append(_entry(name, version, "LOADING", "it is being tried"))
            if served.unloaded:
                entries.append(_entry(name, "", "UNAVAILABLE", "unloaded"))
        return entries

    def serving(self) -> Iterable[tuple[str, int, int]]:
        """Name, version and queue length of each version that serves."""
        for name, version, pool in self._pools():
            yield name, version, pool.waiting

    def _pools(self) -> Iterator[tuple[str, int, Pool]]:
        for name, served in self.models.items():
            for version, pool in served.pools.items():
                yield name, version, pool

    def _devices(self) -> Iterator[str]:
        yield "# TYPE edgeline_model_device gauge"
        for name, version, pool in self._pools():
            device = pool.description.device
            labels = f'model="{name}",version="{version}",device="{device}"'
            yield f"edgeline_model_device{{{labels}}} 1"

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
            found = await apart(self.find)
            names = [only] if only else sorted(found.keys() | self.models.keys())
            for name in names:
                self._see(name, found.get(name, {}), bool(only), again)
            self._judge()
        await self._settled(names if until is None else until, wait)

    async def begin(self) -> None:
        """Look at the path for the first time, and wait for its models: for all that get on, and
        for one that serves."""
        await self.refresh(wait=0)
        while self._pending:
            tasks = [pending.task for pending in self._pending.values()]
            done, _ = await asyncio.wait(
                tasks, timeout=START_TIME, return_when=asyncio.FIRST_COMPLETED
            )
            if not done and any(self._pools()):
                return

    async def _settled(self, names: Collection[str], wait: float) -> None:
        """Wait until nothing of some models is being prepared."""
        end = monotonic() + wait
        while (left := end - monotonic()) > 0:
            tasks = [p.task for (name, _), p in self._pending.items() if name in names]
            if not tasks:
                return
            limit = left if left < math.inf else None
            await asyncio.wait(tasks, timeout=limit, return_when=asyncio.FIRST_COMPLETED)

    async def load(self, name: str) -> None:
        """Load a model's newest versions (again).

        Raises:
            ServingError: there is no such model, or it cannot be loaded.
        """
        try:
            await self.refresh(only=name, again=True)
        except EdgelineError as error:
            raise ServingError(Code.INVALID_ARGUMENT, str(error)) from error
        served = self.models.get(name)
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
        served = self.models.get(name)
        if served is None:
            raise ServingError(Code.INVALID_ARGUMENT, f"There is no model {name[:100]!r}.", 400)
        served.unloaded = True
        served.failures.clear()
        self._forget(name)
        for version in list(served.pools):
            self._retire(served, version)
        self.rollouts.settle(name, served.pools)

    async def decide(self) -> None:
        """Promote or return candidates that have shown enough (see `rollouts`)."""
        if list(self.rollouts.decide()):
            await self.refresh(wait=0)

    async def watch(self) -> None:
        """Judge the versions on trial; one that fails too often gives way to the last good one.
        Try again what may work by now."""
        settings, dropped = self.settings, False
        for served in list(self.models.values()):
            if any(failure.again <= monotonic() for failure in served.failures.values()):
                self._see(served.name, served.found, False, False)
            for version, on_trial in list(served.trials.items()):
                fault = on_trial.verdict(
                    settings.error_rate, settings.error_count, settings.trial_time
                )
                if fault is None:
                    continue
                del served.trials[version]
                source = served.prints[version]
                if not fault:
                    self.verdicts.prove(source)
                    continue
                dropped = True
                self.verdicts.condemn(source, fault)
                self.metrics.loads[(served.name, "dropped")] += 1
                log.error("%s %d is dropped: %s.", served.name, version, fault)
        if dropped:
            await self.refresh(wait=0)

    def close(self) -> None:
        """Take no more work."""
        self.verdicts.end()
        for name in list(self.models):
            self._forget(name)
        self._forks.close()
        for served in self.models.values():
            for pool in served.pools.values():
                pool.close()

    def _see(self, name: str, found: dict[int, Source], asked: bool, again: bool) -> None:
        """Make of a model what was found of it, as far as that is prepared; begin to prepare the
        rest, after which this is called again."""
        served = self.models.get(name)
        if served is None:
            if not found:
                return
            served = self.models[name] = Served(name)
        served.found = found
        if asked:
            served.unloaded = False
        if served.unloaded:
            return
        labels, there = self.labels(name), bool(found)
        found = {v: found[v] for v in self.rollouts.allowed(name, found)}
        kept = self.rollouts.kept(name, found)
        wanted: list[int] = []  # the newest that work
        waiting: list[int] = []  # and those that may
        for version in sorted(found, reverse=True):
            enough = len(wanted) + len(waiting) >= (self.settings.versions or len(found))
            if enough and version not in labels.values() and version not in kept:
                continue
            source = found[version]
            if fault := source.fault or (not again and self.verdicts.fault(source)):
                self._fail(served, source, KnownError(fault))
                continue
            if self._is_due(served, source, again):
                self._begin(served, source, again)
            if version in served.pools:
                wanted.append(version)
            elif (name, version) in self._pending:
                waiting.append(version)
        if not served.pools and not waiting:
            waiting += self._last_resort(served, found)
        served.failures = {v: f for v, f in served.failures.items() if v in found}
        # a label moves when the version that it moves to serves
        late = {x: served.labels.get(x, v) for x, v in labels.items() if v not in served.pools}
        served.labels = {**labels, **late}
        gone: set[int] = set()
        if wanted or not there:  # else what serves is the last good one, gone or not
            held = {*wanted, *kept, *late.values()} if there else set()
            if waiting:
                held |= {v for v, s in served.prints.items() if not self.verdicts.fault(s)}
            gone = served.pools.keys() - held
            for version in gone:
                self._retire(served, version)
        if gone or not waiting:
            self.rollouts.settle(name, served.pools)
        if not there and not served.pools:
            self._forget(name)
            del self.models[name]

    def _is_due(self, served: Served, source: Source, again: bool) -> bool:
        """Whether a version is to be prepared (anew)."""
        pending = self._pending.get((source.name, source.version))
        if pending is not None and pending.source == source:
            return False
        failed = served.failures.get(source.version)
        tried = failed is not None and failed.source == source and failed.again > monotonic()
        return again or (served.prints.get(source.version) != source and not tried)

    def _last_resort(self, served: Served, found: dict[int, Source]) -> list[int]:
        """Serve, where nothing else works, the newest version that ends of the server were laid to:
        a device whose power was cut some times would otherwise be left with nothing."""
        for version in sorted(found, reverse=True):
            if self.verdicts.blamed(found[version]):
                self.verdicts.pardon(found[version])
                self._begin(served, found[version], False)
                return [version]
        return []

    def _begin(self, served: Served, source: Source, again: bool) -> None:
        task = asyncio.ensure_future(self._prepare(served, source, again))
        self._pending[source.name, source.version] = _Pending(source, task)

    async def _prepare(self, served: Served, source: Source, again: bool) -> None:
        """Prepare a version, then serve it or say why not. Raises nothing."""
        key, instances = (source.name, source.version), list[Instance]()
        fault: EdgelineError | None = None
        pools = [pool for _, _, pool in self._pools()]
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
        pending = self._pending.get(key)
        if pending is None or pending.task is not asyncio.current_task():
            return  # another has taken its place, or nobody wants it any more
        del self._pending[key]
        if fault is None:
            self._serve(served, source, instances)
        else:
            self._fail(served, source, fault)
        self._see(served.name, served.found, False, False)
        self._judge()
        if not self._pending:
            await apart(self._forks.rest)

    def _serve(self, served: Served, source: Source, instances: list[Instance]) -> None:
        metrics = self.metrics.of(source.name, source.version)
        old = served.pools.get(source.version)
        description = instances[0].description
        observers = self.observers(description)
        for instance in instances:
            instance.observers = observers
        settings = self.settings
        workers = batched(instances, settings.batch, settings.batch_delay)
        # what might run for ever must not do so on the event loop
        inline = 0.0 if settings.batch > 1 or description.loops else settings.inline
        served.pools[source.version] = Pool(workers, metrics, settings.queue, inline)
        served.prints[source.version] = source
        served.failures.pop(source.version, None)
        served.trials.pop(source.version, None)
        if not self.verdicts.proven(source):
            served.trials[source.version] = probation.begin(metrics)
        if old is not None:
            old.close()
        self.metrics.loads[(source.name, "ok")] += 1
        log.info("%s %d is served from %s.", source.name, source.version, source.path)
        if told := instances[0].description.transformed:
            log.warning("%s %d: %s", source.name, source.version, told)

    def _fail(self, served: Served, source: Source, fault: EdgelineError) -> None:
        """Remember why a version is not served."""
        before = served.failures.get(source.version)
        if isinstance(fault, KnownError) and before is not None and before.source == source:
            return
        failure = served.fail(source, fault)
        log.error("%s %d is not served: %s", source.name, source.version, failure.reason)
        if not isinstance(fault, KnownError):
            self.metrics.loads[(source.name, "failed")] += 1

    def _judge(self) -> None:
        """Ready are those whose models all serve; what is for other runtimes does not count."""
        here = [served for served in self.models.values() if not served.elsewhere]
        self.ready = bool(here) and all(served.pools or served.unloaded for served in here)

    def _forget(self, name: str) -> None:
        """What is being prepared of a model is not wanted any more."""
        for key in [key for key in self._pending if key[0] == name]:
            self._pending.pop(key).task.cancel()

    def _retire(self, served: Served, version: int) -> None:
        served.pools.pop(version).close()
        served.prints.pop(version, None)
        served.trials.pop(version, None)
        log.info("%s %d is no longer served.", served.name, version)


def _entry(name: str, version: object, state: str, reason: str) -> dict[str, str]:
    return {"name": name, "version": str(version), "state": state, "reason": reason}
