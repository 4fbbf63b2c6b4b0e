"""What signed targets list: every file of a version, and its manifest with what is known of it.

A manifest's entry has `custom`: the bundle's name, the version, its labels, and `withdrawn` where
it was taken back. Of such a version the manifest alone stays.

A candidate is signed and waits to be promoted. Its `custom` has `candidate`, `of` and `number`, and
neither a name nor a version, without which no device, however old, takes an entry for a version.
"""

from __future__ import annotations

from collections.abc import Sequence

from tuf.api.metadata import TargetFile, Targets

from edgeline.artifacts.bundle import MANIFEST, MODEL_SIGNATURE, Bundle, manifest_text
from edgeline.errors import EdgelineError, UsageError

CANDIDATE = "candidate"


def enter(targets: Targets, bundle: Bundle, labels: Sequence[str]) -> None:
    """List a bundle's files; its manifest says which version and labels it has."""
    manifest = _list_files(targets, bundle)
    before = targets.targets.get(manifest.path)
    mine = {*labels, *(before.custom.get("labels", ()) if before else ())}
    for other in manifests(targets).get(bundle.name, {}).values():
        other.custom["labels"] = [x for x in other.custom["labels"] if x not in labels]
    manifest.unrecognized_fields["custom"] = {
        "name": bundle.name,
        "version": bundle.version,
        "labels": sorted(mine),
    }
    targets.targets[manifest.path] = manifest


def enter_candidate(targets: Targets, bundle: Bundle, candidate: str) -> None:
    """List a bundle's files as a candidate's, in the place of an earlier one of that name."""
    for name, (_, earlier) in candidates(targets).get(bundle.name, {}).items():
        if name == candidate:
            _remove(targets, earlier, "")
    manifest = _list_files(targets, bundle)
    manifest.unrecognized_fields["custom"] = {
        CANDIDATE: candidate,
        "of": bundle.name,
        "number": bundle.version,
    }
    targets.targets[manifest.path] = manifest


def enter_signature(targets: Targets, bundle: Bundle, signature: bytes) -> None:
    """List the `model.sig` of a bundle that is listed."""
    path = f"{bundle.name}/{bundle.version}/{MODEL_SIGNATURE}"
    targets.targets[path] = TargetFile.from_data(path, signature, ["sha256"])


def drop_candidate(targets: Targets, name: str, candidate: str) -> None:
    """Take a candidate off the list, where it is still one."""
    if found := candidates(targets).get(name, {}).get(candidate):
        _remove(targets, found[1], "")


def candidates(targets: Targets) -> dict[str, dict[str, tuple[int, TargetFile]]]:
    """The number and the manifest's entry of candidates, by the model's name and their own."""
    found: dict[str, dict[str, tuple[int, TargetFile]]] = {}
    for target in targets.targets.values():
        if target.custom and CANDIDATE in target.custom:
            own = found.setdefault(target.custom["of"], {})
            own[target.custom[CANDIDATE]] = int(target.custom["number"]), target
    return found


def number_of(targets: Targets, name: str, candidate: str) -> int | None:
    """The number under which a candidate waits; None where it does not."""
    found = candidates(targets).get(name, {}).get(candidate)
    return found[0] if found else None


def _list_files(targets: Targets, bundle: Bundle) -> TargetFile:
    """List the files of a bundle; the entry of its manifest, which is not listed yet."""
    base = f"{bundle.name}/{bundle.version}"
    for path in bundle.files:
        entry = bundle.files[path]
        target = f"{base}/{path}"
        targets.targets[target] = TargetFile(
            int(entry["size"]), {"sha256": str(entry["sha256"])}, target
        )
    text = manifest_text(bundle).encode()
    return TargetFile.from_data(f"{base}/{MANIFEST}", text, ["sha256"])


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
    """The entries of manifests, by name and version; those of candidates left out."""
    found: dict[str, dict[int, TargetFile]] = {}
    for target in targets.targets.values():
        if target.custom and CANDIDATE not in target.custom:
            versions = found.setdefault(target.custom["name"], {})
            versions[int(target.custom["version"])] = target
    return found


def _remove(targets: Targets, manifest: TargetFile, but: str) -> None:
    """Take the files of a version off the list, but for one."""
    base = manifest.path.removesuffix(MANIFEST)
    for path in [p for p in targets.targets if p.startswith(base) and p != but]:
        del targets.targets[path]
