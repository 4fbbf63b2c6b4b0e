"""`edgeline repository`: signed updates from the publisher's side."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from edgeline.repository.actions import Outcome

ROLES = ("root", "targets", "snapshot", "timestamp")
_signing = click.option(
    "--key",
    "signing",
    multiple=True,
    metavar="REFERENCE",
    help="A key to sign with: a .pem file, a folder of them, or env:NAME. Repeatable.",
)


def _by_role(what: str) -> Callable[..., list[tuple[str, str]]]:
    def split(
        _: click.Context, parameter: click.Parameter, values: tuple[str, ...]
    ) -> list[tuple[str, str]]:
        pairs = []
        for value in values:
            role, separator, rest = value.partition("=")
            if not separator or role not in ROLES:
                raise click.BadParameter(
                    f"{value}: write ROLE={what}, with a role of {', '.join(ROLES)}.",
                    param=parameter,
                )
            pairs.append((role, rest))
        return pairs

    return split


@click.group()
def repository() -> None:
    """Publish signed updates: a TUF repository in a folder or bucket."""


@repository.command()
@click.argument("file", type=click.Path(path_type=Path))
def key(file: Path) -> None:
    """Make a key pair for a key holder: FILE, encrypted, and FILE.pub.

    The passphrase comes from EDGELINE_KEY_PASSPHRASE or EDGELINE_KEY_PASSPHRASE_FILE.
    """
    from edgeline.repository import keys

    click.echo(f"Made {file} with key id {keys.generate(file).keyid}.")


@repository.command()
@click.argument("repository")
@click.option("--keys", "new", type=click.Path(path_type=Path), help="Make missing keys here.")
@click.option(
    "--role-key",
    multiple=True,
    metavar="ROLE=REFERENCE",
    callback=_by_role("REFERENCE"),
    help="A key of a role, private or public. Repeatable.",
)
@click.option(
    "--threshold",
    multiple=True,
    metavar="ROLE=N",
    callback=_by_role("N"),
    help="How many keys of a role have to sign; by default 1.",
)
@click.option(
    "--expires",
    multiple=True,
    metavar="ROLE=DAYS",
    callback=_by_role("DAYS"),
    help="How long a role is valid; by default root and targets 365, snapshot 30, timestamp 7.",
)
@click.option("--root", help="Write the first root here as well: what devices are given.")
def init(
    repository: str,
    new: Path | None,
    role_key: list[tuple[str, str]],
    threshold: list[tuple[str, str]],
    expires: list[tuple[str, str]],
    root: str | None,
) -> None:
    """Start REPOSITORY: a folder, s3://bucket/prefix or minio://bucket/prefix."""
    from edgeline.repository import actions
    from edgeline.repository.place import open_place

    given: dict[str, list[str]] = {}
    for role, reference in role_key:
        given.setdefault(role, []).append(reference)
    outcome = actions.init(
        repository, given, new, _numbers(threshold, int), _numbers(expires, float)
    )
    content = open_place(repository).read("metadata/1.root.json")
    if root and content is not None:
        Path(root).write_bytes(content)
    elif root:
        click.echo(f"{root} is not written: copy metadata/1.root.json when it is signed.")
    _say(f"{repository} is started", outcome)


@repository.command()
@click.argument("repository")
@click.argument("bundle")
@_signing
@click.option("--label", "labels", multiple=True, help="A name for this version. Repeatable.")
@click.option("--version", default=0, help="Its number; by default the next that is free.")
def add(
    repository: str, bundle: str, signing: tuple[str, ...], labels: tuple[str, ...], version: int
) -> None:
    """Publish the folder BUNDLE in REPOSITORY."""
    from edgeline.repository import actions

    made, outcome = actions.add(repository, bundle, signing, labels, version)
    _say(f"{made.name} {made.version} is added", outcome)


@repository.command()
@click.argument("repository")
@click.argument("name")
@click.argument("version", type=click.IntRange(1))
@_signing
def withdraw(repository: str, name: str, version: int, signing: tuple[str, ...]) -> None:
    """Take VERSION of the bundle NAME back: devices go on with the newest that remains."""
    from edgeline.repository import actions

    moved, outcome = actions.withdraw(repository, name, version, signing)
    for label, heir in moved.items():
        click.echo(f"The label {label} moves to {name} {heir}.")
    _say(f"{name} {version} is withdrawn", outcome)


@repository.command()
@click.argument("repository")
@click.option("--keep", type=click.IntRange(1), required=True, help="Versions of each to keep.")
@_signing
def prune(repository: str, keep: int, signing: tuple[str, ...]) -> None:
    """Take all but the newest versions, and those with a label, off the list that devices fetch."""
    from edgeline.repository import actions

    taken, outcome = actions.prune(repository, keep, signing)
    count = sum(map(len, taken.values()))
    _say(f"{count} version{'s' * (count != 1)} taken off the list", outcome)


@repository.command()
@click.argument("repository")
@_signing
def sign(repository: str, signing: tuple[str, ...]) -> None:
    """Add signatures to what waits, and renew what will expire; for people and for cron."""
    from edgeline.repository import actions

    signed, outcome = actions.sign(repository, signing)
    _say(f"Signed: {', '.join(signed) or 'nothing'}", outcome)


@repository.command("rotate-keys")
@click.argument("repository")
@click.argument("role", type=click.Choice(ROLES))
@_signing
@click.option("--add", "adding", multiple=True, metavar="REFERENCE", help="A key to add.")
@click.option("--remove", "removing", multiple=True, metavar="KEYID", help="A key to remove.")
@click.option("--threshold", type=click.IntRange(1), help="How many keys have to sign.")
def rotate_keys(repository: str, role: str, **options: Any) -> None:
    """Change the keys of ROLE: makes the next root, which devices follow by themselves."""
    from edgeline.repository import actions

    _say(f"The keys of {role} are changed", actions.rotate_keys(repository, role, **options))


@repository.command()
@click.argument("repository")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(repository: str, as_json: bool) -> None:
    """Show roles, versions, expiry, thresholds, keys and what is missing."""
    from edgeline.repository import status as statuses

    statuses.show(repository, as_json)


def _say(what: str, outcome: Outcome) -> None:
    if outcome.live:
        click.echo(f"{what}: devices will see it.")
        return
    lacks = ", ".join(
        f"{count} signature{'s' * (count > 1)} of {role}" for role, count in outcome.missing.items()
    )
    click.echo(f"{what}, but waits for {lacks or 'the other roles'}: `edgeline repository sign`.")


def _numbers(pairs: list[tuple[str, str]], kind: type) -> dict[str, Any]:
    try:
        return {role: kind(value) for role, value in pairs}
    except ValueError as error:
        raise click.UsageError(f"A number is needed: {error}.") from None
