"""The models of a server as they are: what answers for a name, and what the index says of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from edgeline.server.errors import not_found
from edgeline.server.models.pool import Pool
from edgeline.server.rollouts.rollouts import Rollouts
from edgeline.server.rollouts.traffic import Traffic
from edgeline.server.versions.served import NEWEST, ServedModel

VersionState = Literal["LOADING", "READY", "UNAVAILABLE"]  # Triton's names


@dataclass(frozen=True)
class IndexEntry:
    """A version in the index; `version` is empty for a model that is unloaded."""

    name: str
    version: str
    state: VersionState
    reason: str


class ServedModels:
    """`repository` changes it on the event loop; `serving` and `lines` may be asked by others.

    Attributes:
        models: by name.
        leaving: the server is about to end, and no more requests should be sent to it.
    """

    def __init__(self, rollouts: Rollouts, only: str = "") -> None:
        """
        Args:
            only: a further name of the model, where there is only one; empty: none.
        """
        self.models: dict[str, ServedModel] = {}
        self.leaving = False
        self._rollouts, self._only = rollouts, only

    @property
    def ready(self) -> bool:
        """Whether all models serve, for a while yet; what is for other runtimes does not count."""
        if self.leaving:
            return False
        here = [served for served in self.models.values() if not served.elsewhere]
        return bool(here) and all(served.pools or served.unloaded for served in here)

    @property
    def preparing(self) -> bool:
        """Whether anything is being prepared."""
        return any(served.preparing for served in self.models.values())

    def model(self, name: str) -> ServedModel:
        """The model of a name.

        Raises:
            ServingError: there is none.
        """
        if (served := self.models.get(name)) is not None:
            return served
        if name == self._only != "" and len(self.models) == 1:
            return next(iter(self.models.values()))
        raise not_found(f"There is no model {name[:100]!r}.")

    def pool(self, name: str, version: str = "", label: str = "") -> Pool | Traffic:
        """The pool of a model's version. Where none is named: of the newest that serves, or with
        a rollout of the stable one, or what divides the requests while the rollout is on.

        Raises:
            ServingError: there is no such model, version or label, or it is not ready.
        """
        served = self.model(name)
        if version or label:
            return served.pool(version, label)
        stable = self._rollouts.stable(served.name)
        if stable is None:
            return served.pool(label=NEWEST)
        divided = self._rollouts.traffic.get(served.name) if served.pools else None
        return divided or served.pools.get(stable) or served.pool(label=NEWEST)

    def index(self) -> list[IndexEntry]:
        """Each version that serves, is prepared or failed."""
        return [entry for _, served in sorted(self.models.items()) for entry in _entries(served)]

    def serving(self) -> Iterable[tuple[str, int, int]]:
        """Name, version and queue length of each version that serves."""
        for name, version, pool in self.pools():
            yield name, version, pool.waiting

    def pools(self) -> Iterator[tuple[str, int, Pool]]:
        """Name, version and pool of each version that serves."""
        for name, served in self.models.items():
            for version, pool in served.pools.items():
                yield name, version, pool

    def lines(self) -> Iterator[str]:
        """The devices and runtimes as metrics for Prometheus."""
        for name, version, pool in self.pools():
            of = pool.description
            labels = f'model="{name}",version="{version}",device="{of.device}"'
            labels += f',runtime="{of.runtime}"'
            yield f"edgeline_model_device{{{labels}}} 1"


def _entries(served: ServedModel) -> Iterator[IndexEntry]:
    def entry(version: object, state: VersionState, reason: str) -> IndexEntry:
        return IndexEntry(served.name, str(version), state, reason)

    for version in sorted(served.pools):
        yield entry(version, "READY", served.pools[version].description.note)
    for version, failure in sorted(served.failures.items()):
        if version not in served.preparing and version not in served.pools:
            yield entry(version, "UNAVAILABLE", failure.reason)
    for version in sorted(served.preparing.keys() - served.pools.keys()):
        yield entry(version, "LOADING", "it is being tried")
    if served.unloaded:
        yield entry("", "UNAVAILABLE", "unloaded")
