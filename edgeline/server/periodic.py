"""What a server does again and again: ends what is late, judges versions, looks for new ones."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterator

from edgeline.errors import EdgelineError
from edgeline.server.http.server import HttpServer
from edgeline.server.state import ServerState

log = logging.getLogger("edgeline.server")


async def sweep(server: HttpServer, tell: Callable[[], None]) -> None:
    """Once a second: end connections whose time is up, and `tell` who watches what has changed."""
    while True:
        await asyncio.sleep(1.0)
        try:
            server.sweep()
            tell()
        except Exception:
            log.exception("The sweep failed.")


async def decide(state: ServerState) -> None:
    """Once a second: judge the versions on probation and the rollouts."""
    while True:
        await asyncio.sleep(1.0)
        try:
            state.recent.sample(state.served.serving())
            await state.repository.watch()
            await state.repository.decide()
        except EdgelineError as error:
            log.error("%s What is loaded stays.", error)
        except Exception:
            log.exception("Judging the versions failed.")


def pauses(every: float, due: bool) -> Iterator[float]:
    """Seconds before each check for models: a fleet must not ask in chorus.

    Args:
        every: the time between two checks.
        due: whether this device has not checked since it started. After a power cut a whole fleet
            starts at once; its first checks are spread over all of that time.
    """
    if due:
        yield every * random.random()
    while True:
        yield every * random.uniform(0.9, 1.1)


async def poll(check: Callable[[], Awaitable[object]], times: Iterator[float]) -> None:
    """After each of the pauses: check for new models."""
    for pause in times:
        await asyncio.sleep(pause)
        try:
            await check()
        except EdgelineError as error:
            log.error("%s What is loaded stays.", error)
        except Exception:
            log.exception("Looking for models failed; what is loaded stays.")
