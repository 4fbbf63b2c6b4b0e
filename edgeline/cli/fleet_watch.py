"""`edgeline fleet watch`."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import click

from edgeline.cli.arguments import existing
from edgeline.errors import UsageError, harmless

if TYPE_CHECKING:
    from edgeline.artifacts.waves import WavePlan

TOKEN = "EDGELINE_FLEET_TOKEN"


@click.command()
@click.argument("rules", callback=existing)
@click.option("--fleet", "url", required=True, metavar="URL", help="The fleet's server.")
@click.option("--repository", required=True, help="The signed repository.")
@click.option(
    "--key",
    "signing",
    multiple=True,
    metavar="REFERENCE",
    help="A key to sign with: a .pem file, a folder of .pem files, or env:NAME. Repeatable.",
)
@click.option(
    "--token-file",
    metavar="FILE",
    callback=existing,
    help="The token by which the fleet's server is read; by default EDGELINE_FLEET_TOKEN.",
)
@click.option("--once", is_flag=True, help="Look once; 1 where something could not be looked at.")
@click.option("--dry-run", is_flag=True, help="Do nothing: show what would be done.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines.")
def watch(
    rules: str,
    url: str,
    repository: str,
    signing: tuple[str, ...],
    token_file: str | None,
    once: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Open the next wave of versions, or withdraw them, by the limits in RULES.

    Each look prints what was decided about each version, and why.
    """
    from edgeline.fleet import answers, watch_rules, watching
    from edgeline.monitoring.cloud_events import check_url
    from edgeline.repository import keys, roles
    from edgeline.repository.place import open_place

    declared = watch_rules.read(rules)
    place = check_url(url, "fleet")
    if not signing and not dry_run:
        raise UsageError("Waves are signed: give --key, or --dry-run to sign nothing.")
    roles.read(open_place(repository))
    keys.signers(signing)
    token = _token(token_file)

    def tell(told: dict[str, Any]) -> None:
        for line in [json.dumps(told)] if as_json else watching.sentences(told):
            click.echo(harmless(line))
        sys.stdout.flush()

    def ask(model: str, plans: Mapping[int, tuple[WavePlan, int]]) -> answers.FleetAnswer:
        return answers.ask(place, model, token, plans)

    watched = watching.FleetWatch(declared, repository, ask, tell, signing, dry_run)
    if once:
        sys.exit(0 if watched.look() else 1)
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    watched.run(stop)


def _token(file: str | None) -> str:
    """The bearer token; "" for none."""
    from edgeline.formats import plain_file

    if file is None:
        return os.environ.get(TOKEN, "").strip()
    try:
        return plain_file.read_text(Path(file), 1 << 16).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--token-file {file} cannot be read ({error}).") from error
