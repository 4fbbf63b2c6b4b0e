"""The generic pipeline: ingest, validate, transform, train, analyze, convert, verify, publish.

`analyze` must bless the model and `verify` approve the edge model, or the steps after them do
not run. `model_card` shows all on one page, `notify` tells the end, good or bad.
"""

# no `from __future__ import annotations`: kfp reads the annotations
from typing import Any

from kfp import dsl

from edgeline.components.faces import convert, ingest, model_card, notify, plan, verify
from edgeline.pipelines.learning import learn
from edgeline.pipelines.release import RUN, publish_and_serve
from edgeline.pipelines.specialise import specialise as of_graph


def tabular(
    data: str,
    module: str,
    label: str,
    model_name: str,
    destination: str,
    task: str = "binary_classification",
    split_ratios: dict = {"train": 2, "eval": 1},  # noqa: B006
    split_key: str = "",
    delimiter: str = ",",
    encoding: str = "utf-8",
    null_values: list = [""],  # noqa: B006
    column_types: dict = {},  # noqa: B006
    schema_uri: str = "",
    on_anomalies: str = "flag",
    beam_options: list = [],  # noqa: B006
    analyzer_cache: str = "",
    steps: int = 1000,
    batch_size: int = 40,
    patience: int = 0,
    hyperparameters: dict = {},  # noqa: B006
    label_vocabulary: str = "",
    checkpoint_dir: str = "",
    seed: int = 0,
    eval_config: dict = {},  # noqa: B006
    baseline_model_uri: str = "",
    quantisation: str = "float",
    max_metric_drop: float = 0.01,
    signing_keys: str = "",
    sites: list = [],  # noqa: B006
    models_repository: str = "",
    git_commit: str = "",
):
    """From raw rows to a published edge model.

    Args:
        data: Files, folders or globs, local or in an object store, comma-separated.
        module: The Python module with preprocessing_fn and build_model.
        label: The output of preprocessing_fn to predict.
        model_name: The name to publish under.
        destination: The folder or bucket to publish to.
        task: binary_classification, multiclass_classification or regression.
        split_ratios: Weights of the splits; train and eval are required.
        split_key: A column whose value determines the split; empty: the whole row does.
        delimiter: The delimiter of CSV files.
        encoding: The encoding of CSV files, for example latin-1.
        null_values: CSV cells that count as missing.
        column_types: CSV column to int64, float or string; by default inferred from its values.
        schema_uri: A fixed schema; empty: inferred from the training split.
        on_anomalies: fail or flag: whether anomalies fail the run.
        beam_options: Apache Beam options for transform; empty: run in the task's process.
        analyzer_cache: A folder for tf.Transform's analyzer cache, for data that grows.
        steps: Total number of training batches.
        batch_size: Rows per batch.
        patience: Epochs without a lower val_loss after which training stops; 0: never.
        hyperparameters: Passed to build_model.
        label_vocabulary: The vocab_filename of the label; its entries are the class names.
        checkpoint_dir: A folder for checkpoints, to resume interrupted training.
        seed: The seed for weights and shuffling.
        eval_config: A TFMA EvalConfig: metrics, slices, thresholds.
        baseline_model_uri: The model/v1 folder that change thresholds compare with.
        quantisation: float, fp16, dynamic, int8 or int16x8.
        max_metric_drop: How much worse a metric of the edge model may be than the cloud model's.
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
        planned = plan(sites=sites, models_repository=models_repository, destination=destination)
        read = ingest(
            data=data,
            split_ratios=split_ratios,
            split_key=split_key,
            delimiter=delimiter,
            encoding=encoding,
            null_values=null_values,
            column_types=column_types,
        )
        learned = learn(
            read.outputs["examples"],
            validation={"schema_uri": schema_uri, "on_anomalies": on_anomalies},
            transformation={
                "module": module,
                "beam_options": beam_options,
                "analyzer_cache": analyzer_cache,
            },
            training={
                "module": module,
                "label": label,
                "task": task,
                "steps": steps,
                "batch_size": batch_size,
                "patience": patience,
                "hyperparameters": hyperparameters,
                "label_vocabulary": label_vocabulary,
                "seed": seed,
                "checkpoint_dir": checkpoint_dir,
            },
            analysis={"eval_config": eval_config, "baseline_model_uri": baseline_model_uri},
        )
        with dsl.If(learned.blessed == True, name="blessed"):  # noqa: E712
            converted = convert(
                model=learned.model,
                examples=learned.examples,
                quantisation=quantisation,
            )
            verified = verify(
                model=learned.model,
                edge_model=converted.outputs["edge_model"],
                examples=learned.examples,
                max_metric_drop=max_metric_drop,
            )
            with dsl.If(verified.outputs["approved"] == True, name="approved"):  # noqa: E712
                publish_and_serve(
                    planned,
                    models_repository,
                    edge_model=converted.outputs["edge_model"],
                    evaluation=learned.evaluation,
                    verification=verified.outputs["verification"],
                    name=model_name,
                    destination=destination,
                    signing_keys=signing_keys,
                    git_commit=git_commit,
                    **RUN,
                )
            model_card(
                model=learned.model,
                edge_model=converted.outputs["edge_model"],
                verification=verified.outputs["verification"],
                evaluation=learned.evaluation,
                name=model_name,
            )


def specialise(name: str, description: str, **defaults: Any) -> Any:
    """The generic pipeline under another name and with other defaults.

    Raises:
        TypeError: it has no such parameter.
    """
    return of_graph(tabular, name, description, **defaults)


pipeline = specialise("tabular", "From raw rows to a published edge model.")
