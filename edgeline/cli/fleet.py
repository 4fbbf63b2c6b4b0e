"""`edgeline fleet`."""

from __future__ import annotations

import click

from edgeline.cli.fleet_serve import revoke, serve, show, token


@click.group()
def fleet() -> None:
    """A fleet of devices: who they are, what they run, and which wave is open."""


for command in (serve, token, revoke, show):
    fleet.add_command(command)
