"""`edgeline repository`: signed updates from the publisher's side."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeline.cli.arguments import as_json, existing, new_file, new_folder
from edgeline.cli.told import Told, telling

if TYPE_CHECKING:
    from edgeline.repository.outcomes import Outcome
    from edgeline.repository.rolling import Opening

ROLES = ("root", "targets", "snapshot", "timestamp")
_waves = click.option(
    "--waves",
    metavar="FILE",
    callback=existing,
    help="A YAML file of waves, by which devices take it; by default the model's usual ones, or "
    "all at once.",
)
_at_once = click.option(
    "--at-once", is_flag=True, help="Let all devices take it, also where waves are usual."
)
_signing = click.option(
    "--key",
    "signing",
    multiple=True,
    metavar="REFERENCE",
    help="A key to sign with: a .pem file, a folder of .pem files, or env:NAME. Repeatable.",
)


def _by_role(
    what: str, kind: type = str, least: float = 0, most: float = 0
) -> Callable[..., list[tuple[str, Any]]]:
    """Splits `ROLE=...`; numbers have to lie between two bounds, which NaN does not."""

    def split(
        _: click.Context, parameter: click.Parameter, values: tuple[str, ...]
    ) -> list[tuple[str, Any]]:
        pairs: list[tuple[str, Any]] = []
        for value in values:
            role, separator, rest = value.partition("=")
            if not separator or role not in ROLES:
                raise click.BadParameter(
                    f"{value}: write ROLE={what}, with a role of {', '.join(ROLES)}.",
                    param=parameter,
                )
            try:
                converted = kind(rest)
                good = kind is str or least <= converted <= most
            except (ValueError, OverflowError):
                good = False
            if not good:
                raise click.BadParameter(
                    f"{value}: {what} is a number from {least:.3g} to {most:.6g}.", param=parameter
                )
            if kind is not str and role in dict(pairs):  # a role may have several keys
                raise click.BadParameter(f"{role} is given twice: leave one out.", param=parameter)
            pairs.append((role, converted))
        return pairs

    return split


@click.group()
def repository() -> None:
    """Publish signed updates from a TUF repository in a folder or bucket."""


@repository.command()
@click.argument("file", callback=new_file)
@telling
def key(told: Told, file: str) -> None:
    """Generate a key pair: FILE, encrypted, and FILE.pub.

    The passphrase is read from EDGELINE_KEY_PASSPHRASE or EDGELINE_KEY_PASSPHRASE_FILE.
    """
    from edgeline.repository import keys

    made = keys.generate(Path(file)).keyid
    told(f"Generated {file} with key id {made}.", file=file, key=made)


@repository.command("model-key")
@click.argument("file", callback=new_file)
@telling
def model_key(told: Told, file: str) -> None:
    """Generate a key pair for model.sig, the OpenSSF's model signature: FILE and FILE.pub.

    It is an ECDSA key, where those of the roles are Ed25519. FILE is encrypted as with `key`.
    """
    from edgeline.repository import keys

    keys.generate_model_key(Path(file))
    told(f"Generated {file}: model_signing verifies with {file}.pub what it signs.", file=file)


@repository.command()
@click.argument("repository")
@click.option(
    "--keys",
    "new",
    callback=new_folder,
    help="Generate missing keys in this folder.",
)
@click.option(
    "--role-key",
    multiple=True,
    metavar="ROLE=REFERENCE",
    callback=_by_role("REFERENCE"),
    help="A private or public key of a role. Repeatable.",
)
@click.option(
    "--threshold",
    multiple=True,
    metavar="ROLE=N",
    callback=_by_role("N", int, 1, 100),
    help="How many keys of a role must sign; by default 1.",
)
@click.option(
    "--expires",
    multiple=True,
    metavar="ROLE=DAYS",
    callback=_by_role("DAYS", float, 1 / 1440, 36500),
    help="How long a role's metadata is valid; by default root and targets 365, snapshot 30, "
    "timestamp 7.",
)
@click.option(
    "--root", callback=new_file, help="Also write the first root to this file, for the devices."
)
@telling
def init(
    told: Told,
    repository: str,
    new: str | None,
    role_key: list[tuple[str, str]],
    threshold: list[tuple[str, int]],
    expires: list[tuple[str, float]],
    root: str | None,
) -> None:
    """Create REPOSITORY: a folder, s3://bucket/prefix, or minio://, gs:// or abfs:// likewise."""
    from edgeline.repository import actions
    from edgeline.repository.place import open_place

    given: dict[str, list[str]] = {}
    for role, reference in role_key:
        given.setdefault(role, []).append(reference)
    outcome = actions.init(
        repository, given, Path(new) if new else None, dict(threshold), dict(expires)
    )
    content = open_place(repository).read("metadata/1.root.json")
    if root and content is not None:
        Path(root).parent.mkdir(parents=True, exist_ok=True)
        Path(root).write_bytes(content)
    elif root:
        told(f"{root} is not written: copy metadata/1.root.json when it is signed.")
    _say(told, f"{repository} is created", outcome)


@repository.command()
@click.argument("repository")
@click.argument("bundle", callback=existing)
@_signing
@click.option("--label", "labels", multiple=True, help="A label for this version. Repeatable.")
@click.option("--version", type=click.IntRange(0), default=0, help="By default the next free one.")
@click.option(
    "--candidate",
    default="",
    metavar="NAME",
    help="Sign it, but let no device take it until it is promoted by this name.",
)
@_waves
@_at_once
@telling
def add(
    told: Told,
    repository: str,
    bundle: str,
    signing: tuple[str, ...],
    labels: tuple[str, ...],
    version: int,
    candidate: str,
    waves: str | None,
    at_once: bool,
) -> None:
    """Publish the folder BUNDLE in REPOSITORY."""
    from edgeline.repository import actions, wave_file

    plan = wave_file.read(waves) if waves else None
    made, outcome = actions.add(
        repository, bundle, signing, labels, version, candidate, plan, at_once
    )
    told("", name=made.name, version=made.version)
    if candidate:
        told(f"{candidate} is a candidate: no device takes it until it is promoted.")
        _say(told, f"{made.name} {made.version} is added", outcome, "it can be promoted")
    else:
        then = _IN_WAVES if outcome.plan else _BY_ALL
        _say(told, f"{made.name} {made.version} is added", outcome, then)


@repository.command()
@click.argument("repository")
@click.argument("name")
@click.argument("candidate")
@_signing
@click.option("--label", "labels", multiple=True, help="A label for this version. Repeatable.")
@_waves
@_at_once
@telling
def promote(
    told: Told,
    repository: str,
    name: str,
    candidate: str,
    signing: tuple[str, ...],
    labels: tuple[str, ...],
    waves: str | None,
    at_once: bool,
) -> None:
    """Make CANDIDATE of REPOSITORY the newest version of the bundle NAME: devices serve it at their
    next poll, or with --waves when it is their turn."""
    from edgeline.repository import actions, wave_file

    plan = wave_file.read(waves) if waves else None
    made, outcome = actions.promote(repository, name, candidate, signing, labels, plan, at_once)
    told("", name=made.name, version=made.version)
    then = _IN_WAVES if outcome.plan else _BY_ALL
    _say(told, f"{candidate} is {made.name} {made.version} now", outcome, then)


@repository.command("usual-waves")
@click.argument("repository")
@click.argument("name")
@click.argument("file", required=False, callback=existing)
@click.option("--none", "no_waves", is_flag=True, help="All devices take them at once again.")
@_signing
@telling
def usual_waves(
    told: Told,
    repository: str,
    name: str,
    file: str | None,
    no_waves: bool,
    signing: tuple[str, ...],
) -> None:
    """Roll out by the waves in FILE what is added to REPOSITORY as a version of the bundle NAME
    without any, as by pipelines."""
    from edgeline.repository import wave_actions, wave_file

    if (file is None) != no_waves:
        raise click.UsageError("Give FILE or --none.")
    plan = wave_file.read(file) if file else None
    outcome = wave_actions.usual_waves(repository, name, plan, signing)
    how = "by waves" if plan else "at once"
    _say(told, f"Versions of {name} that come without waves go to devices {how}", outcome, "signed")


def _opening(_: click.Context, parameter: click.Parameter, value: str) -> int | str:
    if value in ("next", "all"):
        return value
    if value.isascii() and value.isdigit() and len(value) < 4 and int(value):
        return int(value)
    raise click.BadParameter(f"{value!r}: give next, all or how many.", param=parameter)


@repository.command()
@click.argument("repository")
@click.argument("name")
@click.argument("version", type=click.IntRange(1))
@click.option(
    "--open",
    "opening",
    required=True,
    metavar="N|next|all",
    callback=_opening,
    help="How many waves are to be open: a number, one more, or all at once whatever their times.",
)
@_signing
@telling
def wave(
    told: Told,
    repository: str,
    name: str,
    version: int,
    opening: Opening,
    signing: tuple[str, ...],
) -> None:
    """Open waves of VERSION of the bundle NAME in REPOSITORY: their devices serve it at their next
    poll."""
    from edgeline.artifacts import waves
    from edgeline.repository import wave_actions

    plan, outcome = wave_actions.wave(repository, name, version, opening, signing)
    count = len(plan.opened)
    told("", name=name, version=version, open=count, waves=len(plan.waves))
    which = waves.described(plan, count - 1) if count else "no wave"
    _say(told, f"{which} of {name} {version} is open", outcome)


@repository.command()
@click.argument("repository")
@click.argument("name")
@click.argument("version", type=click.IntRange(1))
@_signing
@telling
def withdraw(
    told: Told, repository: str, name: str, version: int, signing: tuple[str, ...]
) -> None:
    """Withdraw VERSION of the bundle NAME from REPOSITORY: devices return to the newest remaining
    version."""
    from edgeline.repository import actions

    moved, outcome = actions.withdraw(repository, name, version, signing)
    for label, heir in moved.items():
        told(f"The label {label} moves to {name} {heir}.")
    _say(told, f"{name} {version} is withdrawn", outcome)


@repository.command()
@click.argument("repository")
@click.option(
    "--keep",
    type=click.IntRange(1),
    required=True,
    help="How many versions of each bundle to keep.",
)
@_signing
@telling
def prune(told: Told, repository: str, keep: int, signing: tuple[str, ...]) -> None:
    """Unlist old versions of REPOSITORY: devices see only the newest ones and those with a
    label."""
    from edgeline.repository import actions

    taken, outcome = actions.prune(repository, keep, signing)
    count = sum(map(len, taken.values()))
    told("", taken_off={name: list(versions) for name, versions in taken.items()})
    _say(told, f"{count} version{'s' * (count != 1)} taken off the list", outcome)


@repository.command()
@click.argument("repository")
@_signing
@telling
def sign(told: Told, repository: str, signing: tuple[str, ...]) -> None:
    """Sign pending metadata of REPOSITORY, and renew what expires soon; run it by hand or from
    cron."""
    from edgeline.repository import actions

    signed, outcome = actions.sign(repository, signing)
    told("", signed=list(signed))
    _say(told, f"Signed: {', '.join(signed) or 'nothing'}", outcome)


@repository.command("rotate-keys")
@click.argument("repository")
@click.argument("role", type=click.Choice(ROLES))
@_signing
@click.option("--add", "adding", multiple=True, metavar="REFERENCE", help="A key to add.")
@click.option("--remove", "removing", multiple=True, metavar="KEYID", help="A key to remove.")
@click.option("--threshold", type=click.IntRange(1), help="How many keys must sign.")
@telling
def rotate_keys(told: Told, repository: str, role: str, **options: Any) -> None:
    """Change the keys of ROLE in REPOSITORY: creates the next root, which devices follow
    automatically."""
    from edgeline.repository import actions

    _say(told, f"The keys of {role} are changed", actions.rotate_keys(repository, role, **options))


@repository.command()
@click.argument("repository")
@as_json
def status(repository: str, as_json: bool) -> None:
    """Show roles, versions, waves, expiry, thresholds, keys and missing signatures of
    REPOSITORY."""
    from edgeline.repository import status as statuses

    statuses.show(repository, as_json)


_BY_ALL = "devices will see it"
_IN_WAVES = "devices will see it when a wave that has them is open, the others later"


def _say(told: Told, what: str, outcome: Outcome, then: str = _BY_ALL) -> None:
    told("", live=outcome.live, missing_signatures=dict(outcome.missing))
    if outcome.live:
        told(f"{what}: {then}.")
        return
    lacks = ", ".join(
        f"{count} signature{'s' * (count > 1)} of {role}" for role, count in outcome.missing.items()
    )
    told(f"{what}, but waits for {lacks or 'the other roles'}: `edgeline repository sign`.")
