"""What signed targets list: every file of a version, and its manifest with what is known of it.

A manifest's entry has `custom`: the bundle's name, the version, its labels, and `withdrawn` where
it was taken back. Of such a version the manifest alone stays.

A candidate is signed and waits to be promoted. Its `custom` has `candidate`, `of` and `number`, and
neither a name nor a version, without which no device, however old, takes an entry for a version.

A version with waves has the same and its `rollout` (see `edgeline.artifacts.waves`): devices that
know waves take it where one has them, those that do not take it for a candidate, as older
publishers do. When every device may have it, its entry becomes that of a version.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from tuf.api.metadata import TargetFile, Targets

from edgeline.artifacts import waves
from edgeline.artifacts.bundle import MANIFEST, MODEL_SIGNATURE, Bundle, manifest_text
from edgeline.artifacts.waves import ROLLOUT, WavePlan
from edgeline.errors import EdgelineError, UsageError

CANDIDATE = "candidate"
ROLLED_OUT = "rolled_out"  # when the last wave of what was rolled out began, ISO 8601
USUAL = "x-edgeline-waves"  # of the list: by model the waves of versions that come without any


def enter(targets: Targets, bundle: Bundle, labels: Sequence[str]) -> None:
    """List a bundle's files; its manifest says which version and labels it has."""
    manifest = _list_files(targets, bundle)
    before = targets.targets.get(manifest.path)
    mine = {*labels, *(before.custom.get("labels", ()) if before else ())}
    _make_version(targets, manifest, bundle.name, bundle.version, mine)


def _make_version(
    targets: Targets, manifest: TargetFile, name: str, version: int, labels: Collection[str]
) -> None:
    for other in manifests(targets).get(name, {}).values():
        other.custom["labels"] = [x for x in other.custom["labels"] if x not in labels]
    manifest.unrecognized_fields["custom"] = {
        "name": name,
        "version": version,
        "labels": sorted(labels),
    }
    targets.targets[manifest.path] = manifest


def enter_rollout(targets: Targets, bundle: Bundle, plan: WavePlan) -> None:
    """List a bundle's files as those of a version with waves."""
    manifest = _list_files(targets, bundle)
    manifest.unrecognized_fields["custom"] = {
        CANDIDATE: f"{ROLLOUT}-{bundle.version}",  # what older publishers show
        "of": bundle.name,
        "number": bundle.version,
        ROLLOUT: plan.to_json(),
    }
    targets.targets[manifest.path] = manifest


def replan(targets: Targets, name: str, version: int, plan: WavePlan) -> None:
    """Give a version with waves another plan."""
    _, manifest = rollouts(targets)[name][version]
    manifest.custom[ROLLOUT] = plan.to_json()


def finish(targets: Targets, name: str, version: int, now: datetime) -> None:
    """Make of a version with waves one that every device takes; its entry says since when."""
    plan, manifest = rollouts(targets)[name][version]
    _make_version(targets, manifest, name, version, set(plan.labels))
    manifest.custom[ROLLED_OUT] = now.isoformat()


def rollouts(targets: Targets) -> dict[str, dict[int, tuple[WavePlan, TargetFile]]]:
    """The plans and the manifests' entries of versions with waves, by name and version.

    Raises:
        EdgelineError: a plan is one of a later edgeline.
    """
    found: dict[str, dict[int, tuple[WavePlan, TargetFile]]] = {}
    for target in targets.targets.values():
        if target.custom and ROLLOUT in target.custom:
            name, number = target.custom["of"], int(target.custom["number"])
            try:
                plan = waves.from_json(target.custom[ROLLOUT])
            except EdgelineError as error:
                raise EdgelineError(
                    f"The waves of {name} {number} cannot be read ({error}): update edgeline."
                ) from error
            found.setdefault(name, {})[number] = plan, target
    return found


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


def usual_waves(targets: Targets) -> dict[str, WavePlan]:
    """By model the waves of versions that come without any.

    Raises:
        EdgelineError: they are of a later edgeline.
    """
    found: dict[str, WavePlan] = {}
    for name, value in targets.unrecognized_fields.get(USUAL, {}).items():
        try:
            found[name] = waves.from_json(value)
        except EdgelineError as error:
            raise EdgelineError(
                f"The usual waves of {name} cannot be read ({error}): update edgeline."
            ) from error
    return found


def set_usual_waves(targets: Targets, name: str, plan: WavePlan | None) -> None:
    """Give a model waves for versions that come without any; None takes them away."""
    known = dict(targets.unrecognized_fields.pop(USUAL, {}))
    known.pop(name, None)
    known |= {name: plan.to_json()} if plan else {}
    targets.unrecognized_fields |= {USUAL: known} if known else {}


def drop_candidate(targets: Targets, name: str, candidate: str) -> None:
    """Take a candidate off the list, where it is still one."""
    if found := candidates(targets).get(name, {}).get(candidate):
        _remove(targets, found[1], "")


def candidates(targets: Targets) -> dict[str, dict[str, tuple[int, TargetFile]]]:
    """The number and the manifest's entry of candidates, by the model's name and their own."""
    found: dict[str, dict[str, tuple[int, TargetFile]]] = {}
    for target in targets.targets.values():
        if target.custom and CANDIDATE in target.custom and ROLLOUT not in target.custom:
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
    """Mark a version as withdrawn, also one with waves; the versions that its labels move to.

    Raises:
        UsageError: there is no such version.
        EdgelineError: it is withdrawn already, or none would remain.
    """
    found = manifests(targets).get(name, {})
    remaining = sorted(v for v, m in found.items() if not m.custom.get("withdrawn"))
    if rolling := rollouts(targets).get(name, {}).get(version):
        struck = rolling[1]
        known = {"name": name, "version": version, "labels": []}
        struck.unrecognized_fields["custom"] = {**known, "withdrawn": True}
        _remove(targets, struck, struck.path)
        return {}
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
    """Take off the versions before the newest `keep` that have no label, and rollouts that were
    overtaken by these; what was taken off, by name."""
    taken = {}
    for name, found in manifests(targets).items():
        good = sorted(v for v, m in found.items() if not m.custom.get("withdrawn"))
        taken[name] = [
            v for v, m in found.items() if v < good[-keep:][0] and not m.custom["labels"]
        ]
        for version in taken[name]:
            _remove(targets, found[version], "")
        for version, (_, manifest) in rollouts(targets).get(name, {}).items():
            if version < good[-keep:][0]:  # newer ones have overtaken it
                _remove(targets, manifest, "")
                taken[name].append(version)
    return taken


def manifests(targets: Targets) -> dict[str, dict[int, TargetFile]]:
    """The entries of manifests, by name and version; those of candidates and of versions with waves
    left out."""
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
