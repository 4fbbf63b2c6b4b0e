"""From a version on disk to interpreters that serve it: identified, verified, tried, loaded.

Each step that may hang or take long runs apart from the event loop, and has a deadline. Several
versions are prepared at a time; one that takes long gives up its place, so that whatever waits
behind it is not held up.
"""

from __future__ import annotations

import asyncio

from edgeline.errors import EdgelineError
from edgeline.server.models import loading
from edgeline.server.models.loading import TransientError
from edgeline.server.models.model import Instance
from edgeline.server.settings import ServerSettings, cores
from edgeline.server.threads import apart
from edgeline.server.versions import trial
from edgeline.server.versions.forkserver import ForkServer
from edgeline.server.versions.sources import VersionSource
from edgeline.server.versions.trial import CLOCK, LimitError, TrialOrder
from edgeline.server.versions.verdicts import Verdicts

PLACE_TIME = 5.0  # seconds after which a version no longer keeps others waiting


class KnownError(EdgelineError):
    """The version was found to be bad before; it was not tried again."""


class Preparer:
    """Used on the event loop."""

    def __init__(self, settings: ServerSettings, verdicts: Verdicts, forks: ForkServer) -> None:
        self._settings, self._verdicts, self._forks = settings, verdicts, forks
        self._places = asyncio.Semaphore(max(2, cores()))

    async def prepare(
        self, source: VersionSource, again: bool, held: bool, kindly: bool
    ) -> list[Instance]:
        """A version's interpreters, warm.

        Args:
            again: whether it is tried although it is known to be bad.
            held: whether this process holds the accelerator.
            kindly: whether others are being served meanwhile.

        Raises:
            KnownError: it is known to be bad.
            TransientError: it may be tried again later.
            EdgelineError: it is bad, or its files are not what its manifest says.
        """
        async with self._places:
            task = asyncio.ensure_future(self._prepare(source, again, held, kindly))
            try:
                await asyncio.wait([task], timeout=PLACE_TIME)
            except asyncio.CancelledError:
                task.cancel()
                raise
        return await task

    async def rest(self) -> None:
        """Nothing is to be prepared for a while."""
        await apart(self._forks.rest)

    def close(self) -> None:
        """Try no more versions."""
        self._forks.close()

    async def _prepare(
        self, source: VersionSource, again: bool, held: bool, kindly: bool
    ) -> list[Instance]:
        verdicts, settings = self._verdicts, self._settings
        digests = await apart(verdicts.identify, source)
        if again:
            verdicts.pardon(source)
        elif fault := verdicts.fault(source):
            raise KnownError(fault)
        await apart(loading.verify, source.path, source.digest)
        try:
            if not verdicts.tried(source):
                order = TrialOrder(
                    str(source.path),
                    settings.load_time,
                    settings.run_time,
                    settings.load_memory,
                    digests,
                    held,
                    kindly,
                )
                await apart(trial.run, self._forks, order)
                verdicts.passed(source)
            if fault := verdicts.begin(source):
                raise EdgelineError(f"{source.name} {source.version} is bad: {fault}.")
            return await self._load(source, digests)
        except TransientError:
            raise
        except EdgelineError as error:
            if not verdicts.fault(source):
                limit = error.limit if isinstance(error, LimitError) else ""
                verdicts.condemn(source, str(error), limit)
            raise

    async def _load(self, source: VersionSource, digests: dict[str, str] | None) -> list[Instance]:
        limit = CLOCK * max(1.0, self._settings.load_time)
        identity = source.path, source.name, source.version
        try:
            return await asyncio.wait_for(
                apart(loading.load, *identity, *self._settings.interpreters, digests), limit
            )
        except asyncio.TimeoutError:
            raise TransientError(
                f"{source.path} was not loaded after {limit:g} s, though it was when it was tried: "
                "this machine is busy."
            ) from None
