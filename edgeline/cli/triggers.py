"""`edgeline triggers`."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeline.cli import http_options
from edgeline.cli.arguments import as_json, existing, new_folder
from edgeline.cli.told import Told, telling

if TYPE_CHECKING:
    from edgeline.triggers.dry_run import DryRun, Rehearsal

STATE = "edgeline-triggers"
TOKEN = "EDGELINE_TRIGGERS_TOKEN"
FLEET_TOKEN = "EDGELINE_FLEET_TOKEN"
_MIB = 1 << 20
_state = click.option(
    "--state",
    default=STATE,
    show_default=True,
    callback=new_folder,
    help="The folder of what was decided and run.",
)
_keys = click.option(
    "--webhook-key",
    "keys",
    multiple=True,
    metavar="FILE",
    callback=existing,
    help="A file with the key that signs events, as edgeline serve's. Repeatable, for a new key.",
)


@click.group()
def triggers() -> None:
    """Start runs by events: drift, values out of range, decay, a schedule."""


@triggers.command()
@click.argument("file", callback=existing)
@click.option(
    "--dry-run",
    metavar="EVENTS",
    callback=existing,
    help="Run nothing: show what would have come of EVENTS, JSON lines of CloudEvents.",
)
@_state
@_keys
@click.option(
    "--device-keys",
    metavar="FILE",
    callback=existing,
    help="A JSON file with the public keys of devices, one of which has to sign what is of it.",
)
@click.option(
    "--fleet",
    metavar="URL",
    help="The same, with the keys that edgeline fleet serve knows. EDGELINE_FLEET_TOKEN may hold a "
    "bearer token of the scope read for it.",
)
@http_options.listening(
    port=8090,
    max_body=_MIB,
    tokens="A file of token digests and scopes, as edgeline serve's; none: events are signed "
    "alone.",
)
@click.option(
    "--rate",
    default=50.0,
    show_default=True,
    type=click.FloatRange(0, 1e6, min_open=True),
    help="Requests with events per second of one client, and events of one device by MQTT.",
)
@click.option("--mqtt", metavar="URL", help="A broker of events, mqtts://HOST/PREFIX, beside HTTP.")
@click.option(
    "--mqtt-login", metavar="FILE", help="Its first line is USER:PASSWORD for the broker."
)
@click.option("--mqtt-ca", metavar="FILE", help="A PEM file of the CA of the broker's certificate.")
@click.option("--mqtt-certificate", metavar="FILE", help="A PEM file that the broker is shown.")
@click.option("--mqtt-key", metavar="FILE", help="A PEM file with its private key.")
@http_options.logging()
@as_json
def serve(
    file: str,
    dry_run: str | None,
    state: str,
    keys: tuple[str, ...],
    device_keys: str | None,
    fleet: str | None,
    rate: float,
    mqtt: str | None,
    mqtt_login: str | None,
    mqtt_ca: str | None,
    mqtt_certificate: str | None,
    mqtt_key: str | None,
    form: str,
    as_json: bool,
    **http: Any,
) -> None:
    """Take events over HTTP, and from an MQTT broker, and start the runs that FILE says.

    A restart goes on where it was: runs that have begun are found again. With --dry-run nothing
    listens, and with --json each line of EVENTS is one of JSON.
    """
    if dry_run is not None:
        _rehearse(file, dry_run, as_json)
        return
    if as_json:
        raise click.UsageError("--json is for --dry-run: give that, too, or leave it out.")
    if device_keys and fleet:
        raise click.UsageError("--device-keys and --fleet both have the keys: leave one out.")
    from edgeline.server.settings import ServerSettings
    from edgeline.server.watching import logs, mqtt_broker
    from edgeline.triggers.serving import TriggerSettings
    from edgeline.triggers.serving import serve as work

    login = mqtt_broker.MqttLogin(mqtt_login, mqtt_certificate, mqtt_key, mqtt_ca)
    if mqtt is None and login != mqtt_broker.MqttLogin():
        raise click.UsageError("The options --mqtt-... are for --mqtt: give that, too.")
    if mqtt is not None and (device_keys or fleet):
        raise click.UsageError(
            "What comes by --mqtt is held to the topic of its device, not to its key: leave it or "
            "--fleet and --device-keys out."
        )
    broker = mqtt_broker.broker(mqtt, login) if mqtt is not None else None
    settings = TriggerSettings(
        Path(state),
        ServerSettings(**http, max_buffered=64 * _MIB, log=form),
        *(keys, rate, device_keys or fleet, os.environ.get(FLEET_TOKEN, "")),
        mqtt=broker,
    )
    logs.set_up(form)
    work(Path(file), settings, lambda port: click.echo(f"READY http={port}"))


@triggers.command()
@click.argument("file", callback=existing)
@telling
def check(told: Told, file: str) -> None:
    """Check FILE, and that its pipelines take the parameters."""
    from edgeline.triggers.serving import read

    rules = read(Path(file)).rules
    for rule in rules:
        quorum = f"{rule.quorum} of {rule.of}" if rule.of else str(rule.quorum)
        events = f"{', '.join(rule.signals)} of {rule.model or 'any model'}"
        told(
            f"{rule.name}: {events}, quorum {quorum} within {rule.within:g} s, runs "
            f"{rule.run.pipeline} ({rule.run.where}), then {rule.then}"
        )
    told("", rules=[rule.name for rule in rules])


@triggers.command()
@click.argument("file", callback=existing)
@_state
@click.option("--events", is_flag=True, help="Print the events that are remembered, as JSON lines.")
@as_json
def show(file: str, state: str, events: bool, as_json: bool) -> None:
    """Show what the rules of FILE wait for, and what has run; also beside a server."""
    from edgeline.triggers import rules, showing
    from edgeline.triggers.store import TriggerStore

    store = TriggerStore(rules.read(file), Path(state), read_only=True)
    if events:
        for line in store.events():
            click.echo(line)
        return
    found = showing.state(store, time.time())
    if as_json:
        click.echo(json.dumps(found, indent=1))
        return
    for rule in found["rules"]:
        click.echo(f"{rule['name']}: {'; '.join(rule['waits_for']) or 'runs at the next look'}.")
        for run in rule["runs"]:
            _tell_run(run)
    for run in found["runs_of_other_rules"]:
        _tell_run(run)
    counts = ", ".join(f"{count} {name}" for name, count in sorted(found["events"].items()))
    click.echo(f"Events: {counts or 'none'}; {found['remembered']} are remembered.")


@triggers.command()
@click.argument("file", callback=existing)
@as_json
def argo(file: str, as_json: bool) -> None:
    """Print FILE as Argo Events' EventSource and Sensor, as far as these can tell it.

    A comment names what they do not tell, and rules that are left out.
    """
    from edgeline.triggers import argo as work
    from edgeline.triggers import rules

    declared = rules.read(file)
    if as_json:
        found = {"documents": work.documents(declared), "untold": work.untold(declared)}
        click.echo(json.dumps(found, indent=1))
    else:
        click.echo(work.manifests(declared), nl=False)


@triggers.command()
@click.argument("url")
@click.argument("kind")
@click.option("--model", default="", help="The model that it is about.")
@click.option("--feature", default="", help="The feature that it names.")
@click.option("--device", default="", help="Whose event it is; by default this machine's.")
@click.option("--webhook-key", "key", metavar="FILE", callback=existing, help="The key to sign by.")
@telling
def send(
    told: Told, url: str, kind: str, model: str, feature: str, device: str, key: str | None
) -> None:
    """Send an event of KIND to URL, such as http://127.0.0.1:8090/events.

    KIND is schedule, drift, range, decay or a whole type.

    A bearer token is read from EDGELINE_TRIGGERS_TOKEN, if set.
    """
    from edgeline.monitoring.cloud_events import check_url, read_key
    from edgeline.triggers import sending

    made = sending.made(kind, model, feature, device)
    answer = sending.send(check_url(url, "URL"), made, read_key(key), os.environ.get(TOKEN, ""))
    for each in answer.get("events", ()):
        told(f"{each['id']}: {each['result']}", **answer)


def _tell_run(run: dict[str, Any]) -> None:
    said = f": {run['said']}" if run["said"] else ""
    on = f" in {run['feature']}" if run["feature"] else ""
    click.echo(
        f"  {run['mark']} {run['state']}, decided {run['decided']} by {len(run['devices'])} "
        f"devices{on}{said}"
    )


def _rehearse(file: str, events: str, as_json: bool) -> None:
    from edgeline.triggers import rules
    from edgeline.triggers.dry_run import DryRun

    rehearsal = DryRun(rules.read(file))
    with open(events, "rb") as stream:
        for each in rehearsal.replay(stream):
            _tell_line(each, as_json)
    if as_json:
        click.echo(json.dumps({"runs": len(rehearsal.firings()), **_totals(rehearsal)}))
        return
    counts = ", ".join(f"{count} {name}" for name, count in sorted(rehearsal.counts.items()))
    click.echo(f"{len(rehearsal.firings())} runs; events: {counts or 'none'}. Nothing was run.")
    for name, why in rehearsal.waits().items():
        click.echo(f"{name} then waits: {'; '.join(why)}.")


def _totals(rehearsal: DryRun) -> dict[str, Any]:
    return {"events": dict(rehearsal.counts), "waits_for": rehearsal.waits()}


def _tell_line(found: Rehearsal, as_json: bool) -> None:
    from edgeline.triggers.judging import told
    from edgeline.triggers.showing import run

    if as_json:
        identity = {"source": found.event.source, "id": found.event.id} if found.event else {}
        fired = [run(each) for each in found.fired]
        line = {"line": found.line, **identity, "result": found.result, "runs": fired}
        click.echo(json.dumps(line))
        return
    if found.event is None:
        click.echo(f"line {found.line}: {found.result}")
    else:
        event = found.event
        click.echo(f"{told(event.time)} {event.type} {event.source} {event.id}: {found.result}")
    for each in found.fired:
        order = each.ordered.run
        on = f" in {each.feature}" if each.feature else ""
        click.echo(
            f"  {told(each.decided)} {each.rule} would run {order.pipeline} ({order.where}): "
            f"{len(each.devices)} devices{on}"
        )
