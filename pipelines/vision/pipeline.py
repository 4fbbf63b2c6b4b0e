"""The vision pipeline: image files to float, integer and compiled edge models, all verified.

`analyze` must bless the model, `check` find the integer model on the accelerator, and `verify`
approve each edge model, or the steps after them do not run. `notify` tells the end.
"""

# no `from __future__ import annotations`: kfp reads the annotations
from kfp import dsl

from edgeline.components.faces import (
    check,
    compile,  # noqa: A004
    convert,
    ingest,
    model_card,
    notify,
    plan,
    publish,
    verify,
)
from edgeline.pipelines.learning import learn
from edgeline.pipelines.release import RUN, publish_and_serve
from edgeline.pipelines.specialise import specialise


def vision(
    data: str,
    images: dict,
    module: str,
    label: str,
    model_name: str,
    destination: str,
    task: str = "multiclass_classification",
    split_ratios: dict = {"train": 2, "eval": 1},  # noqa: B006
    split_key: str = "",
    schema_uri: str = "",
    on_anomalies: str = "flag",
    beam_options: list = [],  # noqa: B006
    steps: int = 1000,
    batch_size: int = 64,
    steps_per_epoch: int = 0,
    patience: int = 0,
    hyperparameters: dict = {},  # noqa: B006
    label_vocabulary: str = "",
    checkpoint_dir: str = "",
    seed: int = 0,
    eval_config: dict = {},  # noqa: B006
    baseline_model_uri: str = "",
    representative_rows: int = 500,
    io: str = "uint8",
    require_mapped: float = 0.0,
    targets: list = [],  # noqa: B006
    max_metric_drop: float = 0.005,
    signing_keys: str = "",
    sites: list = [],  # noqa: B006
    models_repository: str = "",
    git_commit: str = "",
):
    """From image files to published edge models.

    Args:
        data: Parquet with image files in a column, or folders of images, one folder per class.
        images: Image column to [height, width, channels].
        module: The Python module with preprocessing_fn and build_model.
        label: The output of preprocessing_fn to predict.
        model_name: The name to publish the integer model under; the float model gets the suffix
            -float.
        destination: The folder or bucket to publish to.
        task: binary_classification, multiclass_classification or regression.
        split_ratios: Weights of the splits; train and eval are required.
        split_key: A column whose value determines the split; empty: the whole row does.
        schema_uri: A fixed schema; empty: inferred from the training split.
        on_anomalies: fail or flag: whether anomalies fail the run.
        beam_options: Apache Beam options for transform; empty: run in the task's process.
        steps: Total number of training batches.
        batch_size: Rows per batch.
        steps_per_epoch: Batches per epoch; 0: one pass over the training split.
        patience: Epochs without a lower val_loss after which training stops; 0: never.
        hyperparameters: Passed to build_model.
        label_vocabulary: The vocab_filename of the label; its entries are the class names.
        checkpoint_dir: A folder for checkpoints, to resume interrupted training.
        seed: The seed for weights and shuffling.
        eval_config: A TFMA EvalConfig: metrics, slices, thresholds.
        baseline_model_uri: The model/v1 folder that change thresholds compare with.
        representative_rows: Number of images for calibrating the integer model.
        io: The type of the integer model's inputs and outputs: float, int8 or uint8.
        require_mapped: The share of the integer model's operators that must run on the Edge TPU.
        targets: The targets to compile the integer model for; published as
            <model_name>-<target>.
        max_metric_drop: How much worse a metric of an edge model may be than the cloud model's.
        signing_keys: Keys of a signed repository at the destination, each env:NAME or the path of
            a mounted secret, comma-separated; empty: the destination is not signed.
        sites: Where to deploy the published bundle: objects with `site` (a cluster, or a folder of
            a Git repository) and `form`, as for the serve component. Empty: nowhere.
        models_repository: The image repository for deployed models; required with sites.
        git_commit: The commit of your code, for the bundle's provenance.
    """
    ended = notify(pipeline_name=model_name, run_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER)
    ended.set_caching_options(False)
    with dsl.ExitHandler(ended):
        planned = plan(
            targets=targets,
            sites=sites,
            models_repository=models_repository,
            destination=destination,
        )
        read = ingest(data=data, images=images, split_ratios=split_ratios, split_key=split_key)
        learned = learn(
            read.outputs["examples"],
            validation={"schema_uri": schema_uri, "on_anomalies": on_anomalies},
            transformation={"module": module, "beam_options": beam_options},
            training={
                "module": module,
                "label": label,
                "task": task,
                "steps": steps,
                "batch_size": batch_size,
                "steps_per_epoch": steps_per_epoch,
                "patience": patience,
                "hyperparameters": hyperparameters,
                "label_vocabulary": label_vocabulary,
                "seed": seed,
                "checkpoint_dir": checkpoint_dir,
            },
            analysis={"eval_config": eval_config, "baseline_model_uri": baseline_model_uri},
        )
        with dsl.If(learned.blessed == True, name="blessed"):  # noqa: E712
            integer = convert(
                model=learned.model,
                examples=learned.examples,
                quantisation="int8",
                representative_rows=representative_rows,
                io=io,
                batch=1,
            ).set_display_name("convert to int8")
            placed = check(
                edge_model=integer.outputs["edge_model"],
                target="edgetpu",
                require_mapped=require_mapped,
            )
            compared = verify(
                model=learned.model,
                edge_model=integer.outputs["edge_model"],
                examples=learned.examples,
                max_metric_drop=max_metric_drop,
            ).set_display_name("verify int8")
            provenance = {
                "evaluation": learned.evaluation,
                "destination": destination,
                "signing_keys": signing_keys,
                "git_commit": git_commit,
                **RUN,
            }
            with dsl.If(compared.outputs["approved"] == True, name="int8-approved"):  # noqa: E712
                publish_and_serve(
                    planned,
                    models_repository,
                    after=(placed,),
                    title="publish int8",
                    edge_model=integer.outputs["edge_model"],
                    verification=compared.outputs["verification"],
                    name=model_name,
                    **provenance,
                )
            floating = convert(
                model=learned.model,
                examples=learned.examples,
                quantisation="float",
                representative_rows=representative_rows,
            ).set_display_name("convert to float")
            equal = verify(
                model=learned.model,
                edge_model=floating.outputs["edge_model"],
                examples=learned.examples,
                max_metric_drop=max_metric_drop,
            ).set_display_name("verify float")
            with dsl.If(equal.outputs["approved"] == True, name="float-approved"):  # noqa: E712
                publish(
                    edge_model=floating.outputs["edge_model"],
                    verification=equal.outputs["verification"],
                    name=f"{model_name}-float",
                    **provenance,
                ).set_display_name("publish float")
            described = {
                "model": learned.model,
                "edge_model": integer.outputs["edge_model"],
                "float_model": floating.outputs["edge_model"],
                "verification": compared.outputs["verification"],
                "float_verification": equal.outputs["verification"],
                "placement": placed.outputs["placement"],
                "name": model_name,
            }
            with dsl.If(planned.outputs["has_targets"] == False, name="no-targets"):  # noqa: E712
                model_card(**described)
            with dsl.Else(name="targets"):
                with dsl.ParallelFor(planned.outputs["each_target"]) as target:
                    built = compile(
                        edge_model=integer.outputs["edge_model"],
                        model=learned.model,
                        target=target,
                    ).after(placed)
                    proven = verify(
                        model=learned.model,
                        edge_model=integer.outputs["edge_model"],
                        compiled_model=built.outputs["compiled_model"],
                        examples=learned.examples,
                        max_metric_drop=max_metric_drop,
                    ).set_display_name("verify compiled")
                    fit = proven.outputs["approved"] == True  # noqa: E712
                    with dsl.If(fit, name="compiled-approved"):
                        publish(
                            edge_model=integer.outputs["edge_model"],
                            compiled_model=built.outputs["compiled_model"],
                            verification=proven.outputs["verification"],
                            name=model_name,
                            **provenance,
                        ).set_display_name("publish compiled")
                # beside the loop: an inner If would get one of the collected artifacts only
                model_card(
                    compiled_models=dsl.Collected(built.outputs["compiled_model"]),
                    verifications=dsl.Collected(proven.outputs["verification"]),
                    **described,
                )


pipeline = specialise(vision, "vision", "From image files to published edge models.")
