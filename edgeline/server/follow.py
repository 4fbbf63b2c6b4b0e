"""Models inside one's own program, kept fresh as the server keeps them, without a port.

A thread of the program runs what the server runs beside its requests: it looks for updates, checks
their signatures, tries each version in a process of its own and swaps it between two calls, with
rollouts and the return to the last good version. So a program is in need of `edgeline[serve]`,
and where updates are signed of `edgeline[serve-updates]`.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future, InvalidStateError
from concurrent.futures import TimeoutError as LateError  # before Python 3.11 another class
from dataclasses import fields
from os import PathLike
from time import monotonic
from types import TracebackType
from typing import Any, TypeVar

import numpy as np

from edgeline.artifacts.bundle import Tensor
from edgeline.artifacts.transformed import RAW
from edgeline.errors import EdgelineError, UsageError
from edgeline.formats.dtypes import Array
from edgeline.server import upkeep
from edgeline.server.errors import ServingError
from edgeline.server.models.model import Description, Instance
from edgeline.server.parts import ServerParts, put_together
from edgeline.server.rollouts.traffic import ID_HEADER, Traffic
from edgeline.server.settings import ServerSettings
from edgeline.server.tensors.json import to_array
from edgeline.server.versions import trial
from edgeline.server.versions.forkserver import ForkServer

__all__ = ["FollowedModels", "follow"]

T = TypeVar("T")
_END_TIME = 30.0  # seconds for the thread to end
# of the server's settings, those that say something without a port
_SETTINGS = {
    *("instances", "threads", "versions", "queue", "queue_time", "poll", "max_update"),
    *("load_time", "load_memory", "run_time", "trial_time", "error_rate", "error_count"),
    *("window_keys", "window_memory", "rollouts"),
    *(field.name for field in fields(ServerSettings) if field.name.startswith("drift_")),
    *("out_of_range", "webhook", "webhook_key", "device", "group"),
    *("fleet", "fleet_interval", "fleet_ca", "enroll_token_file"),
    *(field.name for field in fields(ServerSettings) if field.name.startswith("mqtt")),
}


def follow(
    path: str | PathLike[str],
    root: str | PathLike[str] | None = None,
    *,
    state: str | PathLike[str] | None = None,
    **settings: Any,
) -> FollowedModels:
    """Serve the models of a path to this program itself.

    Args:
        path: a bundle, a store of bundles or a `.tflite` file; with a root a signed repository (a
            folder, https://, s3://, gs://, abfs:// or minio://).
        root: the file with the root of trust of a signed repository.
        state: a folder of this program alone, for verified versions and what is thought of them;
            needed with a root.
        settings: of `ServerSettings`, what says something without a port: poll, versions,
            instances, rollouts, trial_time, drift_window, webhook and others.

    Returns:
        What predicts, once a first version is warm. Where a repository cannot be reached and none
        is in `state`, it is asked again, and `ready` is false until then.

    Raises:
        UsageError: a setting is none, or out of range.
        EdgelineError: the path holds no model that works, or is not trusted.
    """
    if unknown := sorted(settings.keys() - _SETTINGS):
        raise UsageError(
            f"follow has no setting {unknown[0]!r}: give one of {', '.join(sorted(_SETTINGS))}."
        )
    if root is not None and state is None:
        raise UsageError("follow needs state with a root: a folder for verified versions.")
    given = ServerSettings(
        root=None if root is None else str(root),
        state=None if state is None else str(state),
        **settings,
    )
    return FollowedModels(str(path), given)


class FollowedModels:
    """The models that `follow` keeps fresh. Any thread may call; a `with` block closes it.

    What is asked for waits in the same queue as requests to the server do, is counted, watched for
    drift and shared among the versions of a rollout.
    """

    def __init__(self, path: str, settings: ServerSettings) -> None:
        self._path, self._settings = path, settings
        self._loop = asyncio.new_event_loop()
        self._parts: ServerParts | None = None
        self._life: asyncio.Task[None] | None = None
        begun: Future[None] = Future()
        self._thread = threading.Thread(
            target=self._run, args=(begun,), name="edgeline-follow", daemon=True
        )
        self._thread.start()
        try:
            begun.result()
        except BaseException:
            self.close()
            raise

    def predict(
        self,
        inputs: Mapping[str, object],
        *,
        model: str = "",
        version: int | None = None,
        label: str = "",
        key: str = "",
        timeout: float | None = None,
    ) -> dict[str, Array]:
        """Ask a model for some rows.

        Args:
            inputs: for each input of the model an array, or a list with one value per row, [rows]
                or [rows, n]; None and a NaN are missing values of raw features.
            model: its name; it may be left out where there is only one.
            version: a version that serves; by default the newest, or what a rollout gives.
            label: a label of versions.
            key: while a rollout is on, the same key gets the same version.
            timeout: seconds to wait for the answer; by default the settings' `queue_time` for its
                turn, and no limit for the run.

        Returns:
            Each output by name, [rows, ...].

        Raises:
            EdgelineError: there is no such model or version, the inputs do not fit it, or too many
                calls wait.
            TimeoutError: there was no answer in time.
        """
        answer: Future[dict[str, Array]] = Future()
        now = monotonic()
        deadline = now + min(self._settings.queue_time, timeout or self._settings.queue_time)
        cancels: list[Callable[[], None]] = []

        def work(instance: Instance) -> object:
            return instance.ask(_arrays(inputs, instance.description))

        def done(found: Any) -> None:
            with contextlib.suppress(InvalidStateError):  # nobody waits any more
                if isinstance(found, ServingError):
                    answer.set_exception(found)
                else:
                    answer.set_result(found)

        def submit() -> None:
            try:
                pool = self._pool(model, version, label)
                if isinstance(pool, Traffic):
                    job = pool.submit(work, done, deadline, {ID_HEADER: key} if key else {})
                else:
                    job = pool.submit(work, done, deadline)
                cancels.append(job.cancel)
            except BaseException as error:
                answer.set_exception(error)

        self._call_soon(submit)
        try:
            return answer.result(timeout)
        except ServingError as error:
            raise EdgelineError(str(error)) from error
        except LateError:
            answer.cancel()
            for cancel in cancels:
                cancel()
            raise TimeoutError(f"{self._path} gave no answer in {timeout:g} s.") from None

    @property
    def ready(self) -> bool:
        """Whether each model has a version that serves."""
        return self._wait(_of(lambda: self._living.state.served.ready))

    @property
    def versions(self) -> dict[str, list[int]]:
        """The versions that serve, in their order, by model."""

        def found() -> dict[str, list[int]]:
            models: dict[str, list[int]] = {}
            for name, version, _ in self._living.state.served.pools():
                models.setdefault(name, []).append(version)
            return {name: sorted(models[name]) for name in sorted(models)}

        return self._wait(_of(found))

    @property
    def failures(self) -> dict[str, str]:
        """Why versions do not serve, a sentence by `NAME VERSION`."""

        def found() -> dict[str, str]:
            entries = self._living.state.served.index()
            return {f"{e.name} {e.version}": e.reason for e in entries if e.state == "UNAVAILABLE"}

        return self._wait(_of(found))

    def describe(self, model: str = "") -> Description:
        """What a model takes and gives: of the version that answers where none is named.

        Raises:
            EdgelineError: there is no such model, or none of its versions serves.
        """

        async def found() -> Description:
            description: Description = self._pool(model, None, "").description
            return description

        try:
            return self._wait(found())
        except ServingError as error:
            raise EdgelineError(str(error)) from error

    def check_for_update(self) -> dict[str, object]:
        """Look for new versions now, and wait until those that came are tried and serve.

        Returns:
            For a signed repository the outcome, `ok` or why not, its sentence, and what came; else
            nothing.
        """

        async def look() -> dict[str, object]:
            parts = self._living
            if parts.updates is not None:
                return await parts.updates.check_for_update()
            await parts.state.repository.refresh()
            return {}

        return self._wait(look())

    def close(self) -> None:
        """End the thread; calls that wait are answered first. A second time it does nothing."""
        if self._thread.is_alive():
            with contextlib.suppress(RuntimeError):  # it has ended meanwhile
                self._loop.call_soon_threadsafe(self._end)
            self._thread.join(_END_TIME)

    def __enter__(self) -> FollowedModels:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def _living(self) -> ServerParts:
        if self._parts is None:
            raise EdgelineError(f"{self._path} is closed: follow it again.")
        return self._parts

    def _pool(self, model: str, version: int | None, label: str) -> Any:
        served = self._living.state.served
        if not model:
            if len(served.models) > 1:
                raise UsageError(f"Which model? There are {', '.join(sorted(served.models))}.")
            if not served.models:
                raise EdgelineError(f"{self._path} has brought no model yet.")
            model = next(iter(served.models))
        return served.pool(model, "" if version is None else str(version), label)

    def _call_soon(self, function: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(function)
        except RuntimeError:
            raise EdgelineError(f"{self._path} is closed: follow it again.") from None

    def _wait(self, doing: Coroutine[Any, Any, T]) -> T:
        try:
            running = asyncio.run_coroutine_threadsafe(doing, self._loop)
        except RuntimeError:
            doing.close()
            raise EdgelineError(f"{self._path} is closed: follow it again.") from None
        return running.result()

    def _end(self) -> None:
        if self._life is not None:
            self._life.cancel()

    def _run(self, begun: Future[None]) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            with contextlib.closing(ForkServer(trial.MODULE)) as forks:
                self._life = self._loop.create_task(self._live(forks, begun))
                self._loop.run_until_complete(self._life)
        except BaseException as error:
            if not begun.done():
                begun.set_exception(error)
        finally:
            self._loop.run_until_complete(asyncio.sleep(0))  # what has ended is told so
            self._loop.close()

    async def _live(self, forks: ForkServer, begun: Future[None]) -> None:
        parts = put_together(self._path, self._settings, forks)
        try:
            await upkeep.begin(self._path, parts)
            self._parts = parts
            begun.set_result(None)
            tasks = [asyncio.ensure_future(doing) for doing in upkeep.doings(parts)]
            try:
                await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            self._parts = None
            await parts.close()


async def _of(function: Callable[[], T]) -> T:
    return function()


def _arrays(inputs: Mapping[str, object], description: Description) -> dict[str, Array]:
    tensors = {tensor.name: tensor for tensor in description.asked_inputs(inputs.keys())}
    return {
        name: _array(value, tensors[name], description) if name in tensors else np.asarray(value)
        for name, value in inputs.items()
    }


def _array(value: object, tensor: Tensor, description: Description) -> Array:
    if not isinstance(value, np.ndarray):
        raw = description.takes_of(tensor.name) == RAW
        return to_array(value, tensor.dtype, f"Input {tensor.name!r}", raw)
    if tensor.dtype == "string":
        cells = [cell.encode() if isinstance(cell, str) else cell for cell in value.ravel()]
        found = np.empty(len(cells), object)
        found[:] = cells
        return found.reshape(value.shape)
    return value
