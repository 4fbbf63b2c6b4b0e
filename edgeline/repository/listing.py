"""What signed targets list: every file of a version, and its manifest with what is known of it.

A manifest's entry has `custom`: the bundle's name, the version, its labels, and `withdrawn` where
it was taken back. Of such a version the manifest alone stays.
"""

from __future__ import annotations

from collections.abc import Sequence

from tuf.api.metadata import TargetFile, Targets

from edgeline.artifacts.bundle import MANIFEST, Bundle, manifest_text
from edgeline.errors import EdgelineError, UsageError


def enter(targets: Targets, bundle: Bundle, labels: Sequence[str]) -> None:
    """List a bundle's files; its manifest says which version and labels it has."""
    base = f"{bundle.name}/{bundle.version}"
    for path in bundle.files:
        entry = bundle.files[path]
        target = f"{base}/{path}"
        targets.targets[target] = TargetFile(
            int(entry["size"]), {"sha256": str(entry["sha256"])}, target
        )
    text = manifest_text(bundle).encode()
    manifest = TargetFile.from_data(f"{base}/{MANIFEST}", text, ["sha256"])
    before = targets.targets.get(manifest.path)
    mine = set(labels) | set(before.custom["labels"] if before else ())
    for other in targets.targets.values():
        if other.custom and other.custom["name"] == bundle.name:
            other.custom["labels"] = [x for x in other.custom["labels"] if x not in labels]
    manifest.unrecognized_fields["custom"] = {
        "name": bundle.name,
        "version": bundle.version,
        "labels": sorted(mine),
    }
    targets.targets[manifest.path] = manifest


def strike(targets: Targets, name: str, version: int) -> dict[str, int]:
    """Mark a version as withdrawn; the versions that its labels move to.

    Raises:
        UsageError: there is no such version.
        EdgelineError: it is withdrawn already, or none would remain.
    """
    found = manifests(targets).get(name, {})
    remaining = sorted(v for v, m in found.items() if not m.custom.get("withdrawn"))
    if version not in remaining:
        if version in found:
            raise EdgelineError(f"{name} {version} is withdrawn already.")
        there = ", ".join(map(str, remaining)) or "none"
        raise UsageError(f"There is no {name} {version}: the versions of {name} are {there}.")
    remaining.remove(version)
    if not remaining:
        raise EdgelineError(
            f"{name} {version} is the only version of {name}, and devices would have nothing to "
            "serve: add another before it is withdrawn."
        )
    heir = max((v for v in remaining if v < version), default=remaining[-1])
    struck, followed = found[version], found[heir]
    moved = dict.fromkeys(struck.custom["labels"], heir)
    followed.custom["labels"] = sorted({*followed.custom["labels"], *moved})
    struck.custom.update({"labels": [], "withdrawn": True})
    _remove(targets, struck, struck.path)
    return moved


def thin(targets: Targets, keep: int) -> dict[str, list[int]]:
    """Take off the versions before the newest `keep` that have no label; these, by name."""
    taken = {}
    for name, found in manifests(targets).items():
        good = sorted(v for v, m in found.items() if not m.custom.get("withdrawn"))
        taken[name] = [
            v for v, m in found.items() if v < good[-keep:][0] and not m.custom["labels"]
        ]
        for version in taken[name]:
            _remove(targets, found[version], "")
    return taken


def manifests(targets: Targets) -> dict[str, dict[int, TargetFile]]:
    """The entries of manifests, by name and version."""
    found: dict[str, dict[int, TargetFile]] = {}
    for target in targets.targets.values():
        if target.custom:
            versions = found.setdefault(target.custom["name"], {})
            versions[int(target.custom["version"])] = target
    return found


def _remove(targets: Targets, manifest: TargetFile, but: str) -> None:
    """Take the files of a version off the list, but for one."""
    base = manifest.path.removesuffix(MANIFEST)
    for path in [p for p in targets.targets if p.startswith(base) and p != but]:
        del targets.targets[path]
