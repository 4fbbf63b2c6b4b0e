"""Networks as ONNX files with random weights, as PyTorch exports them: channels first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

OPSET = 17


class Network:
    """A graph that grows by one operator at a time; `last` is what came of the latest."""

    def __init__(self, shape: Sequence[Any], seed: int = 0, name: str = "input") -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self.shape, self.name, self.last = list(shape), name, name
        self.channels, self.kind = (shape[1] if len(shape) > 1 else 0), "FLOAT"

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        from onnx import helper

        self.last = f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [self.last], **attributes))
        return self.last

    def weight(self, value: Any) -> str:
        from onnx import numpy_helper

        name = f"weight_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def normal(self, *shape: int) -> str:
        spread = np.sqrt(2 / max(int(np.prod(shape[1:])), 1))
        return self.weight(self.random.normal(0, spread, shape).astype(np.float32))

    def conv(self, channels: int, size: int = 3, stride: int = 1, groups: int = 1) -> str:
        """With a folded batch normalisation, which is its bias."""
        kernel = self.normal(channels, self.channels // groups, size, size)
        bias = self.weight(self.random.normal(0, 0.1, channels).astype(np.float32))
        pad = size // 2
        self.channels = channels
        return self.add(
            "Conv", self.last, kernel, bias, kernel_shape=[size, size], strides=[stride, stride],
            pads=[pad, pad, pad, pad], group=groups,
        )  # fmt: skip

    def batch_norm(self) -> str:
        draw = self.random.uniform
        parameters = [draw(0.5, 1.5, self.channels).astype(np.float32) for _ in range(4)]
        return self.add("BatchNormalization", self.last, *map(self.weight, parameters))

    def relu6(self) -> str:
        return self.add("Clip", self.last, self.weight(np.float32(0)), self.weight(np.float32(6)))

    def dense(self, units: int) -> str:
        kernel, bias = self.normal(units, self.channels), self.normal(units)
        self.channels = units
        return self.add("Gemm", self.last, kernel, bias, transB=1)

    def pooled(self) -> str:
        self.add("GlobalAveragePool", self.last)
        return self.add("Flatten", self.last, axis=1)

    def save(self, path: Path, gives: Sequence[Any] = ("batch", None)) -> Path:
        import onnx
        from onnx import TensorProto, helper

        given = [self.channels if size is None else size for size in gives]
        self.nodes[-1].output[0] = "output"
        graph = helper.make_graph(
            self.nodes,
            "network",
            [helper.make_tensor_value_info(self.name, getattr(TensorProto, self.kind), self.shape)],
            [helper.make_tensor_value_info("output", TensorProto.FLOAT, given)],
            self.weights,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        model.ir_version = 8
        onnx.save(model, str(path))
        return path


def mobilenet_v2(path: Path, pixels: int = 96, width: float = 0.35, classes: int = 10) -> Path:
    """Sandler et al. 2018, table 2: inverted residuals, all of them."""
    net = Network(["batch", 3, pixels, pixels])
    sized = lambda channels: max(8, int(channels * width + 4) // 8 * 8)  # noqa: E731
    net.conv(sized(32), 3, 2)
    net.relu6()
    for expand, channels, count, stride in (
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2),
        (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
    ):  # fmt: skip
        for place in range(count):
            before, came = net.last, net.channels
            if expand > 1:
                net.conv(came * expand, 1)
                net.relu6()
            net.conv(net.channels, 3, stride if place == 0 else 1, groups=net.channels)
            net.relu6()
            net.conv(sized(channels), 1)
            if place:
                net.add("Add", before, net.last)
    net.conv(sized(1280), 1)
    net.relu6()
    net.pooled()
    net.dense(classes)
    net.add("Softmax", net.last, axis=1)
    return net.save(path)


def recurrent(path: Path, operator: str = "LSTM") -> Path:
    """A recurrent layer over [batch, 6, 5], its last state, and a dense layer."""
    net = Network(["batch", 6, 5])
    gates, units = {"LSTM": 4, "GRU": 3}[operator], 8
    net.add("Transpose", net.last, perm=[1, 0, 2])
    weights = [net.normal(1, gates * units, each) for each in (5, units)]
    bias = net.weight(net.random.normal(0, 0.1, (1, 2 * gates * units)).astype(np.float32))
    given = net.last
    rest = {"linear_before_reset": 1} if operator == "GRU" else {}
    states = net.add(operator, given, *weights, bias, hidden_size=units, **rest)
    net.add("Squeeze", states, net.weight(np.array([1])))
    net.add("Gather", net.last, net.weight(np.array(-1)), axis=0)
    net.channels = units
    net.dense(3)
    return net.save(path)


def transformer(path: Path) -> Path:
    """A block of self-attention over [batch, 6, 8] with two heads, layer norms and GELU by Erf."""
    net = Network(["batch", 6, 8])
    size, heads = 8, 2

    def linear(given: str, to: int, by: int) -> str:
        product = net.add("MatMul", given, net.normal(by, to))
        return net.add("Add", product, net.normal(to))

    def parted(given: str, perm: list[int]) -> str:
        shape = net.weight(np.array([0, 6, heads, size // heads]))
        return net.add("Transpose", net.add("Reshape", given, shape), perm=perm)

    def normed(given: str) -> str:
        one, zero = (net.weight(np.full(size, each, np.float32)) for each in (1.1, 0.1))
        return net.add("LayerNormalization", given, one, zero, axis=-1)

    came = net.last
    asked, keys, values = (linear(came, size, size) for _ in range(3))
    scores = net.add("MatMul", parted(asked, [0, 2, 1, 3]), parted(keys, [0, 2, 3, 1]))
    scores = net.add("Mul", scores, net.weight(np.float32((size // heads) ** -0.5)))
    shares = net.add("Softmax", scores, axis=-1)
    mixed = net.add("MatMul", shares, parted(values, [0, 2, 1, 3]))
    mixed = net.add("Transpose", mixed, perm=[0, 2, 1, 3])
    mixed = net.add("Reshape", mixed, net.weight(np.array([0, 6, size])))
    first = normed(net.add("Add", came, linear(mixed, size, size)))
    wide = linear(first, 16, size)
    erf = net.add("Erf", net.add("Div", wide, net.weight(np.float32(2**0.5))))
    gelu = net.add("Mul", wide, net.add("Add", erf, net.weight(np.float32(1))))
    gelu = net.add("Mul", gelu, net.weight(np.float32(0.5)))
    second = normed(net.add("Add", first, linear(gelu, size, 16)))
    net.add("ReduceMean", second, axes=[1], keepdims=0)
    net.channels = size
    net.dense(3)
    return net.save(path)


def segmenter(path: Path) -> Path:
    """A small U-Net: [batch, 3, 16, 16] to [batch, 2, 16, 16]."""
    net = Network(["batch", 3, 16, 16])
    net.conv(6)
    kept = net.add("Relu", net.last)
    net.add("MaxPool", kept, kernel_shape=[2, 2], strides=[2, 2])
    net.conv(8)
    net.add("Relu", net.last)
    net.add("ConvTranspose", net.last, net.normal(8, 6, 2, 2), kernel_shape=[2, 2], strides=[2, 2])
    net.add("Concat", kept, net.last, axis=1)
    net.channels = 12
    net.conv(4)
    net.batch_norm()
    scales = net.weight(np.array([1, 1, 2, 2], np.float32))
    where = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    net.add("Resize", net.last, "", scales, **where)
    net.add("AveragePool", net.last, kernel_shape=[2, 2], strides=[2, 2])
    net.conv(2, 1)
    net.add("Sigmoid", net.last)
    return net.save(path, ("batch", None, 16, 16))


def shuffled(path: Path) -> Path:
    """Group convolutions with shuffled channels, squeeze and excitation, HardSwish."""
    net = Network(["batch", 3, 16, 16])
    net.conv(8, 3, 2)
    net.add("HardSwish", net.last)
    net.conv(8, 1, groups=2)
    net.add("Reshape", net.last, net.weight(np.array([0, 2, 4, 8, 8])))
    net.add("Transpose", net.last, perm=[0, 2, 1, 3, 4])
    kept = net.add("Reshape", net.last, net.weight(np.array([0, 8, 8, 8])))
    net.add("GlobalAveragePool", kept)
    net.conv(2, 1)
    net.add("Relu", net.last)
    net.conv(8, 1)
    net.add("HardSigmoid", net.last, alpha=1 / 6)
    net.add("Mul", kept, net.last)
    net.add("PRelu", net.last, net.normal(8, 1, 1))
    net.pooled()
    net.dense(4)
    return net.save(path)


def text(path: Path) -> Path:
    """Words by their numbers [batch, 7], int64: embedding, a convolution over time, the largest."""
    net = Network(["batch", 7])
    net.kind = "INT64"
    net.add("Gather", net.normal(50, 6), net.last, axis=0)
    net.add("Transpose", net.last, perm=[0, 2, 1])
    net.add("Conv", net.last, net.normal(5, 6, 3), kernel_shape=[3], pads=[1, 1])
    net.add("Relu", net.last)
    net.add("ReduceMax", net.last, axes=[2], keepdims=0)
    net.channels = 5
    net.dense(2)
    return net.save(path)
