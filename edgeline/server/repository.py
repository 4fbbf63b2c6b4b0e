"""Which versions of which models are served, and how one takes the place of another.

A version is loaded and warmed beside the one that serves, in a thread of its own; then one
assignment on the event loop swaps them, and the old one's workers end when what was queued is
done. A version that cannot be loaded changes nothing: what served goes on serving, and the reason
is in the index. Where something serves already, or a restart would not forget, a new version is
first tried in a process of its own, so that a model that crashes the runtime does not take the
server along. A version that fails its trial, or too many requests once it is live, is bad: it is
not tried again (see `verdicts`), and the last good one serves.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from edgeline.errors import EdgelineError
from edgeline.server import loading, rollout, sources, trial, watch
from edgeline.server.batching import batched
from edgeline.server.digits import whole
from edgeline.server.errors import Code, ServingError, not_found
from edgeline.server.metrics import Metrics
from edgeline.server.model import Description, Instance, Observer
from edgeline.server.pool import Pool
from edgeline.server.rollouts import Rollouts
from edgeline.server.settings import Settings
from edgeline.server.sources import Source
from edgeline.server.traffic import Traffic
from edgeline.server.verdicts import Verdicts

log = logging.getLogger("edgeline.server")


@dataclass
class Served:
    """A model: its versions that serve, by number, and what is known of others."""

    name: str
    pools: dict[int, Pool] = field(default_factory=dict)
    prints: dict[int, Source] = field(default_factory=dict)  # what each pool was loaded from
    failures: dict[int, tuple[Source, str]] = field(default_factory=dict)
    trials: dict[int, watch.Trial] = field(default_factory=dict)  # of versions that went live
    labels: dict[str, int] = field(default_factory=dict)
    unloaded: bool = False


class Repository:
    """The models of one path. All methods run on the event loop; loading does not.

    Attributes:
        find, labels: what there is, and its labels; `updates` puts its own here.
        observers: what looks at the predictions of a version.
    """

    def __init__(self, root: Path, settings: Settings, metrics: Metrics) -> None:
        self.root, self.settings, self.metrics = root, settings, metrics
        self.models: dict[str, Served] = {}
        self.ready = False
        self.find: Callable[[], dict[str, dict[int, Source]]] = partial(sources.find, root)
        self.labels: Callable[[str], dict[str, int]] = partial(sources.labels, root)
        self.observers: Callable[[Description], tuple[Observer, ...]] = lambda _: ()
        state = Path(settings.state) if settings.state else None
        self.verdicts = Verdicts(state)
        self.rollouts = Rollouts(
            rollout.read(settings.rollouts) if settings.rollouts else {},
            state,
        )
        metrics.others += [self.rollouts.lines, self._devices]
        self._loader = ThreadPoolExecutor(1, "loader")
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
        if not served.pools:
            reason = "it is unloaded" if served.unloaded else _reason(served)
            raise ServingError(Code.UNAVAILABLE, f"Model {name!r} is not ready: {reason}.")
        if label:
            if label == "latest":
                return served.pools[max(served.pools)]
            number = served.labels.get(label, 0)
            version = str(number)
            if number not in served.pools:
                raise not_found(f"Model {name!r} has no version labelled {label[:100]!r}.")
        if not version:
            stable = self.rollouts.stable(name)
            if stable is None:
                return served.pools[max(served.pools)]
            divided = self.rollouts.traffic.get(name)
            return divided or served.pools.get(stable) or served.pools[max(served.pools)]
        number = whole(version)
        pool = served.pools.get(number) if number is not None else None
        if pool is None:
            raise not_found(f"Model {name!r} has no version {version[:100]!r}.")
        return pool

    def index(self) -> list[dict[str, str]]:
        """Each version that serves or failed: name, version, state and reason."""
        entries = []
        for name, served in sorted(self.models.items()):
            for version in sorted(served.pools):
                note = served.pools[version].description.note
                entries.append(_entry(name, version, "READY", note))
            for version, (_, reason) in sorted(served.failures.items()):
                entries.append(_entry(name, version, "UNAVAILABLE", reason))
            if served.unloaded:
                entries.append(_entry(name, "", "UNAVAILABLE", "unloaded"))
        return entries

    def serving(self) -> Iterable[tuple[str, int, int]]:
        """Name, version and queue length of each version that serves."""
        for name, served in self.models.items():
            for version, pool in served.pools.items():
                yield name, version, pool.waiting

    def _devices(self) -> Iterator[str]:
        yield "# TYPE edgeline_model_device gauge"
        for name, version, _ in self.serving():
            device = self.models[name].pools[version].description.device
            labels = f'model="{name}",version="{version}",device="{device}"'
            yield f"edgeline_model_device{{{labels}}} 1"

    async def refresh(self, only: str = "", again: bool = False) -> None:
        """Look at the path and make what serves what is there.

        Args:
            only: a model to load although it was unloaded; others are left alone.
            again: load it anew even if its files have not changed.

        Raises:
            EdgelineError: the path cannot be read.
        """
        async with self._lock:
            loop = asyncio.get_running_loop()
            found = await loop.run_in_executor(self._loader, self.find)
            for name in [only] if only else sorted(found.keys() | self.models.keys()):
                await self._refresh_model(name, found.get(name, {}), bool(only), again)
            here = [served for served in self.models.values() if not _is_elsewhere(served)]
            self.ready = bool(here) and all(served.pools or served.unloaded for served in here)

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
        if served.failures:
            raise ServingError(Code.INVALID_ARGUMENT, _reason(served))

    async def unload(self, name: str) -> None:
        """Stop serving a model until it is loaded again.

        Raises:
            ServingError: there is no such model.
        """
        async with self._lock:
            served = self.models.get(name)
            if served is None:
                raise ServingError(Code.INVALID_ARGUMENT, f"There is no model {name[:100]!r}.", 400)
            served.unloaded = True
            served.failures.clear()
            for version in list(served.pools):
                self._retire(served, version)
            self.rollouts.settle(name, served.pools)

    async def decide(self) -> None:
        """Promote or return candidates that have shown enough (see `rollouts`)."""
        if list(self.rollouts.decide()):
            await self.refresh()

    async def watch(self) -> None:
        """Judge the versions on trial; one that fails too often gives way to the last good one."""
        settings, dropped = self.settings, False
        for served in self.models.values():
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
            await self.refresh()

    def close(self) -> None:
        """Take no more work."""
        self.verdicts.end()
        self._loader.shutdown(wait=False, cancel_futures=True)
        for served in self.models.values():
            for pool in served.pools.values():
                pool.close()

    async def _refresh_model(
        self, name: str, found: dict[int, Source], asked: bool, again: bool
    ) -> None:
        served = self.models.get(name)
        if served is None:
            if not found:
                return
            served = self.models[name] = Served(name)
        if asked:
            served.unloaded = False
        if served.unloaded:
            return
        labels, there = self.labels(name), bool(found)
        found = {v: found[v] for v in self.rollouts.allowed(name, found)}
        kept = self.rollouts.kept(name, found)
        wanted: list[int] = []  # the newest that work
        for version in sorted(found, reverse=True):
            enough = len(wanted) >= (self.settings.versions or len(found))
            if enough and version not in labels.values() and version not in kept:
                continue
            source = found[version]
            if fault := self.verdicts.fault(source):
                if not again:
                    served.failures[version] = (source, fault)
                    continue
                self.verdicts.pardon(source)
            failed = served.failures.get(version)
            changed = served.prints.get(version) != source
            if again or (changed and (failed is None or failed[0] != source)):
                await self._replace(served, source)
            if version in served.pools:
                wanted.append(version)
        if not served.pools:
            wanted += await self._last_resort(served, found)
        served.failures = {v: f for v, f in served.failures.items() if v in found}
        # a label moves when the version that it moves to serves
        late = {x: served.labels.get(x, v) for x, v in labels.items() if v not in served.pools}
        served.labels = {**labels, **late}
        if wanted or not there:  # else what serves is the last good one, gone or not
            held = {*wanted, *kept, *late.values()} if there else set()
            for version in served.pools.keys() - held:
                self._retire(served, version)
        self.rollouts.settle(name, served.pools)
        if not there and not served.pools:
            del self.models[name]

    async def _last_resort(self, served: Served, found: dict[int, Source]) -> list[int]:
        """Serve, where nothing else works, the newest version that ends of the server were laid to:
        a device whose power was cut some times would otherwise be left with nothing."""
        for version in sorted(found, reverse=True):
            if self.verdicts.blamed(found[version]):
                self.verdicts.pardon(found[version])
                await self._replace(served, found[version])
            if version in served.pools:
                return [version]
        return []

    async def _replace(self, served: Served, source: Source) -> None:
        loop = asyncio.get_running_loop()
        try:
            instances = await loop.run_in_executor(
                self._loader, self._load, source, bool(served.pools)
            )
        except EdgelineError as error:
            log.error("%s %d is not served: %s", source.name, source.version, error)
            served.failures[source.version] = (source, str(error))
            self.metrics.loads[(source.name, "failed")] += 1
            return
        metrics = self.metrics.of(source.name, source.version)
        old = served.pools.get(source.version)
        observers = self.observers(instances[0].description)
        for instance in instances:
            instance.observers = observers
        settings = self.settings
        workers = batched(instances, settings.batch, settings.batch_delay)
        inline = 0.0 if settings.batch > 1 else settings.inline
        served.pools[source.version] = Pool(workers, metrics, settings.queue, inline)
        served.prints[source.version] = source
        served.failures.pop(source.version, None)
        served.trials.pop(source.version, None)
        if not self.verdicts.proven(source):
            served.trials[source.version] = watch.begin(metrics)
        if old is not None:
            old.close()
        self.metrics.loads[(source.name, "ok")] += 1
        log.info("%s %d is served from %s.", source.name, source.version, source.path)

    def _load(self, source: Source, serving: bool) -> list[Instance]:
        """Verify, try and load a version; called in the loader's thread."""
        loading.verify(source.path, source.digest)
        verdicts = self.verdicts
        try:
            if (serving or verdicts.lasting) and not verdicts.proven(source):
                trial.run(source.path, self.settings.load_time, self.settings.run_time)
            if fault := verdicts.begin(source):
                raise EdgelineError(f"{source.name} {source.version} is bad: {fault}.")
            return loading.load(
                source.path, source.name, source.version, *self.settings.interpreters
            )
        except trial.KilledError:  # whoever kills, kills the good ones, too
            raise
        except EdgelineError as error:
            if not verdicts.fault(source):
                verdicts.condemn(source, str(error))
            raise

    def _retire(self, served: Served, version: int) -> None:
        served.pools.pop(version).close()
        served.prints.pop(version, None)
        served.trials.pop(version, None)
        log.info("%s %d is no longer served.", served.name, version)


def _is_elsewhere(served: Served) -> bool:
    """Whether all of a model is for other runtimes: no fault of this server in a common store."""
    failed = [source.path for source, _ in served.failures.values()]
    return not served.pools and bool(failed) and all(map(loading.is_elsewhere, failed))


def _entry(name: str, version: object, state: str, reason: str) -> dict[str, str]:
    return {"name": name, "version": str(version), "state": state, "reason": reason}


def _reason(served: Served) -> str:
    return "; ".join(reason for _, reason in served.failures.values()) or "it is being loaded"
