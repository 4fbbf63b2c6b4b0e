"""What is wrong with a feature of a schema itself, before any data are looked at."""

from __future__ import annotations

from collections.abc import Iterator

from tensorflow_metadata.proto.v0 import schema_pb2

from edgeline.components.validate import schema as schemas
from edgeline.components.validate.anomalies import WARNING, Breach

_BYTES, _INT, _FLOAT = schema_pb2.BYTES, schema_pb2.INT, schema_pb2.FLOAT
FITTING = {
    "bool_domain": (_INT, _BYTES, _FLOAT),
    "int_domain": (_INT, _BYTES),
    "float_domain": (_FLOAT, _BYTES),
    "string_domain": (_BYTES,),
    "struct_domain": (schema_pb2.STRUCT,),
    "natural_language_domain": (_BYTES, _INT),
    "image_domain": (_BYTES,),
    "mid_domain": (_BYTES,),
    "url_domain": (_BYTES,),
    "time_domain": (_INT, _BYTES),
}
"""The types whose values a domain can be of; any for the others."""

_WRONG = "INVALID_SCHEMA_SPECIFICATION"


def complete(
    schema: schema_pb2.Schema, feature: schema_pb2.Feature
) -> tuple[list[Breach], schema_pb2.Feature]:
    """What is wrong with a feature, and the feature without it, its domain in the feature itself.

    A feature that has no type even so cannot be checked against anything.
    """
    completed = schema_pb2.Feature()
    completed.CopyFrom(feature)
    return list(_complete(schema, completed)), completed


def _complete(schema: schema_pb2.Schema, feature: schema_pb2.Feature) -> Iterator[Breach]:
    if not feature.name:
        yield Breach("FEATURE_MISSING_NAME", "has no name in the schema: give it one.")
    if not feature.type:
        feature.type = schemas.type_of(feature)
        sentence = "has no type in the schema: give it BYTES, INT or FLOAT."
        yield Breach("FEATURE_MISSING_TYPE", sentence)
    yield from _numbers(feature)
    yield from _domain(schema, feature)


def _numbers(feature: schema_pb2.Feature) -> Iterator[Breach]:
    fraction = feature.presence.min_fraction
    if not 0 <= fraction <= 1:
        feature.presence.min_fraction = min(max(fraction, 0.0), 1.0)
        sentence = f"has the presence.min_fraction {fraction:g} in the schema: give 0 to 1."
        yield Breach(_WRONG, sentence)
    counts = [feature.value_count] if feature.HasField("value_count") else []
    for count in (*counts, *feature.value_counts.value_count):
        if count.min < 0:
            sentence = f"has at least {count.min} values by the schema: give a min of 0 or more."
            count.ClearField("min")
            yield Breach(_WRONG, sentence)
        if count.HasField("max") and count.max < count.min:
            sentence = f"has {count.min} to {count.max} values by the schema: exchange min and max."
            count.max = count.min
            yield Breach(_WRONG, sentence)
    sizes = [dim.size for dim in feature.shape.dim]
    if any(size <= 0 for size in sizes):
        feature.ClearField("shape")
        sentence = f"has the shape {sizes} in the schema: give sizes of at least 1."
        yield Breach(_WRONG, sentence)


def _domain(schema: schema_pb2.Schema, feature: schema_pb2.Feature) -> Iterator[Breach]:
    kind = feature.WhichOneof("domain_info")
    if kind == "domain":
        name, shared = feature.domain, schemas.domain(schema, feature)
        feature.ClearField("domain")
        if shared is None:
            texts = feature.type in (_BYTES, schema_pb2.TYPE_UNKNOWN)
            wrong = "INVALID_DOMAIN_SPECIFICATION" if texts else "DOMAIN_INVALID_FOR_TYPE"
            sentence = f"has the domain {name!r}, which the schema does not hold: add it there."
            yield Breach(wrong, sentence)
            if texts:
                feature.ClearField("distribution_constraints")
                return
        else:
            kind = {
                schema_pb2.IntDomain: "int_domain",
                schema_pb2.FloatDomain: "float_domain",
            }.get(type(shared), "string_domain")
            getattr(feature, kind).CopyFrom(shared)
    if kind in FITTING and feature.type and feature.type not in FITTING[kind]:
        held = schema_pb2.FeatureType.Name(feature.type)
        feature.ClearField(kind)
        sentence = f"has {kind} and the type {held} in the schema, which do not fit: change one."
        yield Breach("DOMAIN_INVALID_FOR_TYPE", sentence)
        kind = None
    both = feature.bool_domain
    if both.HasField("true_value") and both.true_value == both.false_value:
        sentence = f"has {both.true_value!r} for true and for false in the schema: give two values."
        yield Breach("INVALID_DOMAIN_SPECIFICATION", sentence, WARNING)
    if feature.HasField("distribution_constraints") and kind != "string_domain":
        feature.ClearField("distribution_constraints")
        sentence = "has distribution_constraints in the schema, which only a domain of strings can."
        yield Breach(_WRONG, sentence)
