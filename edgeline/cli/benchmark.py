"""`edgeline benchmark`: a bundle's model on the device that is to run it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeline.cli.arguments import existing, new_file
from edgeline.cli.told import Told, telling

if TYPE_CHECKING:
    from edgeline.artifacts.device_profile import DeviceProfile


@click.command()
@click.argument("bundle", callback=existing)
@click.option(
    "--ssh",
    "address",
    required=True,
    metavar="ADDRESS",
    help="The device: [user@]host[:port]. Its host key must be known, and your key be known to it.",
)
@click.option(
    "-o",
    "--output",
    default="device_profile.json",
    show_default=True,
    callback=new_file,
    help="The device profile to write.",
)
@click.option(
    "--python",
    default="python3",
    show_default=True,
    help="The Python there that has an interpreter, or pip.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(1, 600),
    default=10.0,
    show_default=True,
    help="For how long calls are made; heat needs minutes.",
)
@click.option(
    "--threads",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Of the interpreter.",
)
@click.option(
    "--wheels",
    default="",
    callback=existing,
    help="A folder of wheels of an interpreter, for a device without one and without an index.",
)
@telling
def benchmark(
    told: Told,
    bundle: str,
    address: str,
    output: str,
    python: str,
    seconds: float,
    threads: int,
    wheels: str,
) -> None:
    """Measure BUNDLE's model on a device through ssh, and write a device profile.

    BUNDLE is a folder, or an address as publish takes it. Nothing stays on the device.
    """
    from edgeline.artifacts import device_profile
    from edgeline.artifacts.folder import write_output
    from edgeline.devices.benchmark import measure
    from edgeline.devices.secure_shell import SshAddress
    from edgeline.stores.store import local_copy

    device = SshAddress.parse(address)
    with local_copy(bundle) as folder:
        lent = Path(wheels) if wheels else None
        found = measure(Path(folder), device, python, seconds, threads, lent)
    write_output(Path(output), device_profile.text(found))
    told("", file=output, **dataclasses.asdict(found))
    for sentence in sentences(found):
        told(sentence)
    told(f"{output} has all of it: name it in requirements.yaml as the profile of a device.")


def sentences(found: DeviceProfile) -> list[str]:
    """What a profile has, for people; what it lacks, too."""
    from edgeline.reports.report import number, size

    latency, heat, device = found.latency, found.heat, found.device
    told = [
        f"{found.bundle} {found.version} on {device.name} ({device.processor}, {device.cores} "
        f"cores, {device.system}, Linux {device.kernel}), {found.interpreter}, Python "
        f"{found.python}, threads: {found.threads}.",
        f"A call of {latency.batch} row{'s' * (latency.batch > 1)}: p50 {latency.p50_ms:.3f} ms, "
        f"p95 {latency.p95_ms:.3f} ms, p99 {latency.p99_ms:.3f} ms, of {number(latency.calls)} "
        f"calls; {number(latency.rows_per_second)} rows per second.",
        f"First answer {latency.load_ms:.1f} ms after the model's file, {latency.start_ms:.0f} ms "
        f"after the start of Python. Peak memory "
        + (size(found.peak_bytes) if found.peak_bytes is not None else "is not told")
        + ".",
    ]
    if found.rows_compared:
        told.append(
            f"Answers of {found.rows_compared} recorded rows agree, largest difference "
            f"{number(found.max_difference)}."
        )
    else:
        told.append("No answers were compared: the bundle does not have recorded rows.")
    if heat.throttled is not None:
        hot = "" if heat.celsius_most is None else f", at most {heat.celsius_most:.0f} °C"
        told.append(
            f"Throttled: {'; '.join(heat.why)}{hot}. The last calls took {heat.slowdown:.2f} times "
            "the first."
            if heat.throttled
            else f"Not throttled{hot}."
        )
    if found.energy_mj is not None:
        told.append(
            f"A call takes {found.energy_mj:.3g} mJ: {found.watts:.2f} W by {found.energy_source}, "
            "with all else that draws from it."
        )
    told += [f"Warning: measured {each}." for each in found.caveats]
    told += [f"Not measured: {what}: {why}." for what, why in found.not_measured.items()]
    if found.installed:
        told.append("The interpreter was put into a temporary folder there, which is removed.")
    return told
