"""The vision pipeline: image files to float, integer and compiled edge models, all verified.

`analyze` must bless the model, `check` find the integer model on the accelerator, and `verify`
approve each edge model, or the steps after them do not run. `notify` tells the end.
"""

from __future__ import annotations

from kfp import dsl

from edgeline.components.faces import (
    check,
    compile,  # noqa: A004
    convert,
    model_card,
    publish,
    verify,
)
from edgeline.images import reference
from edgeline.pipelines.learning import learn
from edgeline.pipelines.reading import explained, fields, limits, read
from edgeline.pipelines.release import delivery, ended, publish_and_serve
from edgeline.pipelines.specialise import Channels, Generic, specialise


def _graph(form: Channels) -> None:
    """From image files to published edge models.

    The integer model is published under the model's name, the float model with the suffix -float.
    """
    with dsl.ExitHandler(ended(form), name="from images to bundles"):
        settings = form.settings()
        examples = read(form, settings, "rename").outputs["examples"]
        learned = learn(form, settings, examples)
        with dsl.If(learned.blessed == True, name="if blessed"):  # noqa: E712
            integer = convert(
                model=learned.model,
                examples=examples,
                quantisation="int8",
                batch=1,
                decision_threshold=learned.decision_threshold,
                **fields(settings, "representative_rows", "io", "requirements"),
            ).set_display_name("convert to int8")
            placed = check(
                edge_model=integer.outputs["edge_model"],
                target="edgetpu",
                **fields(settings, "require_mapped"),
            ).set_display_name("check for the Edge TPU")
            compared = verify(
                model=learned.model,
                edge_model=integer.outputs["edge_model"],
                examples=examples,
                **limits(settings),
            ).set_display_name("verify int8")
            provenance = {
                "evaluation": learned.evaluation,
                **delivery(form, settings),
            }
            with dsl.If(compared.outputs["approved"] == True, name="if int8 is approved"):  # noqa: E712
                publish_and_serve(
                    settings,
                    after=(placed,),
                    title="publish int8",
                    edge_model=integer.outputs["edge_model"],
                    verification=compared.outputs["verification"],
                    name=form["model_name"],
                    **provenance,
                )
            floating = convert(
                model=learned.model,
                examples=examples,
                quantisation="float",
                **fields(settings, "representative_rows", "requirements"),
                decision_threshold=learned.decision_threshold,
            ).set_display_name("convert to float")
            equal = verify(
                model=learned.model,
                edge_model=floating.outputs["edge_model"],
                examples=examples,
                **limits(settings),
            ).set_display_name("verify float")
            with dsl.If(equal.outputs["approved"] == True, name="if float is approved"):  # noqa: E712
                publish(
                    edge_model=floating.outputs["edge_model"],
                    verification=equal.outputs["verification"],
                    name=f"{form['model_name']}-float",
                    **provenance,
                ).set_display_name("publish float")
            described = {
                "model": learned.model,
                "edge_model": integer.outputs["edge_model"],
                "float_model": floating.outputs["edge_model"],
                "verification": compared.outputs["verification"],
                "float_verification": equal.outputs["verification"],
                "placement": placed.outputs["placement"],
                "name": form["model_name"],
                **fields(settings, "card"),
            }
            with dsl.If(settings.outputs["has_targets"] == False, name="if there is no target"):  # noqa: E712
                model_card(**described).set_display_name("write the model card")
            with dsl.Else(name="if there are targets"):
                with dsl.ParallelFor(
                    settings.outputs["each_target"], name="for each target"
                ) as target:
                    built = (
                        compile(
                            edge_model=integer.outputs["edge_model"],
                            model=learned.model,
                            target=target,
                            required=False,
                            requirements=settings.outputs["requirements"],
                        )
                        .set_display_name("compile for the target")
                        .after(placed)
                    )
                    proven = (
                        verify(
                            model=learned.model,
                            edge_model=integer.outputs["edge_model"],
                            compiled_model=built.outputs["compiled_model"],
                            examples=examples,
                            **limits(settings),
                        )
                        .set_display_name("verify for the target")
                        .set_container_image(
                            reference("compile")
                        )  # where the targets' runtimes are
                    )
                    fit = proven.outputs["approved"] == True  # noqa: E712
                    with dsl.If(fit, name="if the target is approved"):
                        publish(
                            edge_model=integer.outputs["edge_model"],
                            compiled_model=built.outputs["compiled_model"],
                            verification=proven.outputs["verification"],
                            name=form["model_name"],
                            **provenance,
                        ).set_display_name("publish for the target")
                # beside the loop: an inner If would get one of the collected artifacts only
                model_card(
                    compiled_models=dsl.Collected(built.outputs["compiled_model"]),
                    verifications=dsl.Collected(proven.outputs["verification"]),
                    **described,
                ).set_display_name("write the model card")
            explained(settings, learned, integer.outputs["edge_model"], examples)


vision = Generic("vision", _graph)
pipeline = specialise(vision, "vision", "From image files to published edge models.")
