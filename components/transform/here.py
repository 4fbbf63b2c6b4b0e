"""Analysis in this process: tf.Transform's analyzers and graphs, without Beam.

Beam's graph of a table of 2,000 columns takes minutes to build, before a row is read: its steps
are compared with each other. Here each phase of an analysis is one pass over the rows, which feeds
all analyzers, and the work stays linear in their number. What is computed is tf.Transform's own:
its combiners learn, its tracing makes the graph. Phases are those of
`tensorflow_transform.beam.analysis_graph_builder`: a phase has the analyzers whose input depends on
none that is still to be learnt.
"""

from __future__ import annotations

import collections
import hashlib
import heapq
import json
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
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
Batches = Callable[[], Iterable[Mapping[str, Array]]]
ACCUMULATING = (analyzer_nodes.CacheableCombineAccumulate, analyzer_nodes.VocabularyAccumulate)


class UnknownAnalyzerError(Exception):
    """An analyzer that is not computed here, such as one by key: Beam computes it."""


def analyze(
    batches: Batches, features: Sequence[Feature], preprocessing_fn: Preprocessing, output: Path
) -> None:
    """Write a transform graph in the layout of `tft.TFTransformOutput`.

    Args:
        batches: gives the rows to analyse, from the first, each time that it is called: by raw
            feature an array [batch, ...].
        features: the raw features.
        preprocessing_fn: the user's function.
        output: the folder to write into.

    Raises:
        UnknownAnalyzerError: an analyzer is computed by Beam alone; nothing was read or written.
        EdgelineError: `preprocessing_fn` failed on the data, or does not call the same analyzers
            each time.
    """
    import tensorflow as tf

    specs = {  # in the order that tf.Transform gives them in on Beam
        feature.name: tf.TensorSpec([None, *feature.shape], feature.dtype)
        for feature in sorted(features, key=lambda feature: feature.name)
    }
    with tempfile.TemporaryDirectory() as temporary:
        learnt: dict[str, tf.Tensor] = {}
        complete = False
        while not complete:
            phase = _Phase(preprocessing_fn, specs, learnt, temporary)
            if phase.ready:
                walk = nodes.Traverser(_Results(phase.accumulate(batches()), temporary))
                for sink in phase.ready:
                    value = walk.visit_value_node(sink.future)
                    learnt[sink.tensor.name] = tf.constant(value, sink.tensor.dtype)
            complete = len(learnt) == len(phase.sources)
            if not phase.ready and not complete:
                raise _uncertain()
        _write(preprocessing_fn, specs, learnt, phase.sources, temporary, output)


class _Phase:
    """A trace of `preprocessing_fn` with what was learnt in earlier phases.

    ready: tf.Transform's `TensorSink`s that can be learnt now; none when all are.
    sources: by each analyzer's tensor the raw features that it is computed from.
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
            with _context(temporary, learnt):
                preprocessing_fn(given)
            graph = tf.compat.v1.get_default_graph()
            if graph.get_collection(tf.compat.v1.GraphKeys.TRAINABLE_VARIABLES):
                raise EdgelineError(
                    "preprocessing_fn makes a variable that is trained: leave training to "
                    "build_model."
                )
            self.sources = _sources(graph, inputs)
            waiting = graph.get_collection(analyzer_nodes.TENSOR_REPLACEMENTS)
            _accumulators(waiting)  # all are known, those of later phases too
            self.ready = _ready(graph, inputs, waiting)
            self.accumulators = _accumulators(self.ready)
            return {
                tensor.name: tensor
                for _, tensors in self.accumulators.values()
                for tensor in tensors
            }

        # not tf.Transform's own tracing: it also prunes the graph for a SavedModel
        tables, objects = tracking.ResourceTracker(), annotators.ObjectTracker()
        with tracking.resource_tracker_scope(tables), annotators.object_tracker_scope(objects):
            self.call = trace.get_concrete_function()
        self.alive = (tables.resources, objects.trackable_objects)  # of what was learnt

    def accumulate(self, batches: Iterable[Mapping[str, Array]]) -> dict[str, Any]:
        """What each accumulating step gathers from all rows, by its label."""
        import tensorflow as tf

        gathered = {label: _start(operation) for label, (operation, _) in self.accumulators.items()}
        for batch in ahead(batches):
            given = {
                name: tf.constant(batch[name], spec.dtype) for name, spec in self.specs.items()
            }
            try:
                values = {name: value.numpy() for name, value in self.call(given).items()}
            except tf.errors.OpError as error:
                raise EdgelineError(
                    f"preprocessing_fn fails on the data: {reason(error)}"
                ) from error
            for label, (operation, tensors) in self.accumulators.items():
                arrays = tuple(values[tensor.name] for tensor in tensors)
                gathered[label] = _add(operation, gathered[label], arrays)
        return gathered


def _uncertain() -> EdgelineError:
    return EdgelineError(
        "preprocessing_fn does not call the same analyzers in the same order each time: "
        "make the order certain, or give each call of tf.Transform a name."
    )


def _context(temporary: str, learnt: Mapping[str, tf.Tensor], module: Any = None) -> Any:
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


def _sources(graph: tf.Graph, inputs: Mapping[str, tf.Tensor]) -> dict[str, frozenset[str]]:
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


def _start(operation: nodes.OperationDef) -> Any:
    if isinstance(operation, analyzer_nodes.VocabularyAccumulate):
        return collections.Counter()
    return operation.combiner.create_accumulator()


def _add(operation: nodes.OperationDef, gathered: Any, arrays: tuple[Array, ...]) -> Any:
    if isinstance(operation, analyzer_nodes.VocabularyAccumulate):
        [tokens] = arrays
        gathered.update(tokens.tolist())
        return gathered
    return operation.combiner.add_input(gathered, arrays)


class _Results(nodes.Visitor):  # type: ignore[misc]
    """The values of analyzers, from what was gathered of the rows.

    Each case is what `tensorflow_transform.beam.analyzer_impls` has for it.
    """

    def __init__(self, gathered: Mapping[str, Any], temporary: str) -> None:
        self.gathered, self.temporary = gathered, temporary

    def validate_value(self, value: object) -> None:
        """Nothing to check: the values are arrays and lists."""

    def visit(self, operation: nodes.OperationDef, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        match operation:
            case analyzer_nodes.TensorSource():
                return (None,)
            case analyzer_nodes.CacheableCombineAccumulate():
                return (operation.combiner.compact(self.gathered[operation.label]),)
            case analyzer_nodes.CacheableCombineMerge():
                combiner = operation.combiner
                merged = combiner.merge_accumulators([combiner.create_accumulator(), inputs[0]])
                return (combiner.extract_output(merged),)
            case analyzer_nodes.ExtractCombineMergeOutputs():
                return tuple(inputs[0])
            case analyzer_nodes.VocabularyAccumulate():
                return (self.gathered[operation.label],)
            case analyzer_nodes.VocabularyMerge():
                return ([(count, token) for token, count in inputs[0].items()],)
            case analyzer_nodes.VocabularyCount():
                return (np.int64(max(len(inputs[0]), 1)),)
            case analyzer_nodes.VocabularyPrune():
                return (_pruned(inputs[0], operation),)
        assert isinstance(operation, analyzer_nodes.VocabularyOrderAndWrite)
        return (np.array(self._written(inputs[0], operation)),)

    def _written(self, counts: list[tuple[int, bytes]], operation: nodes.OperationDef) -> str:
        if operation.fingerprint_shuffle:
            counts = sorted(counts, key=lambda pair: hashlib.sha1(pair[1]).digest())
        else:
            counts = sorted(counts, reverse=True)
        lines = (
            b"%d %s" % (count, token) if operation.store_frequency else token
            for count, token in _never_empty(counts, operation.input_dtype)
        )
        path = Path(self.temporary) / operation.vocab_filename
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"".join(line + b"\n" for line in lines))
        return str(path)


def _pruned(
    counts: list[tuple[int, Any]], operation: nodes.OperationDef
) -> list[tuple[int, bytes]]:
    if operation.frequency_threshold > 0:
        counts = [pair for pair in counts if pair[0] >= operation.frequency_threshold]
    if operation.input_dtype != "string":
        counts = [(count, str(token).encode()) for count, token in counts]
    if operation.top_k is None:
        return counts
    return _never_empty(heapq.nlargest(operation.top_k, counts), operation.input_dtype)


def _never_empty(counts: list[tuple[int, bytes]], dtype: str) -> list[tuple[int, bytes]]:
    """A table cannot be made of an empty file: a word that no data have stands in it."""
    from tensorflow_transform import analyzers

    return counts or [analyzers.get_empy_vocabulary_dummy_value(dtype)]


def _write(
    preprocessing_fn: Preprocessing,
    specs: Mapping[str, tf.TensorSpec],
    learnt: Mapping[str, tf.Tensor],
    sources: Mapping[str, frozenset[str]],
    temporary: str,
    output: Path,
) -> None:
    """Trace `preprocessing_fn` with all that was learnt, and save it as tf.Transform does."""
    import tensorflow as tf
    from tensorflow_transform import (
        TFTransformOutput,
        annotators,
        impl_helper,
        schema_inference,
        tf2_utils,
    )
    from tensorflow_transform.saved import saved_transform_io_v2
    from tensorflow_transform.tf_metadata import dataset_metadata, metadata_io

    made: dict[str, tf.Tensor] = {}

    def preprocess(inputs: Mapping[str, tf.Tensor]) -> Mapping[str, tf.Tensor]:
        made.clear()
        made.update(preprocessing_fn(inputs))
        return made

    module = tf.Module()
    function = impl_helper.get_traced_transform_fn(
        preprocess, specs, _context(temporary, learnt, module)
    )
    saved = saved_transform_io_v2.trace_and_update_module(
        module, function, "transform_fn", strip_control_dependencies=False
    )
    _leave_out_wrappers(module)
    tf.saved_model.save(module, str(output / TFTransformOutput.TRANSFORM_FN_DIR))
    inputs = tf2_utils.get_structured_inputs_from_func_graph(saved.graph)
    if _sources(saved.graph, inputs) != sources:
        raise _uncertain()
    metadata = schema_inference.infer_feature_schema_v2(
        saved.structured_outputs, lambda: _annotations(saved, made), evaluate_schema_overrides=True
    )
    folder = output / TFTransformOutput.TRANSFORMED_METADATA_DIR
    metadata_io.write_metadata(dataset_metadata.DatasetMetadata(metadata), str(folder))
    if assets := annotators.get_asset_annotations(saved.graph):
        (folder / TFTransformOutput.ASSET_MAP).write_text(json.dumps(assets))


def _leave_out_wrappers(module: Any) -> None:
    """Leave out the tables that only wrap another, whose words they look up by its handle.

    tf.Transform keeps both. Each costs whoever loads the graph, or a model of it, three functions.
    """
    first = {id(each.resource_handle): each for each in reversed(module.resources)}
    module.resources = [*reversed(first.values())]
    module.initializers = [
        each._initializer for each in module.resources if hasattr(each, "_initializer")
    ]


def _annotations(
    saved: tf.types.experimental.ConcreteFunction, made: Mapping[str, tf.Tensor]
) -> dict[str, list[tf.Tensor]]:
    """What a schema is told of transformed features, in the form of `infer_feature_schema_v2`.

    tf.Transform traces `preprocessing_fn` once more for it; what was traced for the graph knows it.

    Args:
        saved: that was traced, with all that was learnt.
        made: its outputs as `preprocessing_fn` gave them.
    """
    import tensorflow as tf
    from tensorflow_transform import schema_inference as schema
    from tensorflow_transform.saved.saved_transform_io_v2 import wrap_function

    names = schema._get_tensor_value_to_key_map(made)
    kinds = (  # where the tensors of features are, what is said of each, who is meant by others
        (
            schema._TF_METADATA_TENSOR_COLLECTION,
            [schema._TF_METADATA_TENSOR_MIN_COLLECTION, schema._TF_METADATA_TENSOR_MAX_COLLECTION],
            None,
        ),
        (
            schema._TF_METADATA_EXTRA_ANNOTATION,
            [
                schema._TF_METADATA_EXTRA_ANNOTATION_TYPE_URL,
                schema._TF_METADATA_EXTRA_ANNOTATION_PROTO,
            ],
            schema._TF_METADATA_EXTRA_ANNOTATION_GLOBAL,
        ),
    )
    told: dict[str, list[tf.Tensor]] = {}
    for features, said, others in kinds:
        found = schema._get_schema_overrides(saved.graph, names, features, said, others)
        if not found[features]:
            continue
        wrapped = wrap_function.WrappedFunction(
            saved.graph, variable_holder=wrap_function.VariableHolder(share_variables=True)
        )
        fetches = {key: list(found[key]) for key in said}
        told |= wrapped.prune(feeds=[], fetches=fetches)()
        told[features] = [tf.constant(name) for name in found[features]]
    return told
