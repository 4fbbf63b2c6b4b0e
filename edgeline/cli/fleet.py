"""`edgeline fleet`."""

from __future__ import annotations

import click

from edgeline.cli.fleet_serve import revoke, serve, show, token
from edgeline.cli.fleet_watch import watch


@click.group()
def fleet() -> None:
    """A fleet of devices: who they are, what they run, and which wave is open."""


for command in (serve, token, revoke, show, watch):
    fleet.add_command(command)
