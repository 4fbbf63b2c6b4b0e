"""Signed updates, the server's side: when to look, what came of it, what may be loaded.

A look is a child process (see `look`). The one flow for a timer, a push and a start: the
child verifies and brings versions to the disk, `repository` tries, loads, warms and swaps them,
and `verdicts` remembers what was bad. While the repository cannot be reached or shows nothing
genuine and fresh, what is on the disk goes on serving, with a warning and in the metrics.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from edgeline.errors import EdgelineError
from edgeline.server import sources
from edgeline.server.repository import Repository
from edgeline.server.settings import Settings
from edgeline.server.sources import Source

LOOK_TIME = 3600.0  # seconds
_TAIL = 2000  # characters of what a child says when it crashes
log = logging.getLogger("edgeline.server")


class Updates:
    """Of one signed repository. Used on the event loop.

    Attributes:
        models: the folder of verified versions.
        looked: when the repository was last looked at, in seconds since the epoch; 0 for never.
    """

    def __init__(self, location: str, settings: Settings) -> None:
        """Raises EdgelineError where there is no state folder."""
        if settings.state is None:
            raise EdgelineError("--root needs --state: a folder where verified versions are kept.")
        self.models = Path(settings.state) / "models"
        self._location, self._settings = location, settings
        self._known: dict[str, dict[str, dict[str, Any]]] = {}
        self._lock = asyncio.Lock()
        self._counts: Counter[str] = Counter()
        self._fetched = 0
        self._last: dict[str, Any] = {"outcome": "", "sentence": "", "expires": ""}
        self.looked = self._succeeded = 0.0
        self._repository: Repository | None = None

    def attach(self, repository: Repository) -> None:
        """Make a repository of `models` take only what is verified."""
        self._repository = repository
        repository.find, repository.labels = self.find, self.labels

    def find(self) -> dict[str, dict[int, Source]]:
        """The verified versions on the disk; each has to have the manifest that was signed."""
        if not self.models.is_dir():
            return {}
        found: dict[str, dict[int, Source]] = {}
        for name, versions in sources.find(self.models).items():
            known = self._known.get(name, {})
            for version, source in versions.items():
                if entry := known.get(str(version)):
                    source = replace(source, digest=entry["manifest"])
                    found.setdefault(name, {})[version] = source
        return found

    def labels(self, name: str) -> dict[str, int]:
        """The signed labels of a model's versions."""
        versions = self._known.get(name, {})
        return {label: int(v) for v, entry in versions.items() for label in entry["labels"]}

    async def restore(self) -> None:
        """Verify what is on the disk, without the network."""
        await self._synchronise(self._location, online=False)

    async def look(self, archive: bytes = b"") -> dict[str, Any]:
        """Look at the repository, or at an archive of it, and serve what it has.

        Returns:
            What came of it (see `status`).
        """
        async with self._lock:
            if archive:
                with tempfile.NamedTemporaryFile(suffix=".zip", dir=self._settings.state) as file:
                    file.write(archive)
                    file.flush()
                    await self._bring(file.name)
            else:
                await self._bring(self._location)
        return self.status()

    async def _bring(self, location: str) -> None:
        """Bring and serve the newest versions that are not bad, one after the other."""
        assert self._repository is not None
        verdicts = self._repository.verdicts
        while True:
            await self._synchronise(location, online=True)
            before = len(verdicts.bad())
            await self._repository.refresh()
            if self._last["outcome"] != "ok" or len(verdicts.bad()) == before:
                return

    def status(self) -> dict[str, Any]:
        """What the last look found, for people and their tools."""
        assert self._repository is not None
        bad = self._repository.verdicts.bad().values()
        return {
            "repository": self._location,
            **self._last,
            "looked": self.looked or None,
            "succeeded": self._succeeded or None,
            "models": {
                name: {version: entry["labels"] for version, entry in versions.items()}
                for name, versions in self._known.items()
            },
            "bad": [{"name": r.name, "version": r.version, "reason": r.reason} for r in bad],
        }

    def lines(self) -> Iterator[str]:
        """The metrics of updates."""
        assert self._repository is not None
        yield "# TYPE edgeline_update_looks_total counter"
        for outcome, count in sorted(self._counts.items()):
            yield f'edgeline_update_looks_total{{result="{outcome}"}} {count}'
        for name, kind, value in (
            ("fetched_bytes_total", "counter", self._fetched),
            ("success_time_seconds", "gauge", round(self._succeeded, 3)),
            ("expiry_time_seconds", "gauge", _seconds(self._last["expires"])),
            ("stale", "gauge", int(self._last["outcome"] not in ("", "ok"))),
            ("bad_versions", "gauge", len(self._repository.verdicts.bad())),
        ):
            yield f"# TYPE edgeline_update_{name} {kind}"
            yield f"edgeline_update_{name} {value}"

    async def _synchronise(self, location: str, online: bool) -> None:
        assert self._repository is not None
        order = {
            "location": location,
            "root": self._settings.root,
            "state": self._settings.state,
            "versions": self._settings.versions,
            "limit": self._settings.max_update,
            "online": online,
            "bad": sorted(self._repository.verdicts.bad()),
        }
        result = await _child(order)
        if online:
            self.looked = time.time()
            self._counts[result["outcome"]] += 1
        self._fetched += result["fetched"]
        if result["outcome"] == "ok" and online:
            self._succeeded = time.time()
        if result["outcome"] not in ("ok", "failed") or result["models"]:
            self._known = result["models"]
        before = self._last["sentence"]
        self._last = {key: result[key] for key in ("outcome", "sentence", "expires")}
        if result["sentence"] and (online or self._known) and result["sentence"] != before:
            log.warning("No update: %s What is verified goes on serving.", result["sentence"])


async def _child(order: dict[str, Any]) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "edgeline.server.look"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        told, said = await asyncio.wait_for(
            process.communicate(json.dumps(order).encode()), LOOK_TIME
        )
        result: dict[str, Any] = json.loads(told)
        return result
    except asyncio.TimeoutError:
        sentence = f"A look took over {LOOK_TIME:g} s."
    except ValueError:
        log.error("A look failed: %s", said.decode(errors="replace")[-_TAIL:])
        sentence = f"A look ended with {process.returncode}: see the log."
    finally:
        if process.returncode is None:
            process.kill()
    return {"outcome": "failed", "sentence": sentence, "expires": "", "fetched": 0, "models": {}}


def _seconds(expires: str) -> float:
    return datetime.fromisoformat(expires).timestamp() if expires else 0.0
