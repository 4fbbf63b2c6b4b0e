"""Whether all operators of a transform's graph are known to convert, told from its file alone.

Most features are made of a few operators. Where that is so there is nothing to try before a
training, and no conversion to pay for. What is not in this table is not wrong: it is tried.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tensorflow.core.framework.function_pb2 import FunctionDef
    from tensorflow.core.framework.node_def_pb2 import NodeDef
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

FLOAT, INT32, STRING, INT64, BOOL = 1, 3, 7, 9, 10  # TensorFlow's DataType
NUMBERS = frozenset({FLOAT, INT32, INT64})
ANY = NUMBERS | {STRING, BOOL}
SHAPED = ("Identity", "Reshape", "ExpandDims", "Squeeze")  # strings pass them as they came
SELECT = ("Select", "SelectV2")
LOOKUPS = ("LookupTableFindV2", "StringToHashBucketFast", "StringToHashBucket")
# by operator, the types that it converts for
KNOWN: dict[str, frozenset[int]] = {
    **dict.fromkeys(("Const", "Equal", "NotEqual", "Pack", "Shape", *SHAPED, *SELECT), ANY),
    **dict.fromkeys(("AddV2", "Mul", "Sub", "Neg", "Minimum", "Maximum", "ZerosLike"), NUMBERS),
    **dict.fromkeys(("Greater", "GreaterEqual", "Less", "LessEqual"), NUMBERS),
    **dict.fromkeys(("Cast", "ConcatV2", "StridedSlice"), NUMBERS | {BOOL}),
    **dict.fromkeys(("Prod", "Range", "Unpack"), NUMBERS),  # of features side by side
    **dict.fromkeys(("LogicalAnd", "LogicalNot", "LogicalOr"), ANY),
    **dict.fromkeys(("Exp", "IsNan", "Log", "Log1p", "RealDiv", "Sqrt"), frozenset({FLOAT})),
    **dict.fromkeys(("Abs", "ClipByValue", "UpperBound"), frozenset({FLOAT, INT64})),
    **dict.fromkeys(("FloorDiv", "FloorMod"), frozenset({INT64})),
    **dict.fromkeys(("LookupTableSizeV2", "NoOp", *LOOKUPS), ANY),
}


def only_known(transform_fn: Path, leaving_out: str) -> bool:
    """Whether all outputs of a transform but one are made of known operators.

    Args:
        transform_fn: the SavedModel in a folder of `tft.TFTransformOutput`.
        leaving_out: the name of that one, which no model takes: the label.

    Returns:
        False also where the file is put together in another way than tf.Transform does.
    """
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    try:
        content = SavedModel.FromString((transform_fn / "saved_model.pb").read_bytes())
        function, outputs = _function(content)
    except (OSError, DecodeError, StopIteration, KeyError):
        return False
    wanted = [tensor for name, tensor in outputs.items() if name != leaving_out]
    nodes = {node.name: node for node in function.node_def}
    found = list(_before(nodes, wanted))
    if not all(map(_is_known, found)):
        return False
    return _only_looked_up(found, wanted)


def _function(content: SavedModel) -> tuple[FunctionDef, dict[str, str]]:
    """The function `transform_fn` of a SavedModel, and its tensors by the names of its outputs."""
    graph = content.meta_graphs[0]
    objects = graph.object_graph_def
    place = next(c.node_id for c in objects.nodes[0].children if c.local_name == "transform_fn")
    name = objects.nodes[place].bare_concrete_function.concrete_function_name
    function = next(f for f in graph.graph_def.library.function if f.signature.name == name)
    outputs = sorted(objects.concrete_functions[name].output_signature.dict_value.fields)
    gives = [function.ret[argument.name] for argument in function.signature.output_arg]
    if len(outputs) != len(gives):
        raise KeyError(name)
    return function, dict(zip(outputs, gives, strict=True))


def _before(nodes: dict[str, NodeDef], tensors: list[str]) -> Iterator[NodeDef]:
    """The nodes that some tensors are made by."""
    seen: set[str] = set()
    waiting = list(tensors)
    while waiting:
        name = _node(waiting.pop())
        if name in seen or name not in nodes:  # an argument of the function is not a node
            continue
        seen.add(name)
        yield nodes[name]
        waiting += [given for given in nodes[name].input if not given.startswith("^")]


def _is_known(node: NodeDef) -> bool:
    if node.op not in KNOWN:
        return False
    if node.op == "LookupTableFindV2" and node.attr["Tout"].type != INT64:
        return False
    if node.op.startswith("StringToHashBucket") and node.attr["num_buckets"].i != 1:
        return False
    names = ("T", "SrcT", "DstT", "Tin", "Tidx")
    kinds = {node.attr[name].type for name in names if name in node.attr}
    return kinds <= KNOWN[node.op]


def _only_looked_up(nodes: list[NodeDef], wanted: list[str]) -> bool:
    """Whether what is chosen between strings is looked up or compared, as `lowering` needs it."""
    chosen = {node.name for node in nodes if node.op in SELECT and node.attr["T"].type == STRING}
    size = -1
    while size != len(chosen):  # the nodes have no order
        size = len(chosen)
        chosen |= {n.name for n in nodes if n.op in SHAPED and chosen & set(map(_node, n.input))}
    if chosen & set(map(_node, wanted)):
        return False
    passing = (*SELECT, *SHAPED, *LOOKUPS, "Equal", "NotEqual")
    return all(
        node.op in passing for node in nodes if chosen & {_node(given) for given in node.input}
    )


def _node(tensor: str) -> str:
    return tensor.lstrip("^").partition(":")[0]
