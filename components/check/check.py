"""The static placement check: where every operator will run, before a compiler is there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edgeline import artifacts
from edgeline.artifacts import models
from edgeline.components.check import edgetpu_placement, mobile_gpu
from edgeline.components.check import report as page
from edgeline.components.check.placement import Placement
from edgeline.errors import EdgelineError, UsageError, did_you_mean
from edgeline.formats import tflite
from edgeline.runtimes import child, limits

SCHEMA = "placement/v1"
EDGETPU, MOBILE_GPU = edgetpu_placement.TARGET, mobile_gpu.TARGET
TARGETS = (EDGETPU, MOBILE_GPU)
WORDS = {EDGETPU: "the Edge TPU", MOBILE_GPU: "LiteRT's GPU delegate"}


def check(
    model: str | Path,
    target: str = EDGETPU,
    compiled: str | Path = "",
    multiple_subgraphs: bool = False,
) -> Placement:
    """Predict where each operator of a model will run; a child with limits reads it.

    Args:
        model: a .tflite file, or an `edge_model/v1` folder.
        target: one of `TARGETS`, those with a table of rules.
        compiled: the same model after the target's compiler, to stand beside; empty for none.
        multiple_subgraphs: as the Edge TPU's compiler places it with its option `-a`.

    Raises:
        EdgelineError: no such target, or a file that is missing, no model or damaged.
        UsageError: `compiled` or `multiple_subgraphs` with another target than `edgetpu`.
    """
    possible(target, compiled, multiple_subgraphs)
    path = Path(model)
    if path.is_dir():
        if artifacts.schema_of(path) == models.ONNX_SCHEMA:
            raise EdgelineError(
                f"{model} is an ONNX model, and {WORDS[target]} takes LiteRT alone: import the "
                "LiteRT file, SavedModel or Keras file that it was made of."
            )
        path = models.edge_model_path(artifacts.read(path, models.EDGE_SCHEMA))
    given = (path, Path(compiled) if compiled else None)
    try:
        found: Placement = child.call(
            _place, *given, target, multiple_subgraphs, memory=limits.room(*given)
        )
    except child.ChildError as error:
        raise EdgelineError(
            f"{path} {error.how} while it was {error.doing}{child.last_error(error.log)}: "
            "convert it again."
        ) from error
    return found


def _place(
    tell: Callable[[str], None],
    path: Path,
    compiled: Path | None,
    target: str,
    multiple_subgraphs: bool,
) -> Placement:
    tell("read")
    model, truth = tflite.read(path), tflite.read(compiled) if compiled else None
    tell("placed")
    if target == MOBILE_GPU:
        return mobile_gpu.place(model)
    return edgetpu_placement.place(model, truth, multiple_subgraphs)


def possible(target: str, compiled: str | Path = "", multiple_subgraphs: bool = False) -> None:
    """Refuse what no check can be asked for, before anything is fetched or read.

    Raises:
        UsageError: no such target, or an option that is another target's.
    """
    if target not in TARGETS:
        raise UsageError(
            f"There is no static check for target {target!r}. "
            f"{did_you_mean(target, TARGETS, 'There is one for')} For others, compile the model."
        )
    if target != EDGETPU and (compiled or multiple_subgraphs):
        raise UsageError(
            f"{target} has no compiler, so there is no compiled model and no option -a of one: "
            f"leave them out, or check for {EDGETPU}."
        )


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
        f"operator {placement.cut} ({first.operator}) is the first that does not map: {first.fix}"
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
