"""The face of tune."""

from typing import NamedTuple

from kfp import dsl
from kfp.dsl import HTML, Artifact, Dataset, Input, Metrics, Output

from edgeline.images import reference


@dsl.component(base_image=reference("compile"), install_kfp_package=False)
def tune(
    examples: Input[Dataset],
    transform_graph: Input[Artifact],
    transformed_examples: Input[Dataset],
    module: str,
    label: str,
    study: Output[Artifact],
    tuning_report: Output[HTML],
    tuning_metrics: Output[Metrics],
    objectives: list = [],  # noqa: B006
    search_space: dict = {},  # noqa: B006
    trials: int = 20,
    search_seconds: int = 0,
    sampler: str = "tpe",
    sampler_seed: int = 0,
    pruning: str = "",
    jobs: int = 1,
    memory_mb: int = 0,
    study_folder: str = "",
    choose_by: str = "",
    direction: str = "",
    tie: str = "first",
    tie_within: float = 0.0,
    task: str = "binary_classification",
    steps: int = 1000,
    batch_size: int = 40,
    steps_per_epoch: int = 0,
    patience: int = 0,
    hyperparameters: dict = {},  # noqa: B006
    label_vocabulary: str = "",
    seed: int = 0,
    require_raw: bool = False,
    class_weights: str = "",
    quantisation: str = "float",
    representative_rows: int = 500,
    max_difference: float = -1.0,
    max_changed_decisions: float = -1.0,
    max_metric_drop: float = 0.01,
    never_missing: list = [],  # noqa: B006
    requirements: dict = {},  # noqa: B006
) -> NamedTuple("Outputs", [("hyperparameters", dict)]):
    """Search for the hyperparameters of the best edge model.

    A trial trains, converts and verifies as the components of these names do, and compiles for each
    target that an objective names. What it cannot publish (a requirement that is not met, an edge
    model that differs too much) is kept as infeasible and never chosen; a trial that fails, or runs
    out of memory, is kept with its reason, and the search goes on.

    Args:
        examples: Raw rows (examples/v1).
        transform_graph: The graph that made the features (transform_graph/v1).
        transformed_examples: The model features (transformed_examples/v1).
        module: The user's module: an import path, or a .py file, a folder or a .zip, here or in a
            store.
        label: The output of preprocessing_fn that is to be predicted.
        study: What became of each trial, and Optuna's journal (study/v1).
        tuning_report: The front, what mattered, curves, and a table of all trials.
        tuning_metrics: The numbers of the chosen trial, and how many trials there were.
        objectives: What to make better: names such as auc, size_bytes, latency_p99_ms or
            tflite-micro.arena_bytes, or objects with name and direction; empty: the task's metric.
        search_space: The values of each hyperparameter, {"units": {"choices": [16, 32]}, "rate":
            {"low": 0.0001, "high": 0.1, "log": true}}; empty: search_space(trial) of the module.
        trials: How many, with those that the study has already.
        search_seconds: Seconds after which no trial begins any more; 0: none.
        sampler: tpe, nsga2 or random.
        sampler_seed: Its seed: the same seed and one job give the same trials.
        pruning: median: a trial with a validation loss above the median of the others in the same
            epoch is ended; for one objective. Empty: none is.
        jobs: Trials at a time.
        memory_mb: Megabytes that a step of a trial may hold before it is ended; 0: any.
        study_folder: A folder that outlives the task, for the journal, or a PostgreSQL database as
            postgresql://USER@HOST/NAME (its password from PGPASSWORD): what was finished before a
            kill counts, and tasks that see it share a search; empty: beside the output.
        choose_by: Of what was measured, what decides; empty: the first objective.
        direction: maximize or minimize; empty: what is better of it, where it is known.
        tie: Of trials that are equally good: first, smaller (edge model) or faster.
        tie_within: How far below the best a trial counts as equally good.
        task: Of train, and so the following ones.
        steps: See train.
        batch_size: See train.
        steps_per_epoch: See train.
        patience: See train.
        hyperparameters: Those that the search does not choose.
        label_vocabulary: See train.
        seed: See train.
        require_raw: See train.
        class_weights: See train.
        quantisation: Of convert.
        representative_rows: Of convert.
        max_difference: Of verify, and so the following ones.
        max_changed_decisions: See verify.
        max_metric_drop: See verify.
        never_missing: See verify.
        requirements: What the model must reach, as the object in a requirements.yaml.

    Returns:
        hyperparameters: Those of the chosen trial and those that the search does not choose.
    """
    from edgeline.artifacts.metadata import record, record_metrics
    from edgeline.components.train.fitting import Fitting
    from edgeline.components.tune import objectives as wanted
    from edgeline.components.tune.measuring import TrialInputs, TrialSettings
    from edgeline.components.tune.search import SearchPlan
    from edgeline.components.tune.tune import tune as work
    from edgeline.components.verify.findings import Limits

    found = wanted.parse(objectives or wanted.usual(task), task, "objectives")
    facts = work(
        given=TrialInputs(
            examples_path=examples.path,
            transform_graph_path=transform_graph.path,
            transformed_examples_path=transformed_examples.path,
        ),
        settings=TrialSettings(
            module=module,
            task=task,
            fitting=Fitting(
                label=label,
                steps=steps,
                batch_size=batch_size,
                seed=seed,
                steps_per_epoch=steps_per_epoch,
                patience=patience,
                class_weights=class_weights,
            ),
            hyperparameters=hyperparameters,
            label_vocabulary=label_vocabulary,
            require_raw=require_raw,
            quantisation=quantisation,
            representative_rows=representative_rows,
            limits=Limits(
                max_difference=max_difference,
                max_changed_decisions=max_changed_decisions,
                max_metric_drop=max_metric_drop,
            ),
            never_missing=never_missing,
            requirements=requirements,
            targets=wanted.targets_of(found),
            run_targets=wanted.run_targets_of(found),
            memory_mb=memory_mb,
        ),
        plan=SearchPlan(
            objectives=tuple(found),
            trials=trials,
            search_seconds=search_seconds,
            sampler=sampler,
            sampler_seed=sampler_seed,
            pruning=pruning,
            jobs=jobs,
        ),
        rule=wanted.rule_of(
            objectives=found,
            task=task,
            choose_by=choose_by,
            direction=direction,
            tie=tie,
            tie_within=tie_within,
        ),
        study_path=study.path,
        tuning_report_path=tuning_report.path,
        search_space=search_space,
        study_folder=study_folder,
    )
    record(study, facts, "chosen", "trials")
    record_metrics(tuning_metrics, {**facts["measured"], "trials": facts["trials"]})
    return (facts["hyperparameters"],)
