"""tf.Example and tf.SequenceExample, parsed without TensorFlow.

Both are the protocol buffers of tensorflow/core/example/example.proto, and an example is a sequence
example without feature lists, as the two have their features in the same field.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

KINDS = {"int64_list": "int64", "float_list": "float", "bytes_list": "bytes"}


class ExampleFeature(NamedTuple):
    """What a record has of a feature.

    Attributes:
        kind: int64, float or bytes; "" where neither kind nor values are written.
        values: its values; of a feature list one of each step, None where a step has none.
        in_steps: whether it is a feature list.
        fault: what keeps a feature list from being a list of values; else "".
    """

    kind: str
    values: Sequence[Any]
    in_steps: bool = False
    fault: str = ""


def parse(data: bytes) -> dict[str, ExampleFeature]:
    """A record's features and feature lists by their names.

    Raises:
        google.protobuf.message.DecodeError: it is not a tf.Example.
        ValueError: a feature and a feature list have the same name, which is the argument.
    """
    record = _sequence_example().FromString(data)
    found = {name: _feature(each) for name, each in record.context.feature.items()}
    for name, steps in record.feature_lists.feature_list.items():
        if name in found:
            raise ValueError(name)
        found[name] = _listed([_feature(step) for step in steps.feature])
    return found


def _feature(feature: Any) -> ExampleFeature:
    kind = feature.WhichOneof("kind")
    return ExampleFeature(KINDS[kind], getattr(feature, kind).value) if kind else _WITHOUT_KIND


_WITHOUT_KIND = ExampleFeature("", ())


def _listed(steps: Sequence[ExampleFeature]) -> ExampleFeature:
    kinds = {step.kind for step in steps if step.kind}
    fault = f"holds {' and '.join(sorted(kinds))}" if len(kinds) > 1 else ""
    if wide := next((step for step in steps if len(step.values) > 1), None):
        fault = f"has {len(wide.values)} values in a step"
    values = [step.values[0] if step.values else None for step in steps]
    return ExampleFeature(next(iter(kinds), ""), values, True, fault)


@functools.cache
def _sequence_example() -> Any:
    """Its class, in a descriptor pool of its own so that TensorFlow may be imported as well."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="example.proto", package="tensorflow", syntax="proto3"
    )

    def add(owner: Any, name: str, number: int, kind: int, of: str = "", many: bool = False) -> Any:
        label = field.LABEL_REPEATED if many else field.LABEL_OPTIONAL
        of = f".tensorflow.{of}" if of else ""
        return owner.field.add(
            name=name, number=number, type=kind, label=label, type_name=of or None
        )

    def add_map(called: str, name: str, of: str) -> None:
        owner = file.message_type.add(name=called)
        entry = owner.nested_type.add(name=f"{of}Entry")
        entry.options.map_entry = True
        add(entry, "key", 1, field.TYPE_STRING)
        add(entry, "value", 2, field.TYPE_MESSAGE, of)
        add(owner, name, 1, field.TYPE_MESSAGE, f"{called}.{of}Entry", many=True)

    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    types: Mapping[str, int] = {
        "Bytes": field.TYPE_BYTES,
        "Float": field.TYPE_FLOAT,
        "Int64": field.TYPE_INT64,
    }
    for number, (kind, of_values) in enumerate(types.items(), 1):
        add(file.message_type.add(name=f"{kind}List"), "value", 1, of_values, many=True)
        name = f"{kind.lower()}_list"
        add(feature, name, number, field.TYPE_MESSAGE, f"{kind}List").oneof_index = 0
    add_map("Features", "feature", "Feature")
    steps = file.message_type.add(name="FeatureList")
    add(steps, "feature", 1, field.TYPE_MESSAGE, "Feature", many=True)
    add_map("FeatureLists", "feature_list", "FeatureList")
    example = file.message_type.add(name="SequenceExample")
    add(example, "context", 1, field.TYPE_MESSAGE, "Features")
    add(example, "feature_lists", 2, field.TYPE_MESSAGE, "FeatureLists")

    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    made = pool.FindMessageTypeByName("tensorflow.SequenceExample")
    return message_factory.GetMessageClass(made)
