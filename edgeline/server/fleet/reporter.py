"""When a device tells its fleet what it is doing: from time to time, and when a version's outcome
changes. A child posts (see `child`), so that a fleet's server that is away holds up nothing.

A status says how things are, so none is kept to be sent later: the next one says more. What was not
taken is counted.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from time import monotonic
from typing import Any

from edgeline.server import fresh_python
from edgeline.server.settings import ServerSettings

CHILD_TIME = 90.0  # seconds
FIRST_PAUSE = 5.0  # seconds after a status that was not taken, doubled up to the interval
SOONEST = 2.0  # seconds between two statuses, whatever changes
_TAIL = 2000  # characters of what a child says when it crashes
RESULTS = ("sent", "refused", "failed")
log = logging.getLogger("edgeline.server")

Outcomes = Mapping[tuple[str, int], tuple[str, str]]  # by model and version: outcome, why


class FleetReporter:
    """Of one server. Used on the event loop."""

    def __init__(
        self,
        settings: ServerSettings,
        outcomes: Callable[[], Outcomes],
        status: Callable[[], Awaitable[Mapping[str, Any]]],
    ) -> None:
        """
        Args:
            outcomes: of each version, cheap enough to be asked once a second.
            status: all that is told.
        """
        self.results: Counter[str] = Counter()
        self.last = ""  # why the last one was not taken; empty when it was
        self._settings, self._outcomes, self._status = settings, outcomes, status
        self._told: Any = None
        self._tries = 0

    async def run(self) -> None:
        """Post until this is cancelled."""
        interval = self._settings.fleet_interval
        # after a power cut a whole fleet starts at once
        due = monotonic() + random.uniform(0.0, min(FIRST_PAUSE, interval))
        while True:
            await asyncio.sleep(min(1.0, interval))
            try:
                found = {key: outcome for key, (outcome, _) in self._outcomes().items()}
                is_same = self._told is None or found == self._told
                if monotonic() < due and (is_same or self._tries):
                    continue
                begun = monotonic()
                if await self._post():
                    self._told, self._tries = found, 0
                    due = begun + interval * random.uniform(0.9, 1.1)
                else:
                    pause = min(interval, FIRST_PAUSE * 2 ** min(self._tries, 10))
                    self._tries += 1
                    due = begun + pause * random.uniform(0.9, 1.1)
                await asyncio.sleep(max(0.0, begun + SOONEST - monotonic()))
            except Exception:
                self.results["failed"] += 1
                log.exception("No status could be made for the fleet.")
                due = monotonic() + interval

    def lines(self) -> Iterator[str]:
        """The results as metrics for Prometheus."""
        for result in RESULTS:
            yield f'edgeline_fleet_statuses_sent_total{{result="{result}"}} {self.results[result]}'

    async def _post(self) -> bool:
        settings = self._settings
        order = {
            "place": settings.fleet,
            "folder": str(Path(settings.state or "") / "fleet"),
            "device": settings.device,
            "token_file": settings.enroll_token_file or "",
            "status": await self._status(),
        }
        found = await _child(order, settings.fleet_ca)
        result, why = found["result"], found["sentence"]
        self.results[result] += 1
        if why and why != self.last:
            log.warning("The fleet does not get a status: %s", why)
        if not why and self.last:
            log.info("The fleet gets statuses again.")
        self.last = why
        return bool(result == "sent")


async def _child(order: dict[str, Any], ca: str | None) -> dict[str, str]:
    environment = {**os.environ, "SSL_CERT_FILE": ca} if ca else None
    process = await asyncio.create_subprocess_exec(
        *fresh_python.command("edgeline.server.fleet.child"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
    )
    try:
        output, errors = await asyncio.wait_for(
            process.communicate(json.dumps(order).encode()), CHILD_TIME
        )
        found: dict[str, str] = json.loads(output)
        return found
    except asyncio.TimeoutError:
        return {"result": "failed", "sentence": f"A status took over {CHILD_TIME:g} s."}
    except ValueError:
        log.error("A status failed: %s", errors.decode(errors="replace")[-_TAIL:])
        sentence = f"The process that posts it ended with {process.returncode}: see the log."
        return {"result": "failed", "sentence": sentence}
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
