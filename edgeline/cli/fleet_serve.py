"""`edgeline fleet serve`, and what is asked of it: `token`, `revoke`, `show`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from edgeline.cli import http_options
from edgeline.cli.arguments import as_json, new_folder
from edgeline.cli.told import Told, telling
from edgeline.errors import harmless

STATE = "edgeline-fleet"
TOKEN = "EDGELINE_FLEET_TOKEN"
_KIB, _MIB = 1 << 10, 1 << 20
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def _seconds(_: click.Context, parameter: click.Parameter, value: str) -> float:
    """A time as 30m, 12h or 7d, in seconds."""
    number, unit = value[:-1], value[-1:]
    if unit not in _UNITS or not (number.isascii() and number.isdigit() and len(number) < 6):
        raise click.BadParameter(f"{value!r} is not a time: give 30m, 12h or 7d.", param=parameter)
    return int(number) * _UNITS[unit]


def _of_fleet(command: Callable[..., Any]) -> Callable[..., Any]:
    url = click.option(
        "--fleet", "url", required=True, metavar="URL", help="The address of edgeline fleet serve."
    )
    return url(command)


@click.command()
@click.option(
    "--state",
    default=STATE,
    show_default=True,
    callback=new_folder,
    help="The folder of devices, keys and statuses.",
)
@click.option(
    "--database",
    metavar="URL",
    help="postgresql://USER@HOST/NAME in place of a file in --state; the password comes from "
    "PGPASSWORD or PGPASSFILE.",
)
@click.option(
    "--drops",
    metavar="PLACE",
    help="A folder or bucket that devices write statuses to, which is read, too.",
)
@click.option(
    "--drop-poll",
    default=30.0,
    show_default=True,
    type=click.FloatRange(0.1, 86400),
    help="Seconds between two looks into --drops.",
)
@http_options.listening(
    port=8091,
    max_body=64 * _KIB,
    tokens="A file of token digests and scopes (read, metadata, admin), as edgeline serve's; none: "
    "whoever reaches it may read, and this machine alone may change.",
)
@click.option(
    "--max-connections", default=1024, show_default=True, help="Maximum number of connections."
)
@click.option(
    "--max-devices",
    default=100_000,
    show_default=True,
    type=click.IntRange(1, 10_000_000),
    help="Maximum number of devices that are enrolled.",
)
@click.option(
    "--rate",
    default=500.0,
    show_default=True,
    type=click.FloatRange(0, 1e6, min_open=True),
    help="Requests per second that one client may make; one that is refused counts ten times.",
)
@http_options.logging()
def serve(
    state: str,
    database: str | None,
    drops: str | None,
    drop_poll: float,
    max_devices: int,
    rate: float,
    form: str,
    **http: Any,
) -> None:
    """Take signed statuses of devices, and tell what the fleet runs: a page, JSON, metrics.

    A status is answered once it is on the disk.
    """
    from edgeline.fleet.serving import FleetSettings
    from edgeline.fleet.serving import serve as work
    from edgeline.server.settings import ServerSettings
    from edgeline.server.watching import logs

    settings = FleetSettings(
        Path(state),
        ServerSettings(**http, max_buffered=64 * _MIB, log=form),
        *(database, rate, max_devices, drops, drop_poll),
    )
    logs.set_up(form)
    work(settings, lambda port: click.echo(f"READY http={port}"))


@click.command()
@_of_fleet
@click.option("--for", "device", default="", metavar="NAME", help="The device that may enrol.")
@click.option(
    "--groups", default="", help="Groups of the device, comma-separated; without --for any device."
)
@click.option(
    "--expires",
    default="24h",
    show_default=True,
    callback=_seconds,
    help="How long it is good for: 30m, 12h, 7d.",
)
@click.option(
    "--number", default=1, show_default=True, help="How many, each for one device, without --for."
)
@telling
def token(told: Told, url: str, device: str, groups: str, expires: float, number: int) -> None:
    """Make a token that enrols one device, once.

    Without --for it is for any device that is not in the fleet yet. The admin's bearer token is
    read from EDGELINE_FLEET_TOKEN, if set.
    """
    from edgeline.fleet.asking import ask

    if not device and not groups:
        raise click.UsageError("Whose token is it? Give --for NAME or --groups.")
    body = {
        "device": device,
        "groups": [group.strip() for group in groups.split(",") if group.strip()],
        "seconds": expires,
        "number": number,
    }
    found = ask(url, "/v1/fleet/tokens", os.environ.get(TOKEN, ""), body=body)
    told("", expires=found["expires"], names=found["names"], tokens=found["tokens"])
    if not told.as_json:
        for each in found["tokens"]:
            told(each)
        click.echo(f"Good until {found['expires']}, for one device each.", err=True)


@click.command()
@click.argument("device")
@_of_fleet
@telling
def revoke(told: Told, device: str, url: str) -> None:
    """Trust DEVICE no more, as when it is lost: its statuses are refused.

    The admin's bearer token is read from EDGELINE_FLEET_TOKEN, if set.
    """
    from edgeline.fleet.asking import ask

    found = ask(url, "/v1/fleet/revoke", os.environ.get(TOKEN, ""), body={"device": device})
    told(f"{found['device']} is revoked since {found['revoked']}.", **found)


@click.command()
@_of_fleet
@click.option("--model", default="", help="Of one model alone.")
@click.option("--search", default="", metavar="TEXT", help="Devices whose names have TEXT.")
@click.option(
    "--outcome",
    default="",
    help="Devices where a version is serving, trying, failed, waiting or returned.",
)
@click.option(
    "--devices",
    "listed",
    default="",
    metavar="STATE",
    help="Devices: current, stale, silent, revoked.",
)
@click.option("--limit", default=100, show_default=True, help="Devices that are shown at most.")
@as_json
def show(
    url: str, model: str, search: str, outcome: str, listed: str, limit: int, as_json: bool
) -> None:
    """Show the fleet's versions, or with --search, --outcome or --devices its devices.

    A bearer token of the scope read is read from EDGELINE_FLEET_TOKEN, if set.
    """
    from edgeline.fleet.asking import ask

    bearer = os.environ.get(TOKEN, "")
    if search or outcome or listed:
        query = {"q": search, "model": model, "outcome": outcome, "state": listed, "limit": limit}
        found = ask(url, "/v1/fleet/devices", bearer, query)
        lines = _device_lines(found)
    else:
        found = ask(url, "/v1/fleet/versions", bearer, {"model": model})
        lines = _version_lines(found)
    if as_json:
        click.echo(json.dumps(found, indent=1))
        return
    for line in lines:
        click.echo(harmless(line))


def _version_lines(found: dict[str, Any]) -> list[str]:
    names = ("devices", "serving", "failed", "drift", "decay", "stale")
    rows = [["model", "version", *names, "p95 ms"]]
    for each in found["models"]:
        latency = each["latency_p95_ms"]
        rows.append(
            [
                *(each["model"], str(each["version"])),
                *("–" if each[name] is None else str(each[name]) for name in names),
                "–" if latency is None else f"{latency:g}",
            ]
        )
    return _table(rows) if len(rows) > 1 else ["No device has told of a model yet."]


def _device_lines(found: dict[str, Any]) -> list[str]:
    rows = [["device", "state", "seen", "runs"]]
    for each in found["devices"]:
        runs = ", ".join(
            f"{model['model']} {model['version']} {model['outcome']}" for model in each["models"]
        )
        rows.append([each["device"], each["state"], each["seen"] or "never", runs or "–"])
    lines = _table(rows) if len(rows) > 1 else ["There is no such device."]
    return [*lines, "There are more: raise --limit."] if found["next"] else lines


def _table(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
