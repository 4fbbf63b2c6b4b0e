"""`edgeline verify`: is this bundle whole, and does it answer as it should?"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeline.cli.arguments import as_json, existing

if TYPE_CHECKING:
    from edgeline.artifacts.device_profile import DeviceProfile


@click.command()
@click.argument("bundle", callback=existing)
@click.option(
    "--profile",
    default="",
    callback=existing,
    help="A device profile: what edgeline benchmark measured, in place of this machine's latency.",
)
@as_json
def verify(bundle: str, profile: str, as_json: bool) -> None:
    """Check a published BUNDLE: digests, signature, recorded predictions, malformed input.

    BUNDLE is a folder, or an address as publish takes it.
    """
    from rich.markup import escape
    from rich.table import Table

    from edgeline.artifacts import device_profile, transformed
    from edgeline.components.verify.verify_bundle import verify_bundle
    from edgeline.errors import harmless
    from edgeline.reports import terminal
    from edgeline.reports.report import number, size
    from edgeline.stores.store import local_copy

    measured = device_profile.read(profile) if profile else None
    with local_copy(bundle) as folder:
        like = _likeness(Path(folder), measured, profile) if measured else ""
        found = verify_bundle(folder)
    if as_json:
        told = dataclasses.asdict(found)
        told[transformed.KEY] = [cause.to_json() for cause in found.transformed_because]
        if measured:
            told["device_profile"] = dataclasses.asdict(measured)
        print(json.dumps(told, indent=1))
        return
    table = Table(box=None, show_header=False)
    refused = sum(case.outcome == "refused" for case in found.cases)
    latency = found.latency
    table.add_row("files", "[green]✔[/] all digests as in the manifest")
    table.add_row("signature", "[green]✔[/] as in the manifest")
    table.add_row(
        "takes",
        f"[yellow]![/] {escape(found.transformed)}"
        if found.transformed
        else "[green]✔[/] raw features",
    )
    if found.host_operations:
        table.add_row("host operations", escape(found.host_operations))
    if found.windows:
        table.add_row("a row is a window", escape(found.windows))
    table.add_row(
        "answers",
        f"[green]✔[/] {found.vector_rows} recorded rows, largest difference "
        f"{number(found.max_difference)}"
        if found.vector_rows
        else "no rows are recorded in this bundle",
    )
    unproven = ", ".join(found.not_proven_missing)
    table.add_row(
        "probes",
        "[yellow]![/] none were asked when this bundle was made: where a feature is missing or "
        "extreme, nothing is proven"
        if found.probes is None
        else f"[green]✔[/] {number(found.probes)} asked when it was verified"
        + (f"; not proven missing: {escape(unproven)}" if unproven else ""),
    )
    table.add_row(
        "malformed input",
        f"[green]✔[/] {len(found.cases)} cases: {refused} refused, the rest answered, no crash",
    )
    if measured:
        there = measured.latency
        peak = "not told" if measured.peak_bytes is None else size(measured.peak_bytes)
        about = ", ".join(filter(None, (measured.measured_at[:10], like, *measured.caveats)))
        table.add_row(
            "latency there",
            f"p50 {there.p50_ms:.3f} ms, p99 {there.p99_ms:.3f} ms, peak memory {peak}: on "
            f"{escape(harmless(measured.device.name))}, {escape(about)}",
        )
    else:
        table.add_row(
            "latency here",
            f"p50 {latency.p50_ms:.3f} ms, p99 {latency.p99_ms:.3f} ms, "
            f"peak memory {size(latency.peak_bytes or 0)}",
        )
    console = terminal.console()
    console.print(f"[bold]{found.name}[/] version {found.version}")
    console.print(table)


def _likeness(folder: Path, measured: DeviceProfile, path: str) -> str:
    """How the bundle's model is that of a profile; see `device_profile.likeness`."""
    from edgeline.artifacts import bundle, device_profile
    from edgeline.errors import EdgelineError

    model = folder / bundle.read(folder).model
    found = device_profile.likeness(model, measured.model_sha256, measured.graph)
    if found is None:
        raise EdgelineError(
            f"{path} is of {measured.bundle} {measured.version}, whose model has another graph: "
            "measure this bundle with edgeline benchmark."
        )
    return found
