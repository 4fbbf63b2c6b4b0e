"""The pipeline for models that nobody trained here: a file in, verified bundles out.

A SavedModel, Keras or float LiteRT file is converted. An ONNX file, and a LiteRT file that is
quantised already, is taken as it is and compared with itself, in reference kernels; with
`to_litert` an ONNX file goes the way of a LiteRT file and is compared with itself. `verify` must
approve each edge model, or it is not published. Nobody evaluates the model, and every bundle says
so: for thresholds, too, give `publish` what `analyze` finds of it.

There is no `validate`: the rows train nothing, they are what two forms of one model are asked, so
there is no split to measure skew from, and no schema that the model was made for. What live rows
are compared with is the reference that `verify` makes of these.
"""

from __future__ import annotations

from typing import Any

from kfp import dsl

from edgeline.components.faces import (
    check,
    compile,  # noqa: A004
    convert,
    import_model,
    model_card,
    publish,
    verify,
)
from edgeline.images import reference
from edgeline.pipelines.reading import fields, limits, read
from edgeline.pipelines.release import delivery, ended
from edgeline.pipelines.specialise import Channels, Generic, specialise


def _graph(form: Channels) -> None:
    """From a model that was trained elsewhere to published edge models."""

    def prove(
        edge_model: Any, placed: Any = None, original: Any = None, trained: Any = None
    ) -> None:
        """Verify, publish and describe an edge model, and all that it is compiled to.

        A model that is its own original is given once: KFP takes no artifact twice in one task.
        """
        placement = {"placement": placed.outputs["placement"]} if placed else {}
        of = {"model": trained} if trained else {}
        compared = {
            "edge_model": edge_model,
            "examples": examples,
            **limits(settings),
            **({"model": original} if original else {}),
        }
        published = {
            "edge_model": edge_model,
            "name": form["model_name"],
            **delivery(form, settings),
        }
        checked = [placed] if placed else []
        verified = verify(**compared).set_display_name("verify the edge model")
        with dsl.If(verified.outputs["approved"] == True, name="if approved"):  # noqa: E712
            task = publish(verification=verified.outputs["verification"], **published)
            task.set_display_name("publish the bundle").after(*checked)
        described = {
            "edge_model": edge_model,
            "verification": verified.outputs["verification"],
            "name": form["model_name"],
            **fields(settings, "card"),
            **of,
            **placement,
        }
        with dsl.If(settings.outputs["has_targets"] == False, name="if there is no target"):  # noqa: E712
            model_card(**described).set_display_name("write the model card")
        with dsl.Else(name="if there are targets"):
            with dsl.ParallelFor(settings.outputs["each_target"], name="for each target") as target:
                built = compile(
                    edge_model=edge_model,
                    target=target,
                    required=False,
                    requirements=settings.outputs["requirements"],
                    **of,
                ).set_display_name("compile for the target")
                proven = (
                    verify(compiled_model=built.outputs["compiled_model"], **compared)
                    .set_display_name("verify for the target")
                    .set_container_image(reference("compile"))  # where the targets' runtimes are
                )
                approved = proven.outputs["approved"] == True  # noqa: E712
                with dsl.If(approved, name="if the target is approved"):
                    publish(
                        compiled_model=built.outputs["compiled_model"],
                        verification=proven.outputs["verification"],
                        **published,
                    ).set_display_name("publish for the target").after(*checked)
            # beside the loop: an inner If would get one of the collected artifacts only
            model_card(
                compiled_models=dsl.Collected(built.outputs["compiled_model"]),
                verifications=dsl.Collected(proven.outputs["verification"]),
                **described,
            ).set_display_name("write the model card")

    def converted() -> tuple[Any, Any]:
        """The model as an edge model, and where its operators go."""
        task = convert(
            model=model,
            examples=examples,
            **fields(settings, "quantisation", "io", "representative_rows", "requirements"),
        )
        edge_model = task.set_display_name("convert to LiteRT").outputs["edge_model"]
        return edge_model, placed(edge_model)

    def placed(edge_model: Any) -> Any:
        """The task that finds where the operators go."""
        return check(edge_model=edge_model, **fields(settings, "require_mapped")).set_display_name(
            "check for the Edge TPU"
        )

    with dsl.ExitHandler(ended(form), name="from model to bundles"):
        settings = form.settings()
        examples = read(form, settings).outputs["examples"]
        imported = import_model(
            source=form["source"],
            cache_name=form.cache_name,
            **fields(settings, "sha256", "task", "labels", "label", "label_type", "signature"),
            **fields(settings, "input_shape", "scaling", "logits", "rename", "to_litert"),
        ).set_display_name("import the model")
        kind, model = imported.outputs["kind"], imported.outputs["model"]
        with dsl.If(kind == "onnx", name="if ONNX"):
            prove(model)
        with dsl.Elif(kind == "tflite", name="if LiteRT, quantised"):
            prove(model, placed(model))
        with dsl.Elif(kind == "tflite-float", name="if LiteRT, float"):
            prove(*converted(), original=model)
        with dsl.Else(name="if SavedModel or Keras"):
            prove(*converted(), original=model, trained=model)


pipeline = specialise(
    Generic("pretrained", _graph), "pretrained", "From a model trained elsewhere to edge models."
)
