"""The verified versions on the disk, as a catalogue of what may be served."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgeline.server.rollouts.rollouts import Rollouts
from edgeline.server.versions import sources
from edgeline.server.versions.sources import VersionSource
from edgeline.server.versions.verdicts import Verdicts


class SignedCatalogue:
    """Of one signed repository.

    Attributes:
        folder: where the versions are.
        known: by name and version what `order.UpdateResult.models` says of it.
    """

    def __init__(self, folder: Path, rollouts: Rollouts, verdicts: Verdicts) -> None:
        self.folder = folder
        self.known: dict[str, dict[str, dict[str, Any]]] = {}
        self._rollouts, self._verdicts = rollouts, verdicts

    def find(self) -> dict[str, dict[int, VersionSource]]:
        """The verified versions on the disk; each has to have the manifest that was signed.

        One that was withdrawn counts only where no other is left that is not bad.
        """
        if not self.folder.is_dir():
            return {}
        found: dict[str, dict[int, VersionSource]] = {}
        for name, versions in sources.find(self.folder).items():
            known = self.known.get(name, {})
            signed = {
                version: replace(source, digest=known[str(version)]["manifest"])
                for version, source in versions.items()
                if str(version) in known
            }
            lasting = {v: s for v, s in signed.items() if not known[str(v)]["withdrawn"]}
            if signed:
                found[name] = lasting if any(map(self._works, lasting.values())) else signed
        return found

    def labels(self, name: str) -> dict[str, int]:
        """The signed labels of a model's versions."""
        versions = self.known.get(name, {})
        return {label: int(v) for v, entry in versions.items() for label in entry["labels"]}

    def withdrawn(self, serving: Iterable[tuple[str, int, int]]) -> list[tuple[str, int]]:
        """Versions that serve although they were withdrawn: no other works here yet."""
        return [
            (name, version)
            for name, version, _ in serving
            if self.known.get(name, {}).get(str(version), {}).get("withdrawn")
        ]

    def _works(self, source: VersionSource) -> bool:
        tried = self._rollouts.allowed(source.name, [source.version])
        return bool(tried) and not self._verdicts.fault(source)
