"""The generic pipeline: ingest, validate, transform, train, analyze, convert, verify, publish.

`analyze` must bless the model and `verify` approve the edge model, or the steps after them do
not run. `model_card` shows all on one page, `notify` tells the end, good or bad.
"""

from __future__ import annotations

from typing import Any

from kfp import dsl

from edgeline.components.faces import convert, model_card, verify
from edgeline.pipelines.learning import learn
from edgeline.pipelines.reading import explained, fields, limits, read
from edgeline.pipelines.release import delivery, ended, publish_and_serve
from edgeline.pipelines.specialise import Channels, Generic
from edgeline.pipelines.specialise import specialise as of_generic


def graph(form: Channels) -> None:
    """From raw rows to a published edge model."""
    with dsl.ExitHandler(ended(form), name="from data to bundle"):
        settings = form.settings()
        examples = read(form, settings, "rename").outputs["examples"]
        learned = learn(form, settings, examples)
        with dsl.If(learned.blessed == True, name="if blessed"):  # noqa: E712
            converted = convert(
                model=learned.model,
                examples=examples,
                decision_threshold=learned.decision_threshold,
                **fields(settings, "quantisation", "representative_rows", "requirements"),
            ).set_display_name("convert to LiteRT")
            verified = verify(
                model=learned.model,
                edge_model=converted.outputs["edge_model"],
                examples=examples,
                **limits(settings),
            ).set_display_name("verify the edge model")
            with dsl.If(verified.outputs["approved"] == True, name="if approved"):  # noqa: E712
                publish_and_serve(
                    settings,
                    edge_model=converted.outputs["edge_model"],
                    evaluation=learned.evaluation,
                    verification=verified.outputs["verification"],
                    name=form["model_name"],
                    **delivery(form, settings),
                )
            model_card(
                model=learned.model,
                edge_model=converted.outputs["edge_model"],
                verification=verified.outputs["verification"],
                evaluation=learned.evaluation,
                name=form["model_name"],
                **fields(settings, "card"),
            ).set_display_name("write the model card")
            explained(settings, learned, converted.outputs["edge_model"], examples)


tabular = Generic("tabular", graph)


def specialise(name: str, description: str, **defaults: Any) -> Any:
    """The generic pipeline under another name and with other defaults.

    Raises:
        UsageError: it has no such parameter, or a value is not one.
    """
    return of_generic(tabular, name, description, **defaults)
