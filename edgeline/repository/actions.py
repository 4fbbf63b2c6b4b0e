"""What a publisher does: init, add, promote, withdraw, prune, sign, rotate keys.

Each may be done again after it was killed.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, Root, Targets

from edgeline.artifacts import bundle as bundles
from edgeline.artifacts import sha256
from edgeline.artifacts.bundle import MANIFEST, MODEL_SIGNATURE, Bundle, content_digest
from edgeline.artifacts.waves import WavePlan
from edgeline.errors import EdgelineError, UsageError
from edgeline.repository import keys, listing, model_signature, roles, rolling
from edgeline.repository.editing import edit_targets
from edgeline.repository.outcomes import Outcome, existing, outcome_of, publish
from edgeline.repository.place import Place, open_place
from edgeline.repository.roles import DAY, EXPIRY, PERIODS, ROLES
from edgeline.stores import store as stores

__all__ = ["Outcome", "add", "init", "promote", "prune", "rotate_keys", "sign", "withdraw"]
TARGETS = "targets"
LIMIT = 4_900_000  # bytes; python-tuf's client takes 5,000,000, with signatures
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


def init(
    repository: str,
    given: Mapping[str, Sequence[str]],
    new: Path | None = None,
    thresholds: Mapping[str, int] | None = None,
    days: Mapping[str, float] | None = None,
    signing: Sequence[str] = (),
) -> Outcome:
    """Start a signed repository with its first root and no bundle.

    Args:
        repository: a folder, s3://bucket/prefix, or minio://, gs:// or abfs:// likewise.
        given: references to the keys of each role, private or public.
        new: a folder where a key is made for each role without one.
        thresholds: how many keys of a role have to sign, by default 1.
        days: how long a role's metadata is valid (see EXPIRY).
        signing: references to private keys to sign with, beside those of `given` and `new`.

    Raises:
        UsageError: there is one already, a role has no key or fewer than its threshold.
    """
    thresholds, days = thresholds or {}, days or {}
    place = open_place(repository)
    # before anything is written
    private = [r for references in given.values() for r in references if _is_private(r)]
    public = {role: [keys.public_key(r) for r in given.get(role, ())] for role in ROLES}
    for role in ROLES:
        if not public[role] and new is None:
            raise UsageError(f"The role {role} has no key: give --role-key or --keys.")
        if max(1, len(public[role])) < thresholds.get(role, 1) or thresholds.get(role, 1) < 1:
            raise UsageError(
                f"{thresholds[role]} keys of the role {role} are to sign, but it has "
                f"{max(1, len(public[role]))}: give more keys or a lower threshold."
            )
        if days.get(role, 1) <= 0:
            raise UsageError(f"The role {role} would expire at once: give more days.")
    _refuse_second(place, repository)
    if new is not None:
        keys.check_new(new / f"{role}.pem" for role in ROLES if not public[role])
    with place.lock():
        _refuse_second(place, repository)  # another may have been quicker
        for role in ROLES:
            if not public[role] and new is not None:
                public[role] = [keys.generate(new / f"{role}.pem")]
                private.append(str(new / f"{role}.pem"))
        root = Root(consistent_snapshot=True)
        root.unrecognized_fields[PERIODS] = {
            role: int(days.get(role, EXPIRY[role]) * DAY) for role in ROLES
        }
        for role in ROLES:
            for key in public[role]:
                root.add_key(key, role)
            root.roles[role].threshold = thresholds.get(role, 1)
        root.expires = roles.expiry(root, "root")
        state = roles.RepositoryState(staged={"root": Metadata(root)})
        roles.stage(state, "targets", Targets())
        signers = keys.signers([*private, *signing])
        roles.sign(state, signers)
        return publish(place, state, signers)


def _refuse_second(place: Place, repository: str) -> None:
    if place.read("metadata/1.root.json") or place.read("metadata/staged/root.json"):
        raise UsageError(f"{repository} is a signed repository already: see its status.")


def add(
    repository: str,
    folder: str | Path,
    signing: Sequence[str],
    labels: Sequence[str] = (),
    version: int = 0,
    candidate: str = "",
    waves: WavePlan | None = None,
    at_once: bool = False,
) -> tuple[Bundle, Outcome]:
    """Publish the bundle in a folder, which stays as it is: its number is in the repository alone.

    Content that is the latest version already, or waits as this candidate, is not published twice,
    and content that was withdrawn only by its number. A label moves here from the version that had
    it. A candidate is signed, and no device takes it until it is promoted. An ECDSA key that is not
    a role's signs the bundle's `model.sig`, also of a version that is there already.

    Args:
        repository: where the signed repository is.
        folder: a bundle; a `model.sig` in it is not taken, as the number may be another.
        signing: references to keys.
        labels: names for this version, for example `stable`.
        version: its number, or 0 for the next that is free.
        candidate: the name under which it waits to be promoted (see `promote`), in the place of an
            earlier candidate of that name; empty: devices take it at once.
        waves: by which devices take it (see `wave_file.read`): the first one is opened now, and
            the labels are given when all are open; None: by the model's usual ones (see
            `wave_actions`), if it has any.
        at_once: whether all devices take it at once even so.

    Raises:
        UsageError: a label is none; a candidate with labels or waves; waves for the first version
            of a model, which devices without a wave would have nothing beside.
        EdgelineError: the bundle is damaged or was withdrawn, or is a version whose waves are not
            all open; the list of versions would be too long; or see `keys.signers` and
            `stores.add`.
    """
    for label in (*labels, *([candidate] if candidate else [])):
        if not _LABEL.fullmatch(label) or label == "latest":
            raise UsageError(f"{label!r} is not a label: use letters, digits, dots and dashes.")
    if candidate and labels:
        raise UsageError(
            f"The candidate {candidate} cannot have the label {labels[0]}, by which devices would "
            "ask for it: leave one out, and give the label when it is promoted."
        )
    if waves and at_once:
        raise UsageError("Waves are given, and that all devices take it at once: leave one out.")
    if candidate and waves:
        raise UsageError(
            f"The candidate {candidate} cannot have waves, as no device takes it: leave one out, "
            "and give the waves when it is promoted."
        )
    signers = keys.signers(signing)
    place = open_place(repository)
    state = roles.read(place)  # before anything is written
    model_key = keys.model_key(signing, roles.key_ids(state))
    bundle = bundles.read(folder)
    store = stores.open_store(f"{repository.rstrip('/')}/{TARGETS}")
    if not version:
        _refuse_withdrawn(state, store, bundle)
    rolling.plan_for(state, bundle.name, waves, at_once)
    listed, foreign = _numbers(state, bundle.name, candidate)
    bundle = stores.add(store, folder, bundle, version, listed, foreign)
    with place.lock():
        state = roles.read(place)
        newest = state.newest("targets")
        targets: Targets = deepcopy(newest.signed) if newest else Targets()
        rolls = bundle.version in listing.rollouts(targets).get(bundle.name, {})
        plan = rolling.plan_for(state, bundle.name, waves, at_once)
        if (plan or rolls) and not candidate:
            rolling.enter(
                targets, bundle, plan, labels, roles.now(state), waves is None and not at_once
            )
        elif not candidate:
            listing.enter(targets, bundle, labels)
        elif rolls or bundle.version in listing.manifests(targets).get(bundle.name, {}):
            listing.drop_candidate(targets, bundle.name, candidate)  # of other content
        elif listing.number_of(targets, bundle.name, candidate) != bundle.version:
            listing.enter_candidate(targets, bundle, candidate)
        if model_key:
            signature = model_signature.sign(bundle, model_key)
            place.write(f"{TARGETS}/{bundle.name}/{bundle.version}/{MODEL_SIGNATURE}", signature)
            listing.enter_signature(targets, bundle, signature)
        if (size := len(Metadata(targets).to_bytes())) > LIMIT:
            raise EdgelineError(
                f"The list of versions would have {size} bytes, and devices take {LIMIT}: take "
                "old versions off it with `edgeline repository prune`."
            )
        if newest is None or targets != newest.signed:
            roles.stage(state, "targets", targets)
        roles.sign(state, signers)
        outcome = publish(place, state, signers, "targets")
        entered = listing.rollouts(targets).get(bundle.name, {}).get(bundle.version)
        return bundle, replace(outcome, plan=entered[0] if entered else None)


def promote(
    repository: str,
    name: str,
    candidate: str,
    signing: Sequence[str],
    labels: Sequence[str] = (),
    waves: WavePlan | None = None,
    at_once: bool = False,
) -> tuple[Bundle, Outcome]:
    """Make a candidate the newest version: devices fetch, try and serve it at their next look.

    Nothing is trained or converted. It gets the next number where another version came after it,
    since devices take the highest.

    Args:
        repository: where the signed repository is.
        name: of the model.
        candidate: as it was added.
        signing: references to keys.
        labels: names for the version.
        waves, at_once: as of `add`.

    Raises:
        UsageError: there is no such candidate, or it has a `model.sig`, gets another number, which
            is part of what that signs, and the key for it is not given.
        EdgelineError: its files are damaged or are not what was signed, or as `add`.
    """
    place = existing(repository)
    state = roles.read(place)
    live = state.live.get("targets")
    known = listing.candidates(live.signed).get(name, {}) if live else {}
    if candidate not in known:
        there = f"those of {name} are {', '.join(sorted(known))}" if known else f"{name} has none"
        raise UsageError(f"There is no candidate {candidate!r}: {there}.")
    number, entry = known[candidate]
    store = stores.open_store(f"{repository.rstrip('/')}/{TARGETS}")
    renumbered = max(store.versions(name), default=number) != number
    signed = store.signature(name, number) is not None
    if renumbered and signed and not keys.model_key(signing, roles.key_ids(state)):
        raise UsageError(
            f"The candidate {candidate} has a {MODEL_SIGNATURE}, and gets another number, which is "
            "part of what that signs: give the key for it with the others."
        )
    with tempfile.TemporaryDirectory(prefix="edgeline-") as scratch:
        folder = Path(scratch) / "bundle"
        stores.fetch(store.uri(name, number), folder)
        if sha256(folder / MANIFEST) != entry.hashes["sha256"]:
            raise EdgelineError(
                f"The candidate {candidate} of {name} is not what was signed: publish it again."
            )
        added = add(repository, folder, signing, labels, waves=waves, at_once=at_once)
    signers = keys.signers(signing)
    with place.lock():
        state = roles.read(place)
        newest = state.newest("targets")
        assert newest is not None
        targets: Targets = deepcopy(newest.signed)
        listing.drop_candidate(targets, name, candidate)
        if targets == newest.signed:
            return added
        roles.stage(state, "targets", targets)
        roles.sign(state, signers)
        outcome = publish(place, state, signers, "targets")
        return added[0], replace(outcome, plan=added[1].plan)


def withdraw(
    repository: str, name: str, version: int, signing: Sequence[str]
) -> tuple[Mapping[str, int], Outcome]:
    """Take a version back: devices leave it for the newest that remains, and fetch it no more.

    It stays listed, as withdrawn, so that a device can tell what it has until the other version
    has come and works; its files stay where they are. Its labels move to the version before it,
    or where there is none to the newest: who asks by label is answered. The same content is not
    published again unless its number is given (see `add`).

    Args:
        repository: where the signed repository is.
        name, version: of the bundle.
        signing: references to keys.

    Returns:
        The version that each of its labels has now, and what it led to.

    Raises:
        EdgelineError: there is no such version, it is withdrawn already, or none would remain.
    """

    def strike(targets: Targets, now: datetime) -> Mapping[str, int]:
        rolling.settle(targets, now)
        return listing.strike(targets, name, version)

    return edit_targets(repository, signing, strike)


def prune(
    repository: str, keep: int, signing: Sequence[str]
) -> tuple[Mapping[str, list[int]], Outcome]:
    """Take old versions off the list: every device fetches all of it whenever it changes.

    Their files stay where they are, and a number is not given again while they do.

    Args:
        repository: where the signed repository is.
        keep: how many of the newest versions of each bundle stay, beside those with a label.
        signing: references to keys.

    Returns:
        The versions that were taken off, by name, and what it led to.
    """
    return edit_targets(repository, signing, lambda targets, _: listing.thin(targets, keep))


def sign(repository: str, signing: Sequence[str]) -> tuple[list[str], Outcome]:
    """Add signatures to what is staged; renew the timestamp, and what half of its time is gone.

    With a key of targets, versions whose last wave has begun by time become such as all devices
    take.

    Returns:
        The roles that were signed, and what it led to.
    """
    signers = keys.signers(signing)
    place = existing(repository)
    with place.lock():
        state = roles.read(place)
        _settle(state, signers)
        signed = roles.sign(state, signers, renew=True)
        live = roles.publish(place, state)
        kept = [] if live else roles.keep(place, state, signers, renew=True)
        return [*dict.fromkeys([*signed, *kept])], outcome_of(state)


def rotate_keys(
    repository: str,
    role: str,
    signing: Sequence[str],
    adding: Sequence[str] = (),
    removing: Sequence[str] = (),
    threshold: int | None = None,
) -> Outcome:
    """Make the next root: other keys or another threshold for a role.

    Devices follow from root to root, so the new one is signed by the keys of the old and of the
    new root role. Roles whose signatures no longer suffice are signed anew with the keys at hand.

    Args:
        repository: where the signed repository is.
        role: root, targets, snapshot or timestamp.
        signing: references to keys: the root's, and those of the roles that change.
        adding: references to keys that are added.
        removing: ids of keys (or how they begin) that are removed.
        threshold: how many keys have to sign; None for as many as before.

    Raises:
        UsageError: a key to remove is not there, or fewer keys than the threshold remain.
    """
    signers = keys.signers(signing)
    added = [keys.public_key(reference) for reference in adding]
    place = existing(repository)
    with place.lock():
        state = roles.read(place)
        if "root" not in state.live:
            raise EdgelineError("The first root is not complete: sign it before keys are rotated.")
        newest = state.newest("root")
        assert newest is not None
        root: Root = deepcopy(newest.signed)
        for key in added:
            root.add_key(key, role)
        for begin in removing:
            root.revoke_key(_key_id(root, role, begin), role)
        wanted = root.roles[role]
        wanted.threshold = threshold or wanted.threshold
        if len(wanted.keyids) < wanted.threshold:
            raise UsageError(
                f"{wanted.threshold} keys of the role {role} are to sign, but "
                f"{len(wanted.keyids)} would be left: add a key or lower the threshold."
            )
        if root == newest.signed:
            raise UsageError("Nothing would change: give --add, --remove or --threshold.")
        roles.stage(state, "root", root)
        roles.sign(state, signers)
        return publish(place, state, signers, "root")


def _settle(state: roles.RepositoryState, signers: Sequence[CryptoSigner]) -> None:
    """Stage what waves have come to, if it could be signed; a plan of a later edgeline is left."""
    allowed = state.root.signed.roles["targets"].keyids
    if any(signer.public_key.keyid in allowed for signer in signers):
        with contextlib.suppress(EdgelineError):
            if (targets := rolling.settled(state)) is not None:
                roles.stage(state, "targets", targets)


def _refuse_withdrawn(state: roles.RepositoryState, store: stores.Store, bundle: Bundle) -> None:
    """A pipeline that runs again must not bring back what was taken back."""
    newest, digest = state.newest("targets"), content_digest(bundle)
    manifests = listing.manifests(newest.signed).get(bundle.name, {}) if newest else {}
    for number, target in manifests.items():
        if target.custom.get("withdrawn"):
            present = stores.published(store, bundle.name, number)
            if present is not None and content_digest(present) == digest:
                raise EdgelineError(
                    f"This is {bundle.name} {number}, which was withdrawn: give --version "
                    f"{number} to publish it again."
                )


def _numbers(state: roles.RepositoryState, name: str, candidate: str) -> tuple[set[int], set[int]]:
    """The numbers whose content is not published again, of the latest version and of what waits as
    this candidate; and those that other candidates have, which this one does not take."""
    newest = state.newest("targets")
    if newest is None:
        return set(), set()
    versions = listing.manifests(newest.signed).get(name, {})
    good = sorted(v for v, each in versions.items() if not each.custom.get("withdrawn"))
    listed = {*good[-1:], *listing.rollouts(newest.signed).get(name, {})}
    if not candidate:  # what is promoted takes its candidate's number
        return listed, set()
    own = listing.number_of(newest.signed, name, candidate)
    others = {number for number, _ in listing.candidates(newest.signed).get(name, {}).values()}
    return listed | ({own} if own else set()), others - {own}


def _is_private(reference: str) -> bool:
    try:
        keys.signer(reference)
    except EdgelineError:
        keys.public_key(reference)  # else the key cannot be used at all
        return False
    return True


def _key_id(root: Root, role: str, begin: str) -> str:
    found = [keyid for keyid in root.roles[role].keyids if keyid.startswith(begin)]
    if len(found) != 1:
        raise UsageError(
            f"{begin!r} is {'no key' if not found else 'more than one key'} of the role {role}: "
            "see `edgeline repository status`."
        )
    return found[0]
