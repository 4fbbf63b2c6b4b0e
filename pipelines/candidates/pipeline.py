"""Several candidates side by side: the best approved one is published, the others wait.

The data are read, validated and transformed once. Each candidate is one task, so that what fails is
a candidate and not the run, and so that a run's workflow grows by one task for each.
"""

from __future__ import annotations

from kfp import dsl

from edgeline.components.faces import (
    choose,
    model_card,
    publish_candidates,
    train_candidate,
)
from edgeline.pipelines.learning import prepare
from edgeline.pipelines.reading import fields, limits, read
from edgeline.pipelines.release import delivery, ended, publish_and_serve
from edgeline.pipelines.specialise import Channels, Generic, specialise


def _graph(form: Channels) -> None:
    """From raw rows to the best of several edge models."""
    with dsl.ExitHandler(ended(form), name="from data to the best bundle"):
        settings = form.settings()
        examples = read(form, settings, "rename").outputs["examples"]
        checked, made = prepare(form, settings, examples)
        # always so: kfp.local finds what a loop goes through only in a group around it
        with dsl.If(settings.outputs["has_candidates"] == True, name="if there are candidates"):  # noqa: E712
            with dsl.ParallelFor(
                settings.outputs["each_candidate"], name="for each candidate"
            ) as each:
                tried = train_candidate(
                    examples=examples,
                    schema=checked.outputs["schema"],
                    transform_graph=made.outputs["transform_graph"],
                    transformed_examples=made.outputs["transformed_examples"],
                    module=form["module"],
                    label=form["label"],
                    name=each.candidate,
                    place=each.place,
                    own_module=each.own_module,
                    training=each.training,
                    rows=each.rows,
                    **fields(settings, "beam_options", "analyzer_cache", "weight_column"),
                    **fields(settings, "eval_config", "baseline_model_uri", "decision_goal"),
                    **fields(settings, "quantisation", "representative_rows"),
                    **limits(settings),
                ).set_display_name("train the candidate")
            # beside the loop: an inner If would get one of the collected artifacts only
            chosen = choose(
                candidates=dsl.Collected(tried.outputs["candidate"]),
                **fields(settings, "choose_by", "direction", "tie", "tie_within"),
            ).set_display_name("choose the best")
            # before the best: a baseline that is the latest published is that of the others, too
            to_wait = {k: x for k, x in delivery(form, settings).items() if k != "candidate"}
            others = publish_candidates(
                candidates=dsl.Collected(tried.outputs["candidate"]),
                choice=chosen.outputs["choice"],
                name=form["model_name"],
                **to_wait,
            ).set_display_name("publish the others to wait")
            with dsl.If(chosen.outputs["found"] == True, name="if one is approved"):  # noqa: E712
                publish_and_serve(
                    settings,
                    after=(others,),
                    title="publish the best",
                    edge_model=chosen.outputs["edge_model"],
                    evaluation=chosen.outputs["evaluation"],
                    verification=chosen.outputs["verification"],
                    name=form["model_name"],
                    **delivery(form, settings),
                )
                model_card(
                    model=chosen.outputs["model"],
                    edge_model=chosen.outputs["edge_model"],
                    verification=chosen.outputs["verification"],
                    evaluation=chosen.outputs["evaluation"],
                    name=form["model_name"],
                    **fields(settings, "card"),
                ).set_display_name("write the model card")


pipeline = specialise(
    Generic("candidates", _graph), "candidates", "Several models side by side, the best published."
)
