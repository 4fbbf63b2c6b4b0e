"""Where each operator of a model will run on a phone with LiteRT's GPU delegate.

The delegate takes operators by `mobile_gpu_rules`. Those that it takes form parts, cut as the
interpreter cuts them; by default it gets the largest part alone (max_delegated_partitions is 1),
and each further one costs a copy to the GPU and back.
(www.tensorflow.org/lite/performance/gpu, tensorflow/lite/delegates/gpu/delegate_options.h)
"""

from __future__ import annotations

from edgeline.components.check import mobile_gpu_rules as rules
from edgeline.components.check.edgetpu_conditions import OperatorSite
from edgeline.components.check.placement import (
    NO,
    YES,
    OperatorVerdict,
    Placement,
    advice,
    at,
    partitions,
)
from edgeline.formats.tflite import Model, Operator, Subgraph

TARGET = "mobile-gpu"
DEVICE = "GPU"
TAKEN, LEFT = "Taken by the GPU delegate", "Left to the CPU"
OTHERWISE = "Replace it by operators of the table, or put it before or behind all that is taken."


def place(model: Model) -> Placement:
    """Predict what LiteRT's GPU delegate takes of a model, operator by operator."""
    subgraph = model.subgraphs[0]
    verdicts = [judge(subgraph, operator) for operator in subgraph.operators]
    groups = partitions(subgraph, [verdict.maps for verdict in verdicts])
    operators = tuple(
        at(subgraph, operator, verdict, verdict.maps, verdict.status)
        for operator, verdict in zip(subgraph.operators, verdicts, strict=True)
    )
    reasons = [placed for placed in operators if not placed.mapped]
    return Placement(
        model=str(model.path),
        target=TARGET,
        device=DEVICE,
        operators=operators,
        failure="",
        cut=reasons[0].index if reasons else None,
        segments=len(groups),
        runtime=None,
        memory=None,
        warnings=tuple(_warnings(model, subgraph, groups)),
        advice=advice(reasons),
    )


def judge(subgraph: Subgraph, operator: Operator) -> OperatorVerdict:
    """What the rules say of one operator."""
    conditions = rules.RULES.get(operator.name)
    if operator.custom:
        conditions = () if operator.name in rules.CUSTOM else None
    if conditions is None:
        kind = "custom operator" if operator.custom else "operator"
        sentence = f"{operator.name} is no {kind} that the GPU delegate takes."
        return OperatorVerdict(NO, False, LEFT, sentence, rules.OPERATORS, OTHERWISE, 0)
    site = OperatorSite(subgraph, operator, ())
    for condition in (*conditions, *rules.SHAPES_AND_TYPES):
        if not condition.met(site):
            return OperatorVerdict(
                NO, False, LEFT, condition.sentence, condition.source, condition.fix, 0
            )
    return OperatorVerdict(YES, True, TAKEN, "Taken.", rules.OPERATORS, "", 0)


def _warnings(model: Model, subgraph: Subgraph, groups: list[set[int]]) -> list[str]:
    found = [
        "The delegate's own check of operators; what a phone's driver does with them is known "
        "there alone: measure with LiteRT's benchmark_model --use_gpu=true."
    ]
    if len(groups) > 1:
        largest = max(map(len, groups))
        found.append(
            f"What the GPU takes lies in {len(groups)} parts; by default the delegate runs the "
            f"largest alone, {largest} of {sum(map(len, groups))} operators."
        )
    if len(model.subgraphs) > 1:
        found.append(
            f"The model has {len(model.subgraphs)} subgraphs; only the first is checked: the "
            "others belong to IF, WHILE and CALL, which stay on the CPU."
        )
    if any(tensor.dynamic for tensor in subgraph.tensors):
        found.append(
            "A dimension is dynamic, and the delegate takes fixed shapes alone: export "
            "with a fixed input signature (keras.export.ExportArchive)."
        )
    return found
