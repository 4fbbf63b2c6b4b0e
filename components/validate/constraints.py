"""Every field of a tensorflow_metadata `Schema`: whether it is checked, and why not.

A field is in one of three tables by its message's name and its own. One in none of them is of a
newer tensorflow_metadata than this module knows, and is named as not checked, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet
from tensorflow_metadata.proto.v0 import schema_pb2

from edgeline.components.validate import schema as schemas
from edgeline.components.validate.anomalies import Unchecked


def _of(message: str, *fields: str) -> frozenset[str]:
    return frozenset(f"{message}.{field}" for field in fields)


CHECKED = frozenset().union(
    _of("Schema", "feature", "sparse_feature", "weighted_feature", "string_domain"),
    _of("Schema", "float_domain", "int_domain", "default_environment", "dataset_constraints"),
    _of("Feature", "name", "deprecated", "presence", "shape", "value_count", "value_counts"),
    _of("Feature", "type", "domain", "int_domain", "float_domain", "string_domain"),
    _of("Feature", "bool_domain", "struct_domain", "natural_language_domain", "image_domain"),
    _of("Feature", "distribution_constraints", "skew_comparator", "drift_comparator"),
    _of("Feature", "in_environment", "not_in_environment", "lifecycle_stage"),
    _of("Feature", "unique_constraints", "validation_derived_source"),
    _of("FeaturePresence", "min_fraction", "min_count"),
    _of("FixedShape", "dim"),
    _of("Dim", "size"),
    _of("ValueCount", "min", "max"),
    _of("ValueCountList", "value_count"),
    _of("IntDomain", "name", "min", "max"),
    _of("FloatDomain", "name", "min", "max", "disallow_nan", "disallow_inf"),
    _of("StringDomain", "name", "value"),
    _of("BoolDomain", "true_value", "false_value"),
    _of("StructDomain", "feature", "sparse_feature"),
    _of("ImageDomain", "minimum_supported_image_fraction", "max_image_byte_size"),
    _of("DistributionConstraints", "min_domain_mass"),
    _of("FeatureComparator", "infinity_norm", "jensen_shannon_divergence"),
    _of("FeatureComparator", "normalized_abs_difference"),
    _of("InfinityNorm", "threshold"),
    _of("JensenShannonDivergence", "threshold", "source"),
    _of("HistogramSelection", "type"),
    _of("NormalizedAbsoluteDifference", "threshold"),
    _of("UniqueConstraints", "min", "max"),
    _of("DatasetConstraints", "num_examples_drift_comparator"),
    _of("DatasetConstraints", "min_examples_count", "max_examples_count"),
    _of("NumericValueComparator", "min_fraction_threshold", "max_fraction_threshold"),
    _of("SparseFeature", "name", "deprecated", "lifecycle_stage"),
    _of("SparseFeature", "index_feature", "value_feature"),
    _of("IndexFeature", "name"),
    _of("ValueFeature", "name"),
    _of("WeightedFeature", "name", "feature", "weight_feature", "lifecycle_stage"),
)
"""What checks.py, domains.py, combined.py and shifts.py hold the data to."""

DESCRIPTIVE = frozenset().union(
    _of("Schema", "annotation"),
    _of("Feature", "annotation", "sequence_metadata"),
    _of("Dim", "name"),
    _of("IntDomain", "is_categorical"),
    _of("FloatDomain", "is_embedding", "is_categorical", "embedding_type"),
    _of("StringDomain", "is_categorical"),
    _of("BoolDomain", "name"),
    _of("NaturalLanguageDomain", "vocabulary"),
)
"""What describes values and forbids none."""

_MEANING = "what values mean is not looked into, only their type"
_REPRESENTED = "columns become tensors in one way here, whatever the schema says"
_OBSOLETE = "it is obsolete: say it of the features that the sparse one is made of"
UNCHECKED: Mapping[str, str] = {
    "Schema.represent_variable_length_as_ragged": _REPRESENTED,
    "Schema.tensor_representation_group": _REPRESENTED,
    "Feature.group_presence": "columns have no groups: give presence",
    "Feature.audio_domain": _MEANING,
    "Feature.video_domain": _MEANING,
    "Feature.content_chunk_domain": _MEANING,
    "Feature.mid_domain": _MEANING,
    "Feature.url_domain": _MEANING,
    "Feature.time_domain": _MEANING,
    "Feature.time_of_day_domain": _MEANING,
    "FloatDomain.embedding_dim": "it does not bound the number of values: give shape",
    "NaturalLanguageDomain.coverage": "no statistics of tokens are made",
    "NaturalLanguageDomain.token_constraints": "no statistics of tokens are made",
    "NaturalLanguageDomain.sequence_length_constraints": "no statistics of tokens are made",
    "DatasetConstraints.num_examples_version_comparator": "there are no statistics of an earlier "
    "version of the same data: num_examples_drift_comparator compares with baseline_uri",
    "SparseFeature.presence": _OBSOLETE,
    "SparseFeature.type": _OBSOLETE,
    "SparseFeature.dense_shape": "indices are not compared with it: give them an int_domain",
    "SparseFeature.is_sorted": "the order of indices is not looked at",
}
"""What is not checked, by the reason."""


def unchecked(schema: schema_pb2.Schema) -> list[Unchecked]:
    """What a schema says that no check looks at, whatever the data are."""
    found = list(_unchecked(schema, "", ("feature", "sparse_feature", "weighted_feature")))
    for path, feature, used in schemas.walk(schema):
        if used:
            found += _unchecked(feature, path, ("struct_domain",))
    for path, sparse in schemas.sparse_features(schema):
        found += _unchecked(sparse, path)
    for weighted in schema.weighted_feature:
        if schemas.is_live(weighted.lifecycle_stage):
            found += _unchecked(weighted, weighted.name)
    return found


def _unchecked(
    message: Message, feature: str, left_out: Iterable[str] = (), prefix: str = ""
) -> Iterator[Unchecked]:
    for field, value in message.ListFields():
        key, place = f"{message.DESCRIPTOR.name}.{field.name}", f"{prefix}{field.name}"
        if field.name in left_out or key in DESCRIPTIVE:
            continue
        if key in UNCHECKED:
            yield Unchecked(feature, place, UNCHECKED[key])
        elif key not in CHECKED:
            yield Unchecked(feature, place, "this version of edgeline does not know the field")
        elif field.message_type and field.message_type.name not in ("Path", "DerivedFeatureSource"):
            for each in [value] if isinstance(value, Message) else value:
                yield from _unchecked(each, feature, (), f"{place}.")
    newer = UnknownFieldSet(message)
    for index in range(len(newer)):
        number = f"{prefix}field {newer[index].field_number}"
        yield Unchecked(
            feature, number, "the installed tensorflow_metadata does not know the field"
        )
