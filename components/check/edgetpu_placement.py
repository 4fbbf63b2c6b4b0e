"""Where each operator of a model will run, before Coral's compiler has seen it.

Every operator is asked for its rule (`edgetpu_rules`). Then the graph is cut. The compiler
is a delegate of the TensorFlow Lite interpreter and gets ONE partition, so the cut is the
interpreter's own: operators are gathered into groups that alternate between the TPU and the
CPU, each as large as the data allows, and the first group that could run on the TPU does.
An operator that waits for one left on the CPU therefore stays there too; one on a branch of
its own does not. (tensorflow/lite/graph_info.cc, coral.ai/docs/edgetpu/models-intro)
With its option `-a` the compiler takes every such group, each a segment of its own.
"""

from __future__ import annotations

import math
import re

from edgeline.components.check import edgetpu_rules as rules
from edgeline.components.check.edgetpu_compiled import CUSTOM_OPERATOR, EdgeTpuCompiled, decode
from edgeline.components.check.edgetpu_conditions import MEASURES, MET, OperatorSite
from edgeline.components.check.edgetpu_memory import Memory, Range, estimate, exactly
from edgeline.components.check.edgetpu_sizes import SIZES
from edgeline.components.check.placement import (
    NO,
    SIZE,
    YES,
    OperatorVerdict,
    PlacedOperator,
    Placement,
    advice,
    at,
    partitions,
)
from edgeline.formats.tflite import Model, Operator, Subgraph

TARGET = "edgetpu"
DEVICE = "TPU"


def place(
    model: Model, compiled: Model | None = None, multiple_subgraphs: bool = False
) -> Placement:
    """Predict the placement of a model on the Edge TPU.

    Args:
        model: the model as the converter wrote it. One that is compiled already is its own
            truth: its custom operators are what runs on the TPU.
        compiled: the same model after Coral's compiler, for comparison.
        multiple_subgraphs: as the compiler places it with its option `-a`.

    Raises:
        EdgelineError: `compiled` is damaged.
    """
    subgraph = model.subgraphs[0]
    truth = None if compiled is None else decode(compiled)
    already = [o.index for o in subgraph.operators if o.name == CUSTOM_OPERATOR]
    if already:
        truth = truth or decode(model)
    verdicts = [judge(subgraph, operator) for operator in subgraph.operators]
    failure = _failure(subgraph)
    groups: list[set[int]] = [{index} for index in already]
    if not failure and not already:
        groups = partitions(subgraph, [verdict.maps for verdict in verdicts])
        groups = groups if multiple_subgraphs else groups[:1]
    chosen = set().union(*groups)
    operators = tuple(
        _placed(subgraph, operator, verdict, operator.index in chosen)
        for operator, verdict in zip(subgraph.operators, verdicts, strict=True)
    )
    reasons = [placed for placed in operators if not placed.verdict.maps]
    return Placement(
        model=str(model.path),
        target=TARGET,
        device=DEVICE,
        operators=operators,
        failure=failure,
        cut=reasons[0].index if reasons else None,
        segments=len(groups),
        runtime=_runtime(chosen, truth if already else None),
        memory=_taken(truth) if already and truth else estimate(subgraph, sorted(chosen)),
        warnings=tuple(_warnings(model, subgraph, operators, len(groups))),
        advice=advice(reasons),
        compiled=truth,
    )


def _runtime(chosen: set[int], truth: EdgeTpuCompiled | None) -> Range:
    """The oldest Edge TPU runtime for what the compiler makes.

    The compiler writes it by its own age (16 writes 14, older ones 10, 12 or 13) or its option
    `--min_runtime_version`, whatever the documentation says of the operators.
    """
    if truth is not None:
        return exactly(truth.runtime_version)
    return Range(*rules.RUNTIMES) if chosen else exactly(0)


def _taken(truth: EdgeTpuCompiled) -> Memory:
    """What a compiled model takes, as it says itself."""
    return Memory(
        exactly(truth.cached_bytes + truth.streamed_bytes),
        exactly(truth.instruction_bytes),
        exactly(truth.cached_bytes),
        exactly(truth.streamed_bytes),
    )


def judge(subgraph: Subgraph, operator: Operator) -> OperatorVerdict:
    """What the rules say of one operator, whatever stands before it."""
    rule = rules.RULES.get(operator.name)
    if operator.name == CUSTOM_OPERATOR:
        return OperatorVerdict(YES, True, rules.MAPPED, "Compiled already.", rules.COMPILER, "", 0)
    if rule is None or operator.custom:
        kind = "custom operator" if operator.custom else "operator"
        fix = rules.CUSTOM if operator.custom else rules.OTHERWISE
        status = rules.UNKNOWN
        if not MET["rank"](OperatorSite(subgraph, operator, ())):
            status = rules.RANK
        elif operator.custom or _is_float(subgraph, operator):
            status = rules.TYPE
        return OperatorVerdict(
            NO,
            False,
            status,
            f"{operator.name} is no {kind} that the Edge TPU takes.",
            rules.OPERATIONS,
            rules.UNSUPPORTED.get(operator.name, fix),
            0,
        )
    site = OperatorSite(subgraph, operator, rule.parameters)
    for name in (*rules.EVERY, *rule.conditions):
        if not MET[name](site):
            broken = rules.CONDITIONS[name]
            status = broken.status
            if operator.name == "QUANTIZE" and name == "data_type":
                status = rules.LIMITATION  # so the compiler's log calls a float input
            return OperatorVerdict(
                NO, False, status, broken.sentence, broken.source, broken.fix, rule.runtime
            )
    runtime = rule.runtime
    if max(site.option("dilation_w", 1), site.option("dilation_h", 1)) > 1:
        runtime = max(runtime, 13)
    open_question: OperatorVerdict | None = None
    for size in SIZES.get(operator.name, ()):
        measured = MEASURES[size.measure](site)
        if measured <= size.maps:
            continue
        certain = size.fails is not None and measured >= size.fails
        middle = math.inf if size.fails is None else math.sqrt(size.maps * size.fails)
        maps = measured <= middle
        verdict = OperatorVerdict(
            NO if certain else SIZE,
            maps,
            rules.MAPPED if maps else rules.LIMITATION,
            f"{size.sentence[0].upper()}{size.sentence[1:]}; here {measured:,}.",
            size.source,
            size.fix,
            runtime,
        )
        if not maps:
            return verdict
        open_question = open_question or verdict
    return open_question or OperatorVerdict(
        YES, True, rules.MAPPED, rule.sentence, rule.source, "", runtime
    )


def _placed(
    subgraph: Subgraph, operator: Operator, verdict: OperatorVerdict, mapped: bool
) -> PlacedOperator:
    status = rules.MAPPED if mapped else rules.SECOND if verdict.maps else verdict.status
    return at(subgraph, operator, verdict, mapped, status)


def _is_float(subgraph: Subgraph, operator: Operator) -> bool:
    places = [index for index in operator.inputs + operator.outputs if index >= 0]
    return any(subgraph.tensors[index].dtype.startswith("FLOAT") for index in places)


def _failure(subgraph: Subgraph) -> str:
    for operator in subgraph.operators:
        rule = rules.RULES.get(operator.name)
        newest = rule.newest if rule else rules.PARSED.get(operator.name)
        if newest and not operator.custom and operator.version > newest:
            return (
                f"The compiler cannot parse operator {operator.index}: it knows "
                f"{operator.name} up to version {newest}, this is version {operator.version}. "
                "Build the layer from older operators (no groups in Conv2D) or convert with "
                "TensorFlow 2.5."
            )
    if not any(tensor.dtype in ("INT8", "UINT8") for tensor in subgraph.tensors):
        return "The model is not quantised: convert it to full int8 with representative examples."
    computed = {index for operator in subgraph.operators for index in operator.outputs}
    for operator in subgraph.operators:
        for position in () if operator.custom else rules.SIZED_BY.get(operator.name, ()):
            if position < len(operator.inputs) and operator.inputs[position] in computed:
                return (
                    f"The size of what operator {operator.index} ({operator.name}) computes is "
                    "known only when the model runs, and the compiler takes no such tensor: "
                    "export with a fixed input signature (keras.export.ExportArchive, batch size "
                    "1) and fixed shapes."
                )
    return ""


def _warnings(
    model: Model, subgraph: Subgraph, operators: tuple[PlacedOperator, ...], segments: int
) -> list[str]:
    found = []
    if segments > 1 and not any(placed.operator == CUSTOM_OPERATOR for placed in operators):
        found.append(
            f"{segments} parts run on the TPU, and between them data goes to the CPU and back: "
            "measure whether that is faster than one. How the compiler cuts with -a is predicted "
            "by its rules for one part; no compiled model with several was compared."
        )
    version = tuple(int(part) for part in re.findall(r"\d+", model.min_runtime_version)[:3])
    if version > rules.NEWEST_RUNTIME:
        found.append(
            f"min_runtime_version is {model.min_runtime_version}, newer than the compiler's "
            f"{'.'.join(map(str, rules.NEWEST_RUNTIME))}: an operator of it may not be parsed."
        )
    if len(model.subgraphs) > 1:
        found.append(
            f"The model has {len(model.subgraphs)} subgraphs; only the first can be compiled."
        )
    found.extend(
        f"{side} {subgraph.tensors[index].name!r} is {subgraph.tensors[index].dtype}: "
        "the CPU converts it."
        for side, places in (("Input", subgraph.inputs), ("Output", subgraph.outputs))
        for index in places
        if subgraph.tensors[index].dtype.startswith("FLOAT")
    )
    if any(subgraph.tensors[index].dynamic for index in subgraph.inputs):
        found.append("An input has a dynamic dimension: export with a fixed signature.")
    dense = sum(_per_unit(subgraph, operator) for operator in subgraph.operators)
    if dense:
        found.append(
            f"{dense} FULLY_CONNECTED have weights with a scale a unit, as TensorFlow converts "
            "them since 2024; the compiler is of 2021. Compare its answers with the CPU's, or "
            "convert with one scale a tensor (per_channel=False)."
        )
    unresolved = {
        operator.name
        for operator in subgraph.operators
        if operator.custom and operator.name not in rules.KNOWN_CUSTOM
    }
    found.extend(
        f"{name} is not a custom operator of Coral's, and the compiler stops at one that it does "
        "not know: cut the model before it, and run it on the host."
        for name in sorted(unresolved)
    )
    uncertain = sum(placed.verdict.state == SIZE for placed in operators)
    if uncertain:
        found.append(
            f"{uncertain} operators depend on a size that no document gives: "
            "only the compiler knows."
        )
    return found


def _per_unit(subgraph: Subgraph, operator: Operator) -> bool:
    """A fully connected layer whose weights have more than one scale."""
    if operator.name != "FULLY_CONNECTED" or len(operator.inputs) < 2 or operator.inputs[1] < 0:
        return False
    quantisation = subgraph.tensors[operator.inputs[1]].quantisation
    return quantisation is not None and quantisation.per_channel
