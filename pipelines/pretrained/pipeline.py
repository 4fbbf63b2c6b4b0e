"""The pipeline for models that nobody trained here: a file in, verified bundles out.

A SavedModel, Keras or float LiteRT file is converted. An ONNX file, and a LiteRT file that is
quantised already, is taken as it is and held to itself, in reference kernels. `verify` must approve
each edge model, or it is not published. Nobody evaluates the model, and every bundle says so: to
hold it to thresholds, too, give `publish` what `analyze` finds of it.
"""

# no `from __future__ import annotations`: kfp reads the annotations
from typing import Any

from kfp import dsl

from edgeline.components.faces import (
    check,
    compile,  # noqa: A004
    convert,
    import_model,
    ingest,
    model_card,
    notify,
    plan,
    publish,
    verify,
)


@dsl.pipeline(name="pretrained", description="From a model trained elsewhere to edge models.")
def pipeline(
    source: str,
    data: str,
    model_name: str,
    destination: str,
    sha256: str = "",
    task: str = "multiclass_classification",
    labels: str = "",
    label: str = "",
    label_type: str = "",
    signature: str = "",
    input_shape: list = [],  # noqa: B006
    scaling: str = "",
    logits: bool = False,
    rename: dict = {},  # noqa: B006
    images: dict = {},  # noqa: B006
    split_ratios: dict = {"train": 1, "eval": 2},  # noqa: B006
    quantisation: str = "int8",
    io: str = "float",
    representative_rows: int = 500,
    require_mapped: float = 0.0,
    targets: list = [],  # noqa: B006
    max_difference: float = -1.0,
    max_changed_decisions: float = -1.0,
    max_metric_drop: float = 0.01,
    git_commit: str = "",
):
    """From a model that was trained elsewhere to published edge models.

    Args:
        source: A SavedModel folder, a .keras, .h5, .tflite or .onnx file, an archive of one, or
            a model hub reference, as for import_model.
        data: Rows or images for comparing predictions; labels are optional.
        model_name: The name to publish under.
        destination: The folder or bucket to publish to.
        sha256: The expected digest of the model.
        task: binary_classification, multiclass_classification or regression.
        labels: A text file with the class names, one per line.
        label: The column with the label; empty: none.
        label_type: The type of that column: int64, string or float32.
        signature: The signature of the model to use.
        input_shape: The input shape of a SavedModel or Keras model that leaves it open.
        scaling: 0..1 or -1..1: how to scale pixels for a SavedModel or Keras model.
        logits: Whether a SavedModel or Keras model predicts logits.
        rename: New names for inputs and outputs, to match the columns' names.
        images: Image column to [height, width, channels].
        split_ratios: Weights of the splits; eval is for comparing, train for calibration.
        quantisation: The quantisation for converting a SavedModel, Keras or float LiteRT file.
        io: The type of the inputs and outputs of an int8 model: float, int8 or uint8.
        representative_rows: Number of rows for calibration.
        require_mapped: The share of operators that must run on the Edge TPU.
        targets: Additional targets to compile for; published as <model_name>-<target>.
        max_difference: Maximum difference of an output; -1: verify's default.
        max_changed_decisions: Maximum share of changed decisions; -1: verify's default.
        max_metric_drop: How much worse a metric of the edge model may be, if there are labels.
        git_commit: The commit of your code, for the bundle's provenance.
    """
    ended = notify(pipeline_name=model_name, run_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER)
    ended.set_caching_options(False)

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
            "examples": read.outputs["examples"],
            "max_difference": max_difference,
            "max_changed_decisions": max_changed_decisions,
            "max_metric_drop": max_metric_drop,
            **({"model": original} if original else {}),
        }
        published = {
            "edge_model": edge_model,
            "name": model_name,
            "pipeline_name": dsl.PIPELINE_JOB_NAME_PLACEHOLDER,
            "destination": destination,
            "run_id": dsl.PIPELINE_JOB_ID_PLACEHOLDER,
            "git_commit": git_commit,
        }
        checked = [placed] if placed else []
        verified = verify(**compared)
        with dsl.If(verified.outputs["approved"] == True, name="approved"):  # noqa: E712
            publish(verification=verified.outputs["verification"], **published).after(*checked)
        described = {
            "edge_model": edge_model,
            "verification": verified.outputs["verification"],
            "name": model_name,
            **of,
            **placement,
        }
        with dsl.If(planned.outputs["has_targets"] == False, name="no-targets"):  # noqa: E712
            model_card(**described)
        with dsl.Else(name="targets"):
            with dsl.ParallelFor(planned.outputs["each_target"]) as target:
                built = compile(edge_model=edge_model, target=target, **of)
                proven = verify(
                    compiled_model=built.outputs["compiled_model"], **compared
                ).set_display_name("verify compiled")
                approved = proven.outputs["approved"] == True  # noqa: E712
                with dsl.If(approved, name="compiled-approved"):
                    publish(
                        compiled_model=built.outputs["compiled_model"],
                        verification=proven.outputs["verification"],
                        **published,
                    ).set_display_name("publish compiled").after(*checked)
            # beside the loop: an inner If would get one of the collected artifacts only
            model_card(
                compiled_models=dsl.Collected(built.outputs["compiled_model"]),
                verifications=dsl.Collected(proven.outputs["verification"]),
                **described,
            )

    def converted() -> tuple[Any, Any]:
        """The model as an edge model, and where its operators go."""
        edge_model = convert(
            model=model,
            examples=read.outputs["examples"],
            quantisation=quantisation,
            representative_rows=representative_rows,
            io=io,
        ).outputs["edge_model"]
        return edge_model, check(edge_model=edge_model, require_mapped=require_mapped)

    with dsl.ExitHandler(ended):
        planned = plan(targets=targets, destination=destination)
        read = ingest(data=data, images=images, split_ratios=split_ratios)
        imported = import_model(
            source=source,
            sha256=sha256,
            task=task,
            labels=labels,
            label=label,
            label_type=label_type,
            signature=signature,
            input_shape=input_shape,
            scaling=scaling,
            logits=logits,
            rename=rename,
        )
        kind, model = imported.outputs["kind"], imported.outputs["model"]
        with dsl.If(kind == "onnx", name="onnx"):
            prove(model)
        with dsl.Elif(kind == "tflite", name="litert"):
            prove(model, check(edge_model=model, require_mapped=require_mapped))
        with dsl.Elif(kind == "tflite-float", name="litert-float"):
            prove(*converted(), original=model)
        with dsl.Else(name="convert"):
            prove(*converted(), original=model, trained=model)
