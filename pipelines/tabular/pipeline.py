"""The generic pipeline: ingest, validate, transform, train, analyze, convert, verify, publish.

`analyze` must bless the model and `verify` approve the edge model, or the steps after them do
not run. `model_card` shows all on one page, `notify` tells the end, good or bad.
"""

# no `from __future__ import annotations`: kfp reads the annotations
from typing import Any

from kfp import dsl

from edgeline.components.analyze.component import analyze
from edgeline.components.convert.component import convert
from edgeline.components.ingest.component import ingest
from edgeline.components.model_card.component import model_card
from edgeline.components.notify.component import notify
from edgeline.components.publish.component import publish
from edgeline.components.serve.component import serve
from edgeline.components.train.component import train
from edgeline.components.transform.component import transform
from edgeline.components.validate.component import validate
from edgeline.components.verify.component import verify
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
        data: Files, folders or globs, local or in an object store, with commas between.
        module: The user's module with preprocessing_fn and build_model.
        label: The output of preprocessing_fn that is to be predicted.
        model_name: The name to publish under.
        destination: The folder or bucket to publish to.
        task: binary_classification, multiclass_classification or regression.
        split_ratios: Weights of the splits; train and eval are needed.
        split_key: A column whose value decides the split; empty: the whole row.
        delimiter: Between the cells of CSV files.
        encoding: Of CSV files, a codec name of Python such as latin-1.
        null_values: CSV cells that mean 'missing'.
        column_types: CSV column to int64, float or string, instead of what its values tell.
        schema_uri: A frozen schema; empty: inferred from the training split.
        on_anomalies: fail or flag.
        beam_options: Options of Apache Beam for transform; empty: in the task's process.
        analyzer_cache: A folder that keeps what was learnt of each part of growing data.
        steps: Training batches in all.
        batch_size: Rows a batch.
        patience: Epochs without a smaller val_loss before training ends; 0: never.
        hyperparameters: Handed to build_model.
        label_vocabulary: vocab_filename of the label; its entries name the classes.
        checkpoint_dir: A folder that outlives the training task, to go on after a kill.
        seed: Seed of weights and shuffling.
        eval_config: TFMA's EvalConfig as an object: metrics, slices, thresholds.
        baseline_model_uri: A model/v1 folder that change thresholds compare with.
        quantisation: float, fp16, dynamic, int8 or int16x8.
        max_metric_drop: How much worse than the cloud model the edge model may be.
        signing_keys: Keys of a signed repository at the destination, as env:NAME or the path of a
            mounted secret, with commas between them; empty: it is not signed.
        sites: Where to deploy what was published, each with `site` and `form` as the serve
            component takes them: a cluster, or a folder of a Git repository. Empty: nowhere.
        models_repository: Where the images of deployed models are pushed; needed for sites.
        git_commit: The commit of the user's code, for the bundle's provenance.
    """
    ended = notify(pipeline_name=model_name, run_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER)
    ended.set_caching_options(False)
    with dsl.ExitHandler(ended):
        read = ingest(
            data=data,
            split_ratios=split_ratios,
            split_key=split_key,
            delimiter=delimiter,
            encoding=encoding,
            null_values=null_values,
            column_types=column_types,
        )
        checked = validate(
            examples=read.outputs["examples"], schema_uri=schema_uri, on_anomalies=on_anomalies
        )
        made = transform(
            examples=read.outputs["examples"],
            schema=checked.outputs["schema"],
            module=module,
            beam_options=beam_options,
            analyzer_cache=analyzer_cache,
        )
        trained = train(
            transformed_examples=made.outputs["transformed_examples"],
            transform_graph=made.outputs["transform_graph"],
            module=module,
            label=label,
            task=task,
            steps=steps,
            batch_size=batch_size,
            patience=patience,
            hyperparameters=hyperparameters,
            label_vocabulary=label_vocabulary,
            seed=seed,
            checkpoint_dir=checkpoint_dir,
        )
        analyzed = analyze(
            examples=read.outputs["examples"],
            model=trained.outputs["model"],
            eval_config=eval_config,
            baseline_model_uri=baseline_model_uri,
        )
        with dsl.If(analyzed.outputs["blessed"] == True, name="blessed"):  # noqa: E712
            converted = convert(
                model=trained.outputs["model"],
                examples=read.outputs["examples"],
                quantisation=quantisation,
            )
            verified = verify(
                model=trained.outputs["model"],
                edge_model=converted.outputs["edge_model"],
                examples=read.outputs["examples"],
                max_metric_drop=max_metric_drop,
            )
            with dsl.If(verified.outputs["approved"] == True, name="approved"):  # noqa: E712
                published = publish(
                    edge_model=converted.outputs["edge_model"],
                    evaluation=analyzed.outputs["evaluation"],
                    verification=verified.outputs["verification"],
                    name=model_name,
                    pipeline_name=dsl.PIPELINE_JOB_NAME_PLACEHOLDER,
                    destination=destination,
                    signing_keys=signing_keys,
                    run_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
                    git_commit=git_commit,
                )
                with dsl.ParallelFor(sites) as place:
                    serve(
                        bundle=published.outputs["bundle"],
                        site=place.site,
                        form=place.form,
                        models_repository=models_repository,
                    )
            model_card(
                model=trained.outputs["model"],
                edge_model=converted.outputs["edge_model"],
                verification=verified.outputs["verification"],
                evaluation=analyzed.outputs["evaluation"],
                name=model_name,
            )


def specialise(name: str, description: str, **defaults: Any) -> Any:
    """The generic pipeline under another name and with other defaults.

    Raises:
        TypeError: it has no such parameter.
    """
    return of_graph(tabular, name, description, **defaults)


pipeline = specialise("tabular", "From raw rows to a published edge model.")
