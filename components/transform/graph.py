"""Analysis: raw examples to a transform graph, in this process or on Beam.

Record batches go in as dense tensors with missing values already in the form that the
device will see (`edgeline.artifacts.features`), so that nothing differs between the two.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from edgeline import artifacts
from edgeline.artifacts import batches
from edgeline.artifacts import features as raw
from edgeline.artifacts.features import Feature
from edgeline.beam import runner as runners
from edgeline.beam import slices
from edgeline.beam.exchange import Exchange
from edgeline.beam.workers import Workers
from edgeline.components.transform.saved_graph import check_label
from edgeline.errors import EdgelineError, UsageError
from edgeline.formats.dtypes import Array
from edgeline.stores import remote
from edgeline.stores.destinations import refuse_forgotten
from edgeline.stores.shared_folder import local_path
from edgeline.user_code import describe, reason

if TYPE_CHECKING:
    import apache_beam as beam
    import tensorflow as tf
    from tfx_bsl.tfxio import tensor_adapter

CACHE_SCHEMA = "analyzer_cache/v1"
ARROW_TYPES = {"float32": pa.float32(), "int64": pa.int64(), "string": pa.binary()}
ROWS = "rows_analyzed"
LEARNT_ROWS = 1 << 16  # at once, as each analyzer is called for each batch


def analyze(
    parts: Mapping[str, Path],
    features: Sequence[Feature],
    preprocessing_fn: Callable[..., object],
    output: Path,
    workers: Workers | None = None,
    cache: str = "",
    label: str = "",
) -> int:
    """Write a transform graph in the layout of `tft.TFTransformOutput`.

    Args:
        parts: Parquet files to analyse, by the digest of their content.
        features: the raw features, given to `preprocessing_fn` as dense tensors.
        preprocessing_fn: the user's function.
        output: the folder to write into.
        workers: who makes the passes over the rows; None: this process. tf.Transform's own Beam
            pipeline computes what `here` does not.
        cache: a folder for what was learnt of each part, so that a later analysis
            reads new parts alone, with tf.Transform's own Beam pipeline in this process; "" keeps
            nothing.
        label: an output that there must be, or "".

    Returns:
        The number of rows that were read.

    Raises:
        EdgelineError: `preprocessing_fn` failed or gave something that is no
            dictionary of dense tensors, or not the label, or rows were lost, or an analyzer
            cannot be computed by workers elsewhere.
    """
    from edgeline.components.transform import here, phases, spread_analysis

    if cache and local_path(cache) is None:
        raise UsageError(
            f"analyzer_cache is {remote.public(cache)}, and the cache is a folder: give one of a "
            "volume (manifests/README.md, What a task has)."
        )
    refuse_forgotten("analyzer_cache", cache)
    step = _Errors(preprocessing_fn, label)
    paths = list(parts.values())
    analyzer = ""
    if not cache:

        def in_this_process(phase: phases.Phase) -> phases.Gathered:
            return phases.accumulate(phase.steps, phase.call, features, _arrays(paths, features))

        gather: Callable[[phases.Phase], phases.Gathered] = in_this_process
        if workers:
            gather = spread_analysis.gatherer(workers, paths, features)
        try:
            here.analyze(gather, features, step, output)
            return _count(paths)
        except phases.UnknownAnalyzerError as error:
            analyzer = str(error)
    if cache:  # what it holds is on this machine, and only what is new is read
        return _analyze_on_beam(parts, features, step, output, cache=str(local_path(cache)))
    shared = _reachable(workers, analyzer) if workers else ""
    return _analyze_on_beam(parts, features, step, output, workers, shared)


def _reachable(workers: Workers, analyzer: str) -> str:
    """The folder in which tf.Transform's pipeline keeps what its workers share, if they reach it.

    Raises:
        EdgelineError: TensorFlow, which reads and writes there, does not.
    """
    import tensorflow as tf

    if workers.runner.here:
        return ""
    uri = workers.exchange.folder.uri
    place = f"{local_path(uri) or uri}/tensorflow"
    try:
        tf.io.gfile.makedirs(place)
    except tf.errors.OpError as error:
        raise EdgelineError(
            f"preprocessing_fn has an analyzer ({analyzer}) that tf.Transform's own pipeline "
            f"computes, whose workers cannot reach {place} ({reason(error)}): give "
            "--temp_location=file:///... of a volume that they mount, or leave 'beam_options' "
            "empty."
        ) from None
    return place


def _arrays(paths: Iterable[Path], features: Sequence[Feature]) -> Iterator[dict[str, Array]]:
    for path in paths:
        with pq.ParquetFile(path) as file:
            for batch in batches.stream(file, most_rows=LEARNT_ROWS):
                yield raw.to_numpy(batch, features)


def _count(paths: Iterable[Path]) -> int:
    return sum(pq.read_metadata(path).num_rows for path in paths)


def _analyze_on_beam(
    parts: Mapping[str, Path],
    features: Sequence[Feature],
    step: _Errors,
    output: Path,
    workers: Workers | None = None,
    shared: str = "",
    cache: str = "",
) -> int:
    """tf.Transform's own pipeline.

    Args:
        shared: a folder that TensorFlow reaches here and in workers elsewhere, who then read the
            slices; "": all is done on this machine.
    """
    import tensorflow as tf
    import tensorflow_transform.beam as tft_beam

    config = _tensor_adapter_config(features)
    runner = workers.runner if workers and (shared or workers.runner.here) else runners.read(())
    with contextlib.ExitStack() as stack:
        temporary = shared or stack.enter_context(tempfile.TemporaryDirectory())
        stack.enter_context(tft_beam.Context(temp_dir=temporary))
        pipeline = runner.pipeline()
        if cache:
            kept = str(stack.enter_context(_renewing(Path(cache) / "learnt")))
            graph, read = _analyze_with_cache(pipeline, parts, features, config, step, kept)
        else:
            read = list(parts.values())
            rows_of = _read(read, features)
            if workers and shared:
                rows_of = _received(workers, read, features)
            graph = (pipeline | "Read" >> rows_of, config) | tft_beam.AnalyzeDataset(step)
        graph | tft_beam.WriteTransformFn(f"{shared}/graph" if shared else str(output))
        try:
            rows = runners.run(pipeline, [ROWS])[ROWS]
        except ValueError as error:  # tf.Transform's, around what TensorFlow raised
            cause: BaseException | None = error
            while cause and not isinstance(cause, tf.errors.OpError):
                cause = cause.__cause__ or cause.__context__
            if not cause:
                raise
            raise EdgelineError(f"preprocessing_fn fails on the data: {reason(cause)}") from error
        except RuntimeError as error:  # of a job elsewhere; a gRPC call's is none
            if not shared or isinstance(error, EdgelineError):
                raise
            raise runners.failure(runner, error) from error
        if shared:
            _copy(f"{shared}/graph", output)
    expected = _count(read)
    if rows != expected:
        raise EdgelineError(
            f"Beam analysed {rows} of {expected} rows: the runner lost some, use another runner."
        )
    return rows


def _copy(place: str, output: Path) -> None:
    """Bring a folder here that TensorFlow reaches."""
    import tensorflow as tf

    for folder, _, names in tf.io.gfile.walk(place):
        target = output / folder.removeprefix(place).strip("/")
        target.mkdir(parents=True, exist_ok=True)
        for name in names:
            tf.io.gfile.copy(f"{folder.rstrip('/')}/{name}", str(target / name), overwrite=True)


class _Errors:
    """`preprocessing_fn` with its exceptions turned into sentences."""

    def __init__(self, preprocessing_fn: Callable[..., object], label: str) -> None:
        self.preprocessing_fn = preprocessing_fn
        self.label = label

    def __call__(self, inputs: Mapping[str, tf.Tensor]) -> Mapping[str, tf.Tensor]:
        import tensorflow as tf

        try:
            outputs = self.preprocessing_fn(inputs)
        except EdgelineError:
            raise
        except KeyError as error:
            raise EdgelineError(
                describe(error, "preprocessing_fn") + f"; the raw features are {', '.join(inputs)}."
            ) from error
        except Exception as error:
            raise EdgelineError(describe(error, "preprocessing_fn")) from error
        if not isinstance(outputs, Mapping) or not outputs:
            raise EdgelineError("preprocessing_fn must return a dictionary of tensors by name.")
        if self.label:
            check_label(self.label, list(outputs))
        for name, value in outputs.items():
            if not isinstance(value, tf.Tensor):
                raise EdgelineError(
                    f"preprocessing_fn's output {name!r} is a {type(value).__name__}, which no "
                    "edge model takes: return a dense tensor of shape [batch, n]."
                )
            if value.dtype.name not in ARROW_TYPES:
                raise EdgelineError(
                    f"preprocessing_fn's output {name!r} is {value.dtype.name}: "
                    "cast it to float32 or int64."
                )
        return outputs


@contextlib.contextmanager
def _renewing(cache: Path) -> Iterator[Path]:
    """A copy of the cache that takes its place when the analysis ends well.

    tf.Transform lists what it will write before it writes it, so a cache that a kill
    left behind would name what is not there.
    """
    with artifacts.writing(cache, CACHE_SCHEMA) as draft:
        with contextlib.suppress(EdgelineError):  # damaged or none yet: all is learnt anew
            artifacts.read(cache, CACHE_SCHEMA)
            shutil.copytree(cache, draft.path, dirs_exist_ok=True)
            (draft.path / artifacts.LISTING).unlink()
        yield draft.path


def _analyze_with_cache(
    pipeline: beam.Pipeline,
    parts: Mapping[str, Path],
    features: Sequence[Feature],
    config: tensor_adapter.TensorAdapterConfig,
    step: _Errors,
    cache: str,
) -> tuple[object, list[Path]]:
    import tensorflow as tf
    import tensorflow_transform.beam as tft_beam
    from tensorflow_transform.beam import analysis_graph_builder, analyzer_cache

    keys = {analyzer_cache.DatasetKey(digest): path for digest, path in parts.items()}
    known = pipeline | "ReadCache" >> analyzer_cache.ReadAnalysisCacheFromFS(cache, list(keys))
    specs = {
        feature.name: tf.TensorSpec([None, *feature.shape], feature.dtype) for feature in features
    }
    needed = analysis_graph_builder.get_analysis_dataset_keys(
        step, specs, list(keys), known, force_tf_compat_v1=False
    )
    batches = {
        key: (pipeline | f"Read {key.key[:16]}" >> _read([path], features))
        if key in needed
        else None
        for key, path in keys.items()
    }
    graph, learnt = (batches, known, config) | tft_beam.AnalyzeDatasetWithCache(
        step, pipeline=pipeline
    )
    learnt | "WriteCache" >> analyzer_cache.WriteAnalysisCacheToFS(pipeline, cache, list(keys))
    return graph, [path for key, path in keys.items() if key in needed]


def _read(paths: Sequence[Path], features: Sequence[Feature]) -> Any:
    """A transform from nothing to the filled record batches of some Parquet files."""
    import apache_beam as beam

    groups = [
        (str(path), group)
        for path in paths
        for group in range(pq.read_metadata(path).num_row_groups)
    ]

    @beam.ptransform_fn  # type: ignore[untyped-decorator]
    def read(begin: beam.pvalue.PBegin) -> Any:
        rows = beam.FlatMap(_read_row_group, list(features))
        return begin | beam.Create(groups) | beam.Reshuffle() | rows

    return read()


def _read_row_group(place: tuple[str, int], features: list[Feature]) -> Iterator[pa.RecordBatch]:
    from apache_beam.metrics import Metrics

    path, group = place
    with pq.ParquetFile(path) as file:
        for batch in batches.stream(file, row_groups=[group]):
            Metrics.counter("edgeline", ROWS).inc(batch.num_rows)
            yield _filled(batch, features)


def _received(workers: Workers, parts: Collection[Path], features: Sequence[Feature]) -> Any:
    """A transform from nothing to the filled record batches of the workers' slices."""
    import apache_beam as beam

    names = [each.name for each in workers.slices if each.part in parts]

    @beam.ptransform_fn  # type: ignore[untyped-decorator]
    def received(begin: beam.pvalue.PBegin) -> Any:
        rows = beam.FlatMap(_read_slice, workers.exchange, list(features))
        return begin | beam.Create(names) | beam.Reshuffle() | rows

    return received()


def _read_slice(name: str, exchange: Exchange, features: list[Feature]) -> Iterator[pa.RecordBatch]:
    from apache_beam.metrics import Metrics

    for batch in slices.receive(exchange, name):
        Metrics.counter("edgeline", ROWS).inc(batch.num_rows)
        yield _filled(batch, features)


def _filled(batch: pa.RecordBatch, features: Sequence[Feature]) -> pa.RecordBatch:
    columns = []
    for feature in features:
        values = raw.to_numpy(batch, [feature])[feature.name]
        width = values.size // max(len(values), 1)
        offsets = np.arange(len(values) + 1, dtype=np.int32) * width
        flat = pa.array(values.ravel(), ARROW_TYPES[feature.dtype], from_pandas=False)
        columns.append(pa.ListArray.from_arrays(offsets, flat))
    return pa.RecordBatch.from_arrays(columns, [feature.name for feature in features])


def _tensor_adapter_config(features: Sequence[Feature]) -> tensor_adapter.TensorAdapterConfig:
    import tensorflow as tf
    from tensorflow_transform.tf_metadata import schema_utils
    from tfx_bsl.tfxio import tensor_adapter, tensor_representation_util

    spec = {
        feature.name: tf.io.FixedLenFeature(feature.shape, tf.dtypes.as_dtype(feature.dtype))
        for feature in features
    }
    representations = tensor_representation_util.InferTensorRepresentationsFromMixedSchema(
        schema_utils.schema_from_feature_spec(spec)
    )
    arrow = pa.schema([(f.name, pa.list_(ARROW_TYPES[f.dtype])) for f in features])
    return tensor_adapter.TensorAdapterConfig(arrow, representations)
