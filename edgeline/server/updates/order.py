"""What a server asks of the process that checks for updates, and what comes back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

CheckOutcome = Literal["ok", "unreachable", "expired", "refused", "full", "failed"]


@dataclass(frozen=True)
class UpdateOrder:
    """What to do (see `synchronise`).

    Attributes:
        location: of the repository.
        root: the file of the root that is trusted from the start.
        state: the folder for metadata and versions.
        versions: how many of the newest versions of a model are wanted; 0 for all.
        limit: the largest size of a version in bytes.
        online: whether to check the repository, or only the disk.
        bad: digests of manifests of versions that are not to be fetched.
        stable: by model the version that serves while newer ones are tried: it is kept.
        returned: by model the versions that were tried and are not wanted.
        device: the name by which this device has its place in the waves of a version.
        groups: those that it is in.
    """

    location: str
    root: str
    state: str
    versions: int = 1
    limit: int = 2 << 30
    online: bool = True
    bad: tuple[str, ...] = ()
    stable: Mapping[str, int] = field(default_factory=dict)
    returned: Mapping[str, list[int]] = field(default_factory=dict)
    device: str = ""
    groups: tuple[str, ...] = ()


@dataclass
class UpdateResult:
    """What came of it.

    Attributes:
        outcome: `ok`; `unreachable`; `expired`, no fresh metadata is to be had; `refused`, what
            came is not genuine; `full`, the disk; `failed`.
        sentence: why not ok.
        expires: when the metadata expires, ISO 8601; empty if there is none.
        fetched: bytes of files.
        models: by name and version the sha256 of the manifest, the labels and whether it was
            withdrawn, of what is on the disk and genuine.
        pending: by name the versions that are wanted and not on the disk.
        refused: by name and version why one that is pending is not taken: what came of it is not
            what was signed, or is too large.
        waits: by name and version for which wave this device waits (see
            `edgeline.artifacts.waves.waits`).
    """

    outcome: CheckOutcome = "ok"
    sentence: str = ""
    expires: str = ""
    fetched: int = 0
    models: dict[str, dict[int, dict[str, object]]] = field(default_factory=dict)
    pending: dict[str, list[int]] = field(default_factory=dict)
    refused: dict[str, dict[int, str]] = field(default_factory=dict)
    waits: dict[str, dict[int, dict[str, object]]] = field(default_factory=dict)
