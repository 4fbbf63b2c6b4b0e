"""Analysis by phases: tf.Transform's analyzers and graphs, without tf.Transform's Beam.

Beam's graph of a table of 2,000 columns takes minutes to build, before a row is read: its steps
are compared with each other. Here each phase of an analysis (`phases`) is one pass over the rows,
which feeds all analyzers, and the work stays linear in their number. The pass is made in this
process, or by workers on a slice of the rows each (`spread_analysis`). What is computed is
tf.Transform's own: its combiners learn, its tracing makes the graph.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tensorflow_transform import analyzer_nodes, nodes

from edgeline.artifacts.features import Feature
from edgeline.components.transform.phases import (
    Gathered,
    Phase,
    Preprocessing,
    context,
    leave_out_wrappers,
    sources_of,
)
from edgeline.errors import EdgelineError

if TYPE_CHECKING:
    import tensorflow as tf


def analyze(
    gather: Callable[[Phase], Gathered],
    features: Sequence[Feature],
    preprocessing_fn: Preprocessing,
    output: Path,
) -> None:
    """Write a transform graph in the layout of `tft.TFTransformOutput`.

    Args:
        gather: makes the pass of a phase over all rows (see `accumulate`).
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
            phase = Phase(preprocessing_fn, specs, learnt, temporary)
            if phase.ready:
                walk = nodes.Traverser(_Results(gather(phase), temporary))
                for sink in phase.ready:
                    value = walk.visit_value_node(sink.future)
                    learnt[sink.tensor.name] = tf.constant(value, sink.tensor.dtype)
            complete = len(learnt) == len(phase.sources)
            if not phase.ready and not complete:
                raise _uncertain()
        _write(preprocessing_fn, specs, learnt, phase.sources, temporary, output)


def _uncertain() -> EdgelineError:
    return EdgelineError(
        "preprocessing_fn does not call the same analyzers in the same order each time: "
        "make the order certain, or give each call of tf.Transform a name."
    )


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
        preprocess, specs, context(temporary, learnt, module)
    )
    saved = saved_transform_io_v2.trace_and_update_module(
        module, function, "transform_fn", strip_control_dependencies=False
    )
    leave_out_wrappers(module)
    tf.saved_model.save(module, str(output / TFTransformOutput.TRANSFORM_FN_DIR))
    inputs = tf2_utils.get_structured_inputs_from_func_graph(saved.graph)
    if sources_of(saved.graph, inputs) != sources:
        raise _uncertain()
    metadata = schema_inference.infer_feature_schema_v2(
        saved.structured_outputs, lambda: _annotations(saved, made), evaluate_schema_overrides=True
    )
    folder = output / TFTransformOutput.TRANSFORMED_METADATA_DIR
    metadata_io.write_metadata(dataset_metadata.DatasetMetadata(metadata), str(folder))
    if assets := annotators.get_asset_annotations(saved.graph):
        (folder / TFTransformOutput.ASSET_MAP).write_text(json.dumps(assets))


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
