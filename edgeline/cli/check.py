"""`edgeline check`: where will each operator of this model run?"""

from __future__ import annotations

import json
from pathlib import Path

from edgeline import artifacts
from edgeline.errors import UsageError
from edgeline.reports import terminal


def check_placement(
    model: str,
    target: str,
    compiled: str,
    require_mapped: float,
    report: str | None,
    as_json: bool,
) -> None:
    """Print a model's placement, and hold it to a share.

    Args:
        model: a .tflite file or an `edge_model/v1` folder.
        target: the device, `edgetpu`.
        compiled: the compiler's output for the same model, or "".
        require_mapped: the least share of operators that must map, 0 to 1.
        report: an HTML file to write, or None.
        as_json: print JSON instead of a table.

    Raises:
        UsageError: it is no model, or the target is unknown.
        EdgelineError: the file is damaged, or too little maps.
    """
    from edgeline.components.check import report as page
    from edgeline.components.check.check import check, require
    from edgeline.components.check.console import print_placement

    if Path(model).is_dir() and not artifacts.schema_of(model):
        raise UsageError(f"{model} is neither a .tflite file nor an edge_model/v1 folder.")
    placement = check(model, target, compiled)
    if report:
        Path(report).parent.mkdir(parents=True, exist_ok=True)
        page.write(report, placement)
    if as_json:
        print(json.dumps(placement.to_json(), indent=1))
    else:
        print_placement(terminal.console(), placement)
    require(placement, require_mapped)
