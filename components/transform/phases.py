"""A phase of an analysis: what of `preprocessing_fn` can be learnt now, and what rows give for it.

Phases are those of `tensorflow_transform.beam.analysis_graph_builder`: a phase has the analyzers
whose input depends on none that is still to be learnt.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tensorflow_transform import analyzer_nodes, nodes
from tensorflow_transform.analyzers import _VocabOrderingType

from edgeline.artifacts.ahead import ahead
from edgeline.artifacts.features import Feature
from edgeline.errors import EdgelineError
from edgeline.formats.dtypes import Array
from edgeline.user_code import reason

if TYPE_CHECKING:
    import tensorflow as tf

Preprocessing = Callable[..., Any]
Batches = Iterable[Mapping[str, Array]]
TracedCall = Callable[[Mapping[str, Any]], Mapping[str, Any]]
Gathered = dict[str, Any]  # what each accumulating step holds, by its label
ACCUMULATING = (analyzer_nodes.CacheableCombineAccumulate, analyzer_nodes.VocabularyAccumulate)


class UnknownAnalyzerError(Exception):
    """An analyzer that is not computed here, such as one by key: Beam computes it."""


class Phase:
    """A trace of `preprocessing_fn` with what was learnt in earlier phases.

    ready: tf.Transform's `TensorSink`s that can be learnt now; none when all are.
    sources: by each analyzer's tensor the raw features that it is computed from.
    steps: the steps that read rows, by label.
    call: the trace, from raw features to the tensors that the steps read, by name.
    """

    def __init__(
        self,
        preprocessing_fn: Preprocessing,
        specs: Mapping[str, tf.TensorSpec],
        learnt: Mapping[str, tf.Tensor],
        temporary: str,
    ) -> None:
        import tensorflow as tf
        from tensorflow.python.trackable import resource as tracking
        from tensorflow_transform import annotators, tf_utils

        self.specs = specs
        self.ready: list[analyzer_nodes.TensorSink] = []

        # `inputs` as in tf.Transform's own traces: it is in the names of the graph's tensors
        @tf.function(input_signature=[dict(specs)], autograph=False)  # type: ignore[untyped-decorator]
        def trace(inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            given = tf_utils.copy_tensors(inputs)
            with context(temporary, learnt, self.module):
                preprocessing_fn(given)
            graph = tf.compat.v1.get_default_graph()
            if graph.get_collection(tf.compat.v1.GraphKeys.TRAINABLE_VARIABLES):
                raise EdgelineError(
                    "preprocessing_fn makes a variable that is trained: leave training to "
                    "build_model."
                )
            self.sources = sources_of(graph, inputs)
            waiting = graph.get_collection(analyzer_nodes.TENSOR_REPLACEMENTS)
            _accumulators(waiting)  # all are known, those of later phases too
            self.ready = _ready(graph, inputs, waiting)
            found = _accumulators(self.ready)
            self.steps = {
                label: Accumulating(_combiner(operation), tuple(each.name for each in tensors))
                for label, (operation, tensors) in found.items()
            }
            return {tensor.name: tensor for _, tensors in found.values() for tensor in tensors}

        # not tf.Transform's own tracing: it also prunes the graph for a SavedModel
        self.module = tf.Module()
        tables, objects = tracking.ResourceTracker(), annotators.ObjectTracker()
        with tracking.resource_tracker_scope(tables), annotators.object_tracker_scope(objects):
            self.call = trace.get_concrete_function()
        # of what was learnt; kept alive by this, and with it in a file
        self.module.resources = tables.resources
        self.module.trackable_objects = objects.trackable_objects

    def save(self, folder: Path) -> None:
        """Write the trace as a SavedModel that `load_call` reads."""
        import tensorflow as tf

        leave_out_wrappers(self.module)
        self.module.call = self.call
        tf.saved_model.save(self.module, str(folder))


@dataclass(frozen=True)
class Accumulating:
    """A step that reads rows.

    combiner: tf.Transform's; None counts the words of a vocabulary.
    tensors: the names of those that it takes.
    """

    combiner: Any
    tensors: tuple[str, ...]


def load_call(folder: Path) -> TracedCall:
    """The trace of a phase that was saved, as a function of raw features."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(folder))

    def call(inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        found: Mapping[str, Any] = loaded.call(inputs)  # which keeps `loaded` and its tables alive
        return found

    return call


def accumulate(
    steps: Mapping[str, Accumulating],
    call: TracedCall,
    features: Sequence[Feature],
    batches: Batches,
) -> Gathered:
    """What each accumulating step gathers from some rows, by its label.

    Args:
        steps: of a phase.
        call: its trace, or what `load_call` gives.
        features: the raw features.
        batches: the rows, by raw feature an array [batch, ...].

    Raises:
        EdgelineError: `preprocessing_fn` fails on the rows.
    """
    import tensorflow as tf

    gathered = {label: _start(step.combiner) for label, step in steps.items()}
    for batch in ahead(batches):
        given = {each.name: tf.constant(batch[each.name], each.dtype) for each in features}
        try:
            values = {name: value.numpy() for name, value in call(given).items()}
        except tf.errors.OpError as error:
            raise EdgelineError(f"preprocessing_fn fails on the data: {reason(error)}") from error
        for label, step in steps.items():
            arrays = tuple(values[name] for name in step.tensors)
            gathered[label] = _add(step.combiner, gathered[label], arrays)
    return gathered


def merged(steps: Mapping[str, Accumulating], gathered: Iterable[Gathered]) -> Gathered:
    """What was gathered of several parts of the rows, as if it were of all; in their order."""
    total: Gathered = {label: _start(step.combiner) for label, step in steps.items()}
    for part in gathered:
        for label, step in steps.items():
            if step.combiner is None:
                total[label].update(part[label])
            else:
                total[label] = step.combiner.merge_accumulators([total[label], part[label]])
    return total


def context(temporary: str, learnt: Mapping[str, tf.Tensor], module: Any = None) -> Any:
    import tensorflow as tf
    from tensorflow_transform import graph_context

    return graph_context.TFGraphContext(
        module_to_export=module or tf.Module(),
        temp_dir=temporary,
        evaluated_replacements=dict(learnt),
    )


def _ready(
    graph: tf.Graph,
    inputs: Mapping[str, tf.Tensor],
    waiting: Sequence[analyzer_nodes.TensorSink],
) -> list[analyzer_nodes.TensorSink]:
    """The analyzers that depend on none that is still to be learnt."""
    from tensorflow_transform import graph_tools

    if not waiting:
        return []
    look = graph_tools.InitializableGraphAnalyzer(
        graph, inputs, [(sink.tensor, False) for sink in waiting]
    )
    return [
        sink
        for sink in waiting
        if all(map(look.ready_to_run, _sourced_tensors(sink.future.parent_operation)))
    ]


def sources_of(graph: tf.Graph, inputs: Mapping[str, tf.Tensor]) -> dict[str, frozenset[str]]:
    """By each analyzer's tensor the raw features that it is computed from."""
    from tensorflow_transform import graph_tools

    names = {tensor.ref(): name for name, tensor in inputs.items()}
    found = {}
    for sink in graph.get_collection(analyzer_nodes.ALL_REPLACEMENTS):
        operations = [t.op for t in _sourced_tensors(sink.future.parent_operation)]
        roots = graph_tools.retrieve_sources(operations, ignore_control_dependencies=True)
        refs = {root.ref() for root in roots if hasattr(root, "ref")}
        found[sink.tensor.name] = frozenset(names[ref] for ref in refs & names.keys())
    return found


def _sourced_tensors(operation: nodes.OperationNode) -> list[tf.Tensor]:
    """The tensors that an analyzer's step is computed from, through the steps before it."""
    if isinstance(operation.operation_def, analyzer_nodes.TensorSource):
        return list(operation.operation_def.tensors)
    return [
        tensor for value in operation.inputs for tensor in _sourced_tensors(value.parent_operation)
    ]


def _accumulators(
    sinks: Sequence[analyzer_nodes.TensorSink],
) -> dict[str, tuple[nodes.OperationDef, tuple[tf.Tensor, ...]]]:
    """By label the steps that read rows, with the tensors that they read."""
    found: dict[str, tuple[nodes.OperationDef, tuple[tf.Tensor, ...]]] = {}
    waiting = [sink.future.parent_operation for sink in sinks]
    while waiting:
        node = waiting.pop()
        operation = node.operation_def
        if not _is_known(operation):
            raise UnknownAnalyzerError(type(operation).__name__)
        if isinstance(operation, ACCUMULATING):
            found[operation.label] = operation, tuple(_sourced_tensors(node))
        else:
            waiting += [value.parent_operation for value in node.inputs]
    return dict(sorted(found.items()))


def _is_known(operation: nodes.OperationDef) -> bool:
    match operation:
        case analyzer_nodes.VocabularyAccumulate() | analyzer_nodes.VocabularyMerge():
            return bool(operation.vocab_ordering_type == _VocabOrderingType.FREQUENCY)
        case analyzer_nodes.VocabularyPrune():
            return operation.key_fn is None
        case analyzer_nodes.VocabularyOrderAndWrite():
            return bool(operation.file_format == "text")
    return isinstance(
        operation,
        (
            analyzer_nodes.CacheableCombineAccumulate,
            analyzer_nodes.CacheableCombineMerge,
            analyzer_nodes.ExtractCombineMergeOutputs,
            analyzer_nodes.VocabularyCount,
        ),
    )


def _combiner(operation: nodes.OperationDef) -> Any:
    is_vocabulary = isinstance(operation, analyzer_nodes.VocabularyAccumulate)
    return None if is_vocabulary else operation.combiner


def _start(combiner: Any) -> Any:
    return collections.Counter() if combiner is None else combiner.create_accumulator()


def _add(combiner: Any, gathered: Any, arrays: tuple[Array, ...]) -> Any:
    if combiner is None:
        [tokens] = arrays
        gathered.update(tokens.tolist())
        return gathered
    return combiner.add_input(gathered, arrays)


def leave_out_wrappers(module: Any) -> None:
    """Leave out the tables that only wrap another, whose words they look up by its handle.

    tf.Transform keeps both. Each costs whoever loads the graph, or a model of it, three functions.
    """
    first = {id(each.resource_handle): each for each in reversed(module.resources)}
    module.resources = [*reversed(first.values())]
    module.initializers = [
        each._initializer for each in module.resources if hasattr(each, "_initializer")
    ]
