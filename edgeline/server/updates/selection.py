"""Which versions a device has on its disk: of those that signed targets list, what it wants.

- the newest good ones of each model, and those with a label;
- the one that serves while newer ones are tried, or where that was withdrawn the one before it;
- one older good version, to return to;
- one that was withdrawn, as long as nothing good was there to take its place.

A version is good unless it was withdrawn, was found to be bad here, was tried and returned, or is
rolled out by waves of which none that has begun has this device (see `edgeline.artifacts.waves`).
What has come is not taken back by that: a device whose group or clock is another now keeps it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from tuf.api.metadata import TargetFile

from edgeline.artifacts import waves
from edgeline.artifacts.bundle import MANIFEST, NAME
from edgeline.artifacts.folder import ALGORITHMS
from edgeline.artifacts.waves import ROLLOUT, WavePlan
from edgeline.errors import EdgelineError
from edgeline.server.updates.delegations import DelegatedRoles
from edgeline.server.updates.disk import WantedFile

VersionKey = tuple[str, int]  # name and version


@dataclass(frozen=True)
class ListedVersion:
    """A version that targets list; `manifest` is what leads to its files. One that is held is only
    known from before, and is kept but not fetched. `plan` has its waves, `unread` why they cannot
    be read, and `waits` what this device waits for; such a version is not for it yet."""

    manifest: WantedFile
    labels: list[str]
    withdrawn: bool
    held: bool = False
    plan: WavePlan | None = None
    unread: str = ""
    waits: Mapping[str, object] | None = None


@dataclass(frozen=True)
class VersionSelection:
    """What there is, and what is known of it here (see `order.UpdateOrder`)."""

    listed: Mapping[VersionKey, ListedVersion]
    versions: int = 1
    bad: Collection[str] = ()
    stable: Mapping[str, int] = field(default_factory=dict)
    returned: Mapping[str, Collection[int]] = field(default_factory=dict)

    def good(self, key: VersionKey) -> bool:
        """Whether a version may be fetched or be returned to."""
        entry, (name, version) = self.listed.get(key), key
        return (
            entry is not None
            and not entry.withdrawn
            and entry.waits is None
            and entry.manifest.digest not in self.bad
            and version not in self.returned.get(name, ())
        )

    def wanted(self) -> list[VersionKey]:
        """What is to be fetched."""
        good = [key for key in sorted(self.listed, reverse=True) if self.good(key)]
        stable = {
            name: max((v for n, v in good if n == name and v <= number), default=0)
            for name, number in self.stable.items()
        }
        counts: dict[str, int] = {}
        wanted = []
        for name, version in good:
            counts[name] = counts.get(name, 0) + 1
            newest = not self.versions or counts[name] <= self.versions
            if newest or self.listed[name, version].labels or version == stable.get(name):
                wanted.append((name, version))
        return wanted

    def spare(self, present: Collection[VersionKey]) -> Iterator[VersionKey]:
        """What a full disk can do without: all but the newest good version and what is wanted."""
        wanted, newest = set(self.wanted()), {}
        for name, version in sorted(present):
            if self.good((name, version)):
                newest[name] = version
        for name, version in present:
            if newest.get(name, version) != version and (name, version) not in wanted:
                yield name, version

    def gone(
        self, present: Collection[VersionKey], before: Collection[VersionKey]
    ) -> Iterator[VersionKey]:
        """What leaves the disk; `before` was there before something was fetched just now."""
        wanted, names = set(self.wanted()), {name for name, _ in self.listed}
        counts: dict[str, int] = {}
        for name, version in sorted(present, reverse=True):
            key, entry = (name, version), self.listed.get((name, version))
            if entry is None:  # pruned, or all of the model
                if name not in names or any(n == name and self.good((n, v)) for n, v in present):
                    yield key
            elif entry.withdrawn:
                if any(n == name and self.good((n, v)) for n, v in before):
                    yield key
            elif self.versions and counts.get(name, 0) > self.versions and key not in wanted:
                yield key
            elif self.good(key):
                counts[name] = counts.get(name, 0) + 1


def listed(roles: DelegatedRoles) -> dict[VersionKey, ListedVersion]:
    """The versions that targets list, and those of delegated roles at paths of their own."""
    found: dict[VersionKey, ListedVersion] = {}
    for path, target in roles.top.targets.items():
        if (entry := _listed(path, target)) is not None:
            found[entry[0]] = entry[1]
    for path in roles.paths():
        if path in roles.top.targets or not path.endswith("/" + MANIFEST):
            continue
        if (spoken := roles.find(path)) is None or (entry := _listed(path, spoken[0])) is None:
            continue
        (name, version), about = entry
        if path == f"{name}/{version}/{MANIFEST}":
            found.setdefault((name, version), replace(about, held=spoken[1] in roles.stale))
    return found


def in_waves(
    listed: Mapping[VersionKey, ListedVersion],
    present: Collection[VersionKey],
    device: str,
    groups: Collection[str],
    now: datetime | None,
) -> dict[VersionKey, ListedVersion]:
    """The versions with what this device waits for of each.

    Args:
        present: those that are on the disk.
        device: its name.
        groups: those that it is in.
        now: what time it is at least; None where nothing proves it.
    """
    found = dict(listed)
    for key, entry in listed.items():
        if key in present or (entry.plan is None and not entry.unread):
            continue
        if entry.plan is None:
            said = f"its waves cannot be read ({entry.unread}): update edgeline"
            unknown = {"wave": 0, "of": 0, "share": 0.0, "not_before": ""}
            found[key] = replace(entry, waits={**unknown, "sentence": said})
            continue
        position = waves.position(device, *key)
        if not entry.plan.admits(position, groups, now):
            wave = entry.plan.wave_of(position, groups)
            found[key] = replace(entry, waits=waves.waits(entry.plan, wave, now))
    return found


def _listed(path: str, target: TargetFile) -> tuple[VersionKey, ListedVersion] | None:
    custom = target.custom
    if not isinstance(custom, dict) or not path.endswith("/" + MANIFEST):
        return None
    rolling = ROLLOUT in custom
    name = custom.get("of" if rolling else "name")
    version = custom.get("number" if rolling else "version")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        return None
    digest = next((target.hashes[a] for a in ALGORITHMS if a in target.hashes), None)
    if not isinstance(version, int) or version < 1 or digest is None:
        return None
    given = custom.get("labels", ())
    labels = [label for label in given if isinstance(label, str)] if isinstance(given, list) else []
    manifest = WantedFile(f"targets/{path}", digest, target.length)
    if rolling:
        try:
            entry = ListedVersion(manifest, [], False, plan=waves.from_json(custom[ROLLOUT]))
        except EdgelineError as error:
            entry = ListedVersion(manifest, [], False, unread=str(error))
        return (name, version), entry
    return (name, version), ListedVersion(manifest, labels, bool(custom.get("withdrawn")))
