"""The face of choose."""

from typing import List, NamedTuple  # noqa: UP035

from kfp import dsl
from kfp.dsl import HTML, Artifact, Input, Model, Output

from edgeline.images import reference


@dsl.component(base_image=reference("pipeline"), install_kfp_package=False)
def choose(
    choice: Output[Artifact],
    choice_report: Output[HTML],
    model: Output[Model],
    edge_model: Output[Model],
    evaluation: Output[Artifact],
    verification: Output[Artifact],
    choose_by: str = "",
    direction: str = "",
    tie: str = "first",
    tie_within: float = 0.0,
    candidates: Input[List[Model]] = None,  # noqa: UP006
) -> NamedTuple("Outputs", [("found", bool), ("chosen", str)]):
    """Choose the best of the approved candidates, by a declared rule.

    The artifacts of the one that is chosen are outputs of this task; where none is approved there
    are none, and found is false.

    Args:
        choice: What became of each candidate, the best first (choice/v1).
        choice_report: The candidates as a table, with reasons.
        model: The trained model of the chosen one (model/v1).
        edge_model: Its edge model (edge_model/v1).
        evaluation: What analyze found of it (evaluation/v1).
        verification: What verify found of it (verification/v1).
        choose_by: The metric of all evaluation rows that decides; empty: auc, accuracy or
            mean_squared_error, the first that was computed.
        direction: maximize or minimize; empty: what is better of that metric, where it is known.
        tie: Of candidates that are equally good: first (in the list), smaller (edge model) or
            faster (99th percentile of latency).
        tie_within: How far below the best a candidate counts as equally good.
        candidates: What train_candidate made (candidate/v1), collected of its loop.

    Returns:
        found: Whether there is an approved candidate.
        chosen: The name of the best; empty where there is none.
    """
    from edgeline.artifacts.metadata import record
    from edgeline.artifacts.places import paths
    from edgeline.components.choose.choose import choose as work
    from edgeline.components.choose.rule import ChoiceRule

    facts = work(
        candidate_paths=paths(candidates),
        choice_path=choice.path,
        choice_report_path=choice_report.path,
        model_path=model.path,
        edge_model_path=edge_model.path,
        evaluation_path=evaluation.path,
        verification_path=verification.path,
        rule=ChoiceRule(choose_by=choose_by, direction=direction, tie=tie, tie_within=tie_within),
    )
    record(choice, facts, "chosen")
    if facts["chosen"]:
        record(model, {"edgeline_schema": facts["schemas"]["model"]})
        record(edge_model, {"edgeline_schema": facts["schemas"]["edge_model"]})
        record(evaluation, {"edgeline_schema": facts["schemas"]["evaluation"]})
        record(verification, {"edgeline_schema": facts["schemas"]["verification"]})
    return (bool(facts["chosen"]), facts["chosen"])
