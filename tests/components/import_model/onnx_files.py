"""ONNX files of a few operators, written where a test needs them."""

from __future__ import annotations


def model_file(path, nodes, inputs, outputs, weights=(), domains=()):
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    def entries(found):
        return [
            helper.make_tensor_value_info(name, getattr(TensorProto, kind), shape)
            for name, (kind, shape) in found.items()
        ]

    graph = helper.make_graph(
        [helper.make_node(name, takes, gives, **rest) for name, takes, gives, rest in nodes],
        "made",
        entries(inputs),
        entries(outputs),
        [numpy_helper.from_array(value, name) for name, value in dict(weights).items()],
    )
    imports = [helper.make_opsetid("", 17), *(helper.make_opsetid(name, 1) for name in domains)]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=9), str(path))
    return path


def one_operator(operator, kind="FLOAT", shape=("n", 4), gives=None, **attributes):
    def write(path):
        domain = [attributes["domain"]] if "domain" in attributes else []
        return model_file(
            path,
            [(operator, ["x"], ["y"], attributes)],
            {"x": (kind, list(shape))},
            {"y": (gives or kind, list(shape))},
            domains=domain,
        )

    return write
