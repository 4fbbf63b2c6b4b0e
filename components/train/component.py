"""The face of `train`."""

from kfp import dsl
from kfp.dsl import HTML, Artifact, Dataset, Input, Metrics, Model, Output

from edgeline.images import reference


@dsl.component(base_image=reference("train"), install_kfp_package=False)
def train(
    transformed_examples: Input[Dataset],
    transform_graph: Input[Artifact],
    module: str,
    label: str,
    model: Output[Model],
    training_metrics: Output[Metrics],
    training_report: Output[HTML],
    task: str = "binary_classification",
    steps: int = 1000,
    batch_size: int = 40,
    steps_per_epoch: int = 0,
    patience: int = 0,
    hyperparameters: dict = {},  # noqa: B006
    label_vocabulary: str = "",
    train_split: str = "train",
    eval_split: str = "eval",
    seed: int = 0,
    checkpoint_dir: str = "",
    optimisation: str = "",
    sparsity: float = 0.5,
    clusters: int = 16,
    require_raw: bool = False,
    class_weights: str = "",
    workers: int = 1,
    mixed_precision: str = "",
    jit_compile: bool = False,
    gradient_norms: bool = False,
    fairness: dict = {},  # noqa: B006
):
    """Train the user's build_model and export it with the transform inside.

    Args:
        transformed_examples: The model features (transformed_examples/v1).
        transform_graph: The graph that made them (transform_graph/v1).
        module: The user's module: an import path, or a .py file, a folder or a .zip, here or in a
            store.
        label: The output of preprocessing_fn that is to be predicted.
        model: A SavedModel whose serving_default takes raw features (model/v1).
        training_metrics: Losses of the epoch that was kept, and the model's metrics on eval_split
            (val_).
        training_report: Training curves and the network.
        task: binary_classification, multiclass_classification or regression.
        steps: Training batches in all.
        batch_size: Rows a batch.
        steps_per_epoch: Batches an epoch; 0 is one pass over the training split.
        patience: Epochs without a smaller val_loss before the end; 0 never ends early.
        hyperparameters: Handed to build_model.
        label_vocabulary: vocab_filename of the label; its entries name the classes.
        train_split: The split to train on.
        eval_split: The split to evaluate on after each epoch.
        seed: Seed of weights and shuffling.
        checkpoint_dir: A folder that outlives the task, to go on after a kill.
        optimisation: qat (quantisation-aware), pruning or clustering, in the second half of the
            epochs; build_model then gives a tf_keras model (import tf_keras as keras).
        sparsity: For pruning: the share of weights that becomes 0.
        clusters: For clustering: how many values the weights of a tensor share.
        require_raw: Whether features that no edge model can make of raw ones are refused, before
            the training; else it takes those transformed.
        class_weights: How much a row counts in the loss by its class: balanced, or weights by
            name or number, as yes=20,no=1; empty: all the same. Scores are then no
            probabilities.
        workers: How many processes share each batch: of this machine, or pods of a Job that the
            task creates in a cluster, where checkpoint_dir has to be in a store or of a volume that
            they mount.
        mixed_precision: bfloat16 or float16, in which the network computes while it trains; what
            is exported computes in float32. Empty: as build_model says.
        jit_compile: Whether XLA compiles the training step; with one worker.
        gradient_norms: Whether the norm of the gradients is told by step and epoch; of small
            networks the training then takes longer, and of several GPUs one is used.
        fairness: As of analyze: of its mitigations reweighing weighs rows by group and label, and
            penalty adds the difference of the groups' mean scores to the loss, times weight. Unless
            compare is false, the model is trained without, too, for analyze.
    """
    from edgeline.artifacts.fairness import training
    from edgeline.artifacts.metadata import record, record_metrics
    from edgeline.components.train.fitting import Fitting
    from edgeline.components.train.optimising import Optimisation
    from edgeline.components.train.train import train as work

    facts = work(
        transformed_examples_path=transformed_examples.path,
        transform_graph_path=transform_graph.path,
        module=module,
        task=task,
        how=Fitting(
            label=label,
            steps=steps,
            batch_size=batch_size,
            seed=seed,
            train_split=train_split,
            eval_split=eval_split,
            steps_per_epoch=steps_per_epoch,
            patience=patience,
            optimisation=Optimisation(optimisation, sparsity, clusters),
            class_weights=class_weights,
            workers=workers,
            mixed_precision=mixed_precision,
            jit_compile=jit_compile,
            gradient_norms=gradient_norms,
            fairness=training(fairness),
        ),
        model_path=model.path,
        training_report_path=training_report.path,
        hyperparameters=hyperparameters,
        label_vocabulary=label_vocabulary,
        checkpoint_dir=checkpoint_dir,
        require_raw=require_raw,
        transformed_examples_uri=transformed_examples.uri,
    )
    record(model, facts, "parameters", "epochs")
    record_metrics(training_metrics, facts["metrics"])
