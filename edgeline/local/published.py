"""A published bundle as a record, so that versions are compared as runs are."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeline.artifacts.bundle import MANIFEST, Bundle
from edgeline.artifacts.bundle import read as read_bundle
from edgeline.local.plan import PlannedTask
from edgeline.local.record import SCHEMA
from edgeline.local.runs import KeptRun
from edgeline.local.summary import numbers_in

NOT_TOLD = "not told"
MADE_WITH = ("git_commit", "run", "data_digest")  # of a bundle's provenance


def is_bundle(place: str) -> bool:
    """Whether a name is a bundle's: an address, or a folder with a manifest."""
    return "://" in place or (Path(place) / MANIFEST).is_file()


def of_bundle(place: str, folder: Path) -> KeptRun:
    """A bundle as a record of what made it, as far as its manifest tells.

    Args:
        place: what it is called by.
        folder: where it lies on this machine.

    Raises:
        EdgelineError: it is damaged.
    """
    bundle = read_bundle(folder)
    told = dict(bundle.provenance)
    made = {name: told[name] for name in MADE_WITH if told.get(name)}
    evaluation: Any = bundle.evaluation.get("metrics", {})
    tasks = {
        "analyze": _task("analyze", {"evaluation_metrics": dict(evaluation)}),
        "convert": _task(
            "convert", {"conversion_metrics": {"size_bytes": bundle.files[bundle.model]["size"]}}
        ),
        "verify": _task("verify", {"verification_metrics": _verified(bundle)}),
    }
    if digest := told.get("data_digest"):  # else nothing says which rows these were
        tasks["verify"]["digests"] = {"examples": str(digest)}
    record = {
        "schema": SCHEMA,
        "pipeline": str(told.get("pipeline", NOT_TOLD)),
        "source": "",
        "state": "published",
        "error": "",
        "started": "",
        "seconds": 0.0,
        "attempts": [{"started": ""}],
        "parameters": {
            "target": bundle.target,
            "quantisation": bundle.quantisation,
            "takes": bundle.takes,
            **made,
        },
        "pipeline_digest": NOT_TOLD,
        "edgeline": str(told.get("edgeline", NOT_TOLD)),
        "code": NOT_TOLD,
        "packages": {},
        "host": dict.fromkeys(("name", "cpus", "python"), NOT_TOLD),
        "tasks": tasks,
    }
    return KeptRun(Path(place).resolve() / f"{bundle.name}-{bundle.version}", record)


def _verified(bundle: Bundle) -> dict[str, float]:
    """The numbers of verify, called as its task calls them."""
    found = dict(numbers_in(bundle.verification))
    metrics: Mapping[str, Mapping[str, float]] = bundle.verification.get("metrics", {})
    for name, sides in metrics.items():
        found |= {f"{side}_{name}": sides[side] for side in ("edge", "cloud") if side in sides}
    return found


def _task(name: str, outputs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "state": "succeeded",
        "began": "",
        "seconds": 0.0,
        "cpu_seconds": 0.0,
        "peak_memory": 0,
        "error": "",
        "again": "",
        "log": None,
        "outputs": {key: {"uri": "", "metadata": dict(each)} for key, each in outputs.items()},
        "digests": {},
        "plan": dataclasses.asdict(PlannedTask(name, name, ())),
    }
