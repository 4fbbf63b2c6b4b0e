"""One epoch of a training on several devices or machines, below a strategy of `tf.distribute`.

Keras 3's own `fit` fails below MultiWorkerMirroredStrategy, in the reduction of what a step returns
(keras-team/keras#20585). Its `train_step` works there: it scales the loss by the replicas, and
the optimizer sums the gradients over them, though it clips each replica's before; here the sum
comes first. So the loop is ours, and what is compiled into the model (loss, metrics, weights, its
own `train_step`) counts as it does in `fit`.

Each replica takes its share of each batch, so N replicas sum the gradients that one has. What
differs is the order of additions, and what a layer draws by chance: each replica has its own masks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeline.errors import EdgelineError

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

SEED = "seed_generator_state"  # Keras' name for the state of what draws by chance
SEED_STRIDE = 1_000_003  # between the seeds of replicas


@dataclass(frozen=True)
class Replicas:
    """A model that is trained below a strategy.

    Attributes:
        strategy: a MirroredStrategy or a MultiWorkerMirroredStrategy.
        model: made, compiled and built in the strategy's scope.
        train: makes some steps of an iterator, int32 [], in one call of the graph; gives the mean
            loss since the metrics were reset.
        test: counts one batch of this process in the metrics.
        results: the metrics by name, over all replicas.
        agree: gives all replicas the mean of what a layer keeps beside its weights.
    """

    strategy: tf.distribute.Strategy
    model: keras.Model
    train: Callable[[Any, tf.Tensor], tf.Tensor]
    test: Callable[[Any], None]
    results: Callable[[], Mapping[str, tf.Tensor]]
    agree: Callable[[], None]


def local_strategy(batch_size: int) -> tf.distribute.Strategy | None:
    """For the GPUs of this machine, as many as can share a batch equally; None for one or none."""
    import tensorflow as tf

    gpus = tf.config.list_logical_devices("GPU")
    count = max((n for n in range(1, len(gpus) + 1) if batch_size % n == 0), default=0)
    return tf.distribute.MirroredStrategy([gpu.name for gpu in gpus[:count]]) if count > 1 else None


def refused(model: keras.Model) -> str:
    """Why a model would be trained otherwise, or never, on several replicas; "" if it can be."""
    import keras

    if not isinstance(model, keras.Model):
        return "it is one of tf_keras (say `import keras`, or set workers to 1)"
    if isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer):
        return (
            "it computes in float16, whose loss Keras scales on each replica by itself, so that "
            "they would wait for each other forever (use bfloat16, or set workers to 1)"
        )
    if model.optimizer.gradient_accumulation_steps or model.optimizer.ema_overwrite_frequency:
        return (
            "its optimizer has gradient_accumulation_steps or ema_overwrite_frequency, which "
            "TensorFlow cannot do below a strategy (leave them out, or set workers to 1)"
        )
    return ""


def prepared(model: keras.Model, strategy: tf.distribute.Strategy, spec: Any) -> Replicas:
    """Make a model's variables and the graphs of its steps.

    Args:
        model: made and compiled in the strategy's scope.
        spec: of a replica's batch, as the data set gives them.
    """
    import keras
    import tensorflow as tf

    for layer in model._flatten_layers(include_self=False):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True  # the mean of a batch, and not of a replica's share of it
    with strategy.scope():
        model._symbolic_build(data_batch=spec)
    _sum_first(model.optimizer)
    plain = tf.autograph.experimental.do_not_convert
    train_step, test_step = plain(model.train_step), plain(model.test_step)

    def first_of_process() -> bool:
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        return int(tf.get_static_value(replica) or 0) % _here(strategy) == 0

    def counted(batch: Any) -> None:
        if _here(strategy) == 1 or first_of_process():
            test_step(batch)

    def one_step(batch: Any) -> None:
        train_step(batch)

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def train(iterator: Any, steps: tf.Tensor) -> tf.Tensor:
        for _ in tf.range(steps):
            strategy.run(plain(one_step), args=(next(iterator),))
        return plain(model._loss_tracker.result)()

    @tf.function(reduce_retracing=True, autograph=False)  # type: ignore[untyped-decorator]
    def test(batch: Any) -> None:
        strategy.run(counted, args=(batch,))

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def results() -> Mapping[str, tf.Tensor]:
        return dict(model.get_metrics_result())

    kept = [v.value for v in model.non_trainable_variables if v.value.dtype.is_floating]

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def agree() -> None:
        strategy.run(lambda: _agree(kept))

    return Replicas(strategy, model, train, test, results, agree if kept else lambda: None)


def fit_epoch(
    replicas: Replicas,
    training: tf.data.Dataset,
    evaluation: tf.data.Dataset,
    steps: int,
    callbacks: Sequence[keras.callbacks.Callback],
) -> dict[str, list[float]]:
    """Train an epoch and evaluate, as `keras.Model.fit` does of one.

    Args:
        training: endless, the batches of this process' replicas in turn.
        evaluation: the batches that this process counts; no other may have them.
        steps: batches that all replicas share.

    Returns:
        The metrics as `History.history` has them, `val_` of the evaluation.
    """
    import keras
    import tensorflow as tf

    model, strategy = replicas.model, replicas.strategy
    with strategy.scope():
        # of one replica as they are: a distributed iterator is closed after a wait of up to 5 s
        spread = strategy.distribute_datasets_from_function
        batches = iter(training if _here(strategy) == 1 else spread(lambda _: training))
        model.reset_metrics()
        calls = keras.callbacks.CallbackList(callbacks, model=model, add_history=False)
        calls.on_train_begin()
        calls.on_epoch_begin(0)
        size = int(model.steps_per_execution)
        for done in range(0, steps, size):
            calls.on_train_batch_begin(done)
            count = min(size, steps - done)  # the last call makes those that are left
            loss = float(replicas.train(batches, tf.constant(count)))
            calls.on_train_batch_end(done + count - 1, {"loss": loss})
        logs = _numbers(replicas.results())
        replicas.agree()
        model.optimizer.finalize_variable_values(model.trainable_weights)
        model.reset_metrics()
        for batch in evaluation:
            replicas.test(batch)
        logs |= {f"val_{name}": x for name, x in _numbers(replicas.results()).items()}
        calls.on_epoch_end(0, logs)
        calls.on_train_end(logs)
    return {name: [x] for name, x in logs.items()}


def draw_apart(replicas: Replicas) -> None:
    """Give each replica a seed of its own for what layers draw by chance; the first keeps its.

    To be called once, after variables were restored: a checkpoint has the first replica's.
    """
    import tensorflow as tf

    states = [v.value for v in replicas.model.non_trainable_variables if v.name == SEED]

    def shift() -> None:
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        for state in states:
            far = tf.cast([replica * SEED_STRIDE, 0], state.dtype)
            state.assign(tf.identity(state) + far)

    if states:
        replicas.strategy.run(tf.autograph.experimental.do_not_convert(shift))


def meet(strategy: tf.distribute.Strategy) -> None:
    """Wait until every process is here."""
    _sum(strategy, 0.0)


def same_everywhere(replicas: Replicas, epoch: int) -> None:
    """Refuse to go on where processes have found different checkpoints.

    Raises:
        EdgelineError: as said.
    """
    strategy = replicas.strategy
    total = _sum(strategy, float(epoch))
    if total != epoch * strategy.num_replicas_in_sync:
        raise EdgelineError(
            f"This worker would go on after epoch {epoch}, and others after another one: see that "
            "all of them read the same checkpoint_dir."
        )


def _sum(strategy: tf.distribute.Strategy, value: float) -> float:
    """Over all replicas, of which those of a process have the same."""
    import tensorflow as tf

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def summed() -> tf.Tensor:
        context = tf.distribute.get_replica_context()
        return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.constant(value))

    found = strategy.run(summed)
    return float(strategy.experimental_local_results(found)[0])


def _sum_first(optimizer: keras.optimizers.Optimizer) -> None:
    """Have an optimizer sum gradients over the replicas before it does anything else with them."""
    import tensorflow as tf

    apply = optimizer.apply

    def of_all(grads: Sequence[Any], trainable_variables: Any = None) -> None:
        places = [place for place, grad in enumerate(grads) if grad is not None]
        context = tf.distribute.get_replica_context()
        sums = context.all_reduce(tf.distribute.ReduceOp.SUM, [grads[place] for place in places])
        found = dict(zip(places, sums, strict=True))
        apply([found.get(place) for place in range(len(grads))], trainable_variables)

    optimizer.apply = of_all
    optimizer._all_reduce_sum_gradients = list


def _agree(variables: Sequence[tf.Variable]) -> None:
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    own = [tf.identity(variable) for variable in variables]
    for variable, mean in zip(
        variables, context.all_reduce(tf.distribute.ReduceOp.MEAN, own), strict=True
    ):
        variable.assign(mean)


def _here(strategy: tf.distribute.Strategy) -> int:
    """How many of the replicas are of this process."""
    return len(strategy.extended.worker_devices)


def is_loss_of_worker(error: Exception) -> bool:
    """Whether it is what a step raises when another process is gone."""
    import tensorflow as tf

    kinds = tf.errors
    lost = (kinds.AbortedError, kinds.CancelledError, kinds.DeadlineExceededError)
    return isinstance(error, (*lost, kinds.InternalError, kinds.UnavailableError))


def _numbers(results: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in results.items()}
