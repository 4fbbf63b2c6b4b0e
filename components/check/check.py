"""The static placement check: where every operator will run, before a compiler is there."""

from __future__ import annotations

from pathlib import Path

from edgeline import artifacts
from edgeline.artifacts import models
from edgeline.components.check import report as page
from edgeline.components.check.edgetpu_placement import TARGET, Placement, place
from edgeline.errors import EdgelineError, UsageError, did_you_mean
from edgeline.formats import tflite

SCHEMA = "placement/v1"


def check(model: str | Path, target: str = TARGET, compiled: str | Path = "") -> Placement:
    """Predict where each operator of a model will run.

    Args:
        model: a .tflite file, or an `edge_model/v1` folder.
        target: `edgetpu`, the only one with a table of rules.
        compiled: the same model after the target's compiler, to stand beside; empty for none.

    Raises:
        EdgelineError: no such target, or a file that is missing, no model or damaged.
    """
    if target != TARGET:
        raise UsageError(
            f"There is no static check for target {target!r}. "
            f"{did_you_mean(target, [TARGET], 'There is one for')} For others, compile the model."
        )
    path = Path(model)
    if path.is_dir():
        if artifacts.schema_of(path) == models.ONNX_SCHEMA:
            raise EdgelineError(
                f"{model} is an ONNX model, and the Edge TPU takes LiteRT alone: import the LiteRT "
                "file, SavedModel or Keras file that it was made of."
            )
        path = models.edge_model_path(artifacts.read(path, models.EDGE_SCHEMA))
    return place(tflite.read(path), tflite.read(compiled) if compiled else None)


def require(placement: Placement, share: float) -> None:
    """Fail where less than a share of the operators is mapped.

    Raises:
        EdgelineError: `share` is not between 0 and 1, or fewer operators map.
    """
    if not 0 <= share <= 1:
        raise EdgelineError(f"require_mapped is {share}: give a share between 0 and 1.")
    if placement.share >= share:
        return
    first = placement.advice[0] if placement.advice else None
    reason = placement.failure or (
        f"operator {placement.cut} ({first.operator}) is the first that does not map: {first.mend}"
        if first
        else "it has no operators."
    )
    raise EdgelineError(
        f"{placement.model} maps {placement.share:.1%} of its operators to {placement.target}, "
        f"{share:.1%} are required; {reason}"
    )


def check_edge_model(
    edge_model_path: str | Path,
    target: str,
    require_mapped: float,
    placement_path: str | Path,
    placement_report_path: str | Path,
) -> dict[str, object]:
    """Check an edge model in a pipeline: write the placement and its page, then gate.

    Args:
        edge_model_path: an `edge_model/v1` folder or a .tflite file.
        target: what to check for.
        require_mapped: the share of operators that must map, 0 to 1.
        placement_path: the `placement/v1` folder to write; `placement.json` is `Placement.to_json`.
        placement_report_path: the HTML page to write.

    Returns:
        The metadata: `target`, `mapped_share`, `operators`, `mapped`, `left_on_cpu`.

    Raises:
        EdgelineError: as `check` and `require`; both are written before the gate fails.
    """
    placement = check(edge_model_path, target)
    page.write(placement_report_path, placement)
    facts = {
        "target": placement.target,
        "mapped_share": placement.share,
        "operators": len(placement.operators),
        "mapped": placement.mapped,
        "left_on_cpu": placement.left_on_cpu,
    }
    document = {**placement.to_json(), "model": Path(placement.model).name}
    with artifacts.writing(placement_path, SCHEMA) as draft:
        draft.metadata.update(facts)
        artifacts.write_json(draft.path / "placement.json", document)
    require(placement, require_mapped)
    return {"edgeline_schema": SCHEMA, **facts}
