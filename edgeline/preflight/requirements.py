"""What requirements.yaml asks: fields that it does not have, devices that nothing is made for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from edgeline.artifacts.requirements import NAME, check_devices, parse
from edgeline.errors import EdgelineError
from edgeline.preflight import tuning
from edgeline.preflight.given import GivenRun


def asked(run: GivenRun) -> Iterator[str]:
    """Requirements that the run's first task refuses, and slices by columns that are not there."""
    given = run.values.get(NAME)
    if not isinstance(given, Mapping) or not given:
        return
    try:
        wanted = parse(given)
        imported = "source" in run.values
        targets = [*(run.values.get("targets") or ()), *tuning.targets(run)]
        made = ("litert", "onnx") if imported else ("litert",)
        chosen = "" if imported else str(run.values.get("quantisation", ""))
        check_devices(wanted, made, targets, chosen)
    except EdgelineError as error:
        yield str(error)
        return
    if imported and (wanted.metrics or wanted.trend):
        yield (
            f"{NAME} has metrics or a trend of the trained model, but this pipeline evaluates "
            "none: ask for metrics of devices."
        )
    if run.header is None or run.values.get("windows"):
        return
    of_devices = [each for device in wanted.devices.values() for each in device.metrics]
    for column in sorted({c for each in (*wanted.metrics, *of_devices) for c in each.columns}):
        if column not in run.header.names:
            yield (
                f"{NAME} asks for slices by {column!r}, which is not a column of the data: its "
                f"columns are {', '.join(run.header.names[:20])}."
            )
