"""What operators read and make: which inputs reach them, and which outputs are made with them.

Also those inside a loop, a branch or a call, whose body is a function of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import tensorflow as tf
from tensorflow.core.framework.function_pb2 import FunctionDef

LOOPS = ("While", "StatelessWhile")
BRANCHES = ("If", "StatelessIf")  # the first input says which
CALLS = ("PartitionedCall", "StatefulPartitionedCall")
Types = Collection[frozenset[str]]  # of operators: the dtypes of all that each takes and gives


def reads(
    function: tf.types.experimental.ConcreteFunction, kind: str, types: Types = ()
) -> list[str]:
    """The inputs that operators of a kind read, themselves or inside a loop, branch or call.

    Args:
        types: of those of the kind that are meant; all of them, where none is of such types.
    """
    read = [
        operator.inputs[place].op
        for operator, places in _using(function.graph, kind, types)
        for place in places
    ]
    return _inputs(function, ancestors(read))


def makes(
    function: tf.types.experimental.ConcreteFunction, kind: str, types: Types = ()
) -> list[str]:
    """The outputs that operators of a kind have a part in, themselves or inside a loop or call.

    Args:
        types: as of `reads`.
    """
    using = {operator.name for operator, _ in _using(function.graph, kind, types)}
    return [name for name, made in _made(function).items() if made & using]


def made_of(
    function: tf.types.experimental.ConcreteFunction, outputs: Collection[str]
) -> list[str]:
    """The inputs that some outputs are made of."""
    made = [before for name, before in _made(function).items() if name in outputs]
    return _inputs(function, set().union(*made))


def ancestors(operators: Sequence[tf.Operation], known: Collection[str] = ()) -> set[str]:
    """Names of operators and of all that they read, not looking behind `known` ones."""
    found: set[str] = set()
    waiting = list(operators)
    while waiting:
        operator = waiting.pop()
        if operator.name not in found:
            found.add(operator.name)
            if operator.name not in known:
                waiting.extend(tensor.op for tensor in operator.inputs)
    return found


def _made(function: tf.types.experimental.ConcreteFunction) -> dict[str, set[str]]:
    """By output the names of all operators that it is made by."""
    outputs = zip(sorted(function.structured_outputs), function.outputs, strict=True)
    return {name: ancestors([tensor.op]) for name, tensor in outputs}


def _inputs(function: tf.types.experimental.ConcreteFunction, operators: set[str]) -> list[str]:
    """The inputs among some operators."""
    names = sorted(function.structured_input_signature[1])
    placed = zip(names, function.inputs, strict=False)  # captured ones come behind
    return [name for name, tensor in placed if tensor.op.name in operators]


def types_of(operator: tf.Operation) -> frozenset[str]:
    """The dtypes of all that an operator takes and gives."""
    return frozenset(t.dtype.base_dtype.name for t in (*operator.inputs, *operator.outputs))


def _using(graph: tf.Graph, kind: str, types: Types) -> list[tuple[tf.Operation, set[int]]]:
    """Operators of a kind, and those with one inside, each with the inputs that these read."""
    bodies = {body.signature.name: body for body in graph.as_graph_def().library.function}
    found = [
        (operator, _places(operator.node_def, len(operator.inputs), kind, bodies))
        for operator in graph.get_operations()
    ]
    using = [(operator, places) for operator, places in found if places or operator.type == kind]
    meant = [each for each in using if each[0].type != kind or types_of(each[0]) in types]
    return meant if types and meant else using


def _places(
    node: tf.compat.v1.NodeDef, count: int, kind: str, bodies: Mapping[str, FunctionDef]
) -> set[int]:
    """Which of a node's `count` inputs operators of a kind read, in the functions it runs, too."""
    if node.op == kind:
        return set(range(count))
    names = [node.op, *(name for attribute in node.attr.values() for name in _functions(attribute))]
    called = [bodies[name] for name in names if name in bodies]
    found = {place for body in called for place in _arguments(body, kind, bodies)}
    if found and node.op not in (*LOOPS, *BRANCHES, *CALLS, *bodies):
        return set(range(count))  # which input is which argument is not known
    if node.op in LOOPS:  # what the body gives is what it takes in the next round
        body = bodies[node.attr["body"].func.name]
        given = [body.ret[each.name] for each in body.signature.output_arg]
        while more := _leading_to(body, [given[place] for place in found]) - found:
            found |= more
    return {place + (node.op in BRANCHES) for place in found}


def _arguments(body: FunctionDef, kind: str, bodies: Mapping[str, FunctionDef]) -> set[int]:
    """Which arguments of a function operators of a kind read, by number."""
    read = []
    for node in body.node_def:
        given = [name for name in node.input if not name.startswith("^")]
        read += [given[place] for place in _places(node, len(given), kind, bodies)]
    return _leading_to(body, read)


def _leading_to(body: FunctionDef, tensors: Sequence[str]) -> set[int]:
    """The arguments of a function, by number, that some of its tensors are made of."""
    arguments = {each.name: place for place, each in enumerate(body.signature.input_arg)}
    nodes = {node.name: node for node in body.node_def}
    found: set[str] = set()
    waiting = list(tensors)
    while waiting:
        name = waiting.pop().partition(":")[0]
        if name not in found and not name.startswith("^"):
            found.add(name)
            waiting += nodes[name].input if name in nodes else []
    return {arguments[name] for name in found & arguments.keys()}


def _functions(attribute: tf.compat.v1.AttrValue) -> list[str]:
    return [attribute.func.name, *(function.name for function in attribute.list.func)]
