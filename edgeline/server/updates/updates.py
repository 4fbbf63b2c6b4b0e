"""Signed updates, the server's side: when to check for them, what came of it, what may be loaded.

A check is a child process (see `child`). The one flow for a timer, a push and a start: the
child verifies and brings versions to the disk, `repository` tries, loads, warms and swaps them,
and `verdicts` remembers what was bad. While the repository cannot be reached or shows nothing
genuine and fresh, what is on the disk goes on serving, with a warning and in the metrics.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from edgeline.errors import UsageError, asked_for
from edgeline.extras import install_hint
from edgeline.formats import typed
from edgeline.server import fresh_python
from edgeline.server.rollouts.rollouts import Rollouts
from edgeline.server.settings import ServerSettings
from edgeline.server.updates.order import CheckOutcome
from edgeline.server.updates.signed import SignedCatalogue
from edgeline.server.versions.repository import Repository
from edgeline.server.versions.served_models import ServedModels
from edgeline.server.versions.verdicts import Verdicts

CHECK_TIME = 3600.0  # seconds
_TAIL = 2000  # characters of what a child says when it crashes
log = logging.getLogger("edgeline.server")


class Updates:
    """Of one signed repository. Used on the event loop.

    Attributes:
        checked_at: when the repository was last checked, in seconds since the epoch; 0 for never.
    """

    def __init__(
        self,
        location: str,
        settings: ServerSettings,
        catalogue: SignedCatalogue,
        served: ServedModels,
        repository: Repository,
        rollouts: Rollouts,
        verdicts: Verdicts,
    ) -> None:
        self._location, self._settings = location, settings
        self._catalogue, self._served, self._repository = catalogue, served, repository
        self._rollouts, self._verdicts = rollouts, verdicts
        self._lock = asyncio.Lock()
        self._counts: Counter[str] = Counter()
        self._fetched = 0
        self._last: dict[str, Any] = {"outcome": "", "sentence": "", "expires": ""}
        self._last |= {"pending": {}, "refused": {}, "waits": {}}
        self.checked_at = self._succeeded_at = 0.0

    async def restore(self) -> None:
        """Verify what is on the disk, without the network."""
        await self._synchronise(self._location, online=False)

    async def check_for_update(self, archive: bytes = b"") -> dict[str, Any]:
        """Check the repository, or an archive of it, and serve what is new in it.

        Returns:
            What came of it (see `status`).
        """
        async with self._lock:
            if not archive:
                await self._bring(self._location)
                return self.status()
            try:
                with tempfile.NamedTemporaryFile(suffix=".zip", dir=self._settings.state) as file:
                    file.write(archive)
                    file.flush()
                    await self._bring(file.name)
            except OSError as error:
                from edgeline.server.updates.disk import (
                    FULL,  # with what fetches, which children do
                )

                outcome: CheckOutcome = "full" if error.errno in FULL else "failed"
                fault = f"The archive cannot be kept in the state folder ({error.strerror})."
                self._take(_nothing(outcome, fault), online=True)
        return self.status()

    async def _bring(self, location: str) -> None:
        """Bring and serve the newest versions that are not bad, one after the other."""
        while True:
            await self._synchronise(location, online=True)
            before = len(self._verdicts.bad())
            await self._repository.refresh()
            if self._last["outcome"] != "ok" or len(self._verdicts.bad()) == before:
                return

    def status(self) -> dict[str, object]:
        """What the last check found, for people and their tools."""
        bad = self._verdicts.bad().values()
        expires = _seconds(self._last["expires"])
        return {
            "repository": self._location,
            **self._last,
            "expires_in": round(expires - time.time()) if expires else None,
            "checked_at": self.checked_at or None,
            "succeeded_at": self._succeeded_at or None,
            "models": {
                name: {version: entry["labels"] for version, entry in versions.items()}
                for name, versions in self._catalogue.known.items()
            },
            "withdrawn": [
                {"name": name, "version": version}
                for name, version in self._catalogue.withdrawn(self._served.serving())
            ],
            "bad": [{"name": r.name, "version": r.version, "reason": r.reason} for r in bad],
        }

    def lines(self) -> Iterator[str]:
        """The metrics of updates."""
        for outcome, count in sorted(self._counts.items()):
            yield f'edgeline_update_looks_total{{result="{outcome}"}} {count}'
        if self._last["outcome"]:
            yield f'edgeline_update_outcome{{result="{self._last["outcome"]}"}} 1'
        for name, value in (
            ("fetched_bytes_total", self._fetched),
            ("look_time_seconds", round(self.checked_at, 3)),
            ("success_time_seconds", round(self._succeeded_at, 3)),
            ("expiry_time_seconds", _seconds(self._last["expires"])),
            ("stale", int(self._last["outcome"] not in ("", "ok"))),
            ("bad_versions", len(self._verdicts.bad())),
            ("pending_versions", sum(map(len, self._last["pending"].values()))),
            ("waiting_versions", sum(map(len, self._last["waits"].values()))),
            ("withdrawn_versions", len(self._catalogue.withdrawn(self._served.serving()))),
        ):
            yield f"edgeline_update_{name} {value}"

    async def _synchronise(self, location: str, online: bool) -> None:
        order = {
            "location": location,
            "root": self._settings.root,
            "state": self._settings.state,
            "versions": self._settings.versions,
            "limit": self._settings.max_update,
            "online": online,
            "bad": sorted(self._verdicts.bad()),
            "stable": self._rollouts.stables(),
            "returned": self._rollouts.returned(),
            "device": self._settings.device or socket.gethostname(),
            "groups": self._settings.groups,
        }
        self._take(await _child(order), online)

    def _take(self, result: dict[str, Any], online: bool) -> None:
        if online:
            self.checked_at = time.time()
            self._counts[result["outcome"]] += 1
        self._fetched += result["fetched"]
        if result["outcome"] == "ok" and online:
            self._succeeded_at = time.time()
        if result["outcome"] == "ok" or not online:
            self._catalogue.known = result["models"]
        else:  # what serves was verified when it was loaded, whatever the disk is like now
            self._catalogue.known = {**self._catalogue.known, **result["models"]}
        before, waited = self._last["sentence"], self._last["waits"]
        self._last = {key: result[key] for key in self._last}
        if (
            result["sentence"]
            and (online or self._catalogue.known)
            and result["sentence"] != before
        ):
            log.warning("No update: %s What is verified goes on serving.", result["sentence"])
        for name, versions in result["waits"].items():
            for version, wait in versions.items():
                if wait != waited.get(name, {}).get(version):
                    log.info("%s %s waits: %s.", name, version, wait["sentence"])


async def _child(order: dict[str, Any]) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        *fresh_python.command("edgeline.server.updates.child"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        output, errors = await asyncio.wait_for(
            process.communicate(json.dumps(order).encode()), CHECK_TIME
        )
        result: dict[str, object] = json.loads(output)
        return result
    except asyncio.TimeoutError:
        sentence = f"A check for updates took over {CHECK_TIME:g} s."
    except ValueError:
        log.error("A check for updates failed: %s", errors.decode(errors="replace")[-_TAIL:])
        sentence = f"A check for updates ended with {process.returncode}: see the log."
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()  # its pipes are closed before the loop may be
    return _nothing("failed", sentence)


def _nothing(outcome: CheckOutcome, sentence: str) -> dict[str, object]:
    """A check that came to nothing (see `order.UpdateResult`)."""
    found = {"expires": "", "fetched": 0, "models": {}, "pending": {}, "refused": {}, "waits": {}}
    return {"outcome": outcome, "sentence": sentence, **found}


def _seconds(expires: str) -> float:
    return datetime.fromisoformat(expires).timestamp() if expires else 0.0


def checked_state(settings: ServerSettings) -> Path:
    """The state folder of a server of signed updates.

    Raises:
        UsageError: there is none, the trusted root is none, or what reads signatures is not
            installed.
    """
    if settings.state is None:
        raise UsageError("--root needs --state: a folder where verified versions are kept.")
    if find_spec("tuf") is None:
        hint = install_hint(ModuleNotFoundError(name="tuf"))
        raise UsageError(f"{hint}, which --root needs to read signatures.")
    _check_root(settings.root)
    return Path(settings.state)


def _check_root(file: str | None) -> None:
    """Refuse what was never a root; whether it is a genuine one, the child finds."""
    with asked_for():
        value = typed.read(file or "")
    signed = value.get("signed") if isinstance(value, dict) else None
    if not isinstance(signed, dict) or signed.get("_type") != "root":
        raise UsageError(
            f"{file} is not a trusted root: give what `edgeline repository init` wrote."
        )
