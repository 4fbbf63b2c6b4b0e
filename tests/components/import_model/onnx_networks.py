"""Networks as ONNX files with random weights, as PyTorch exports them: channels first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

OPSET = 17


class Network:
    """A graph that grows by one operator at a time; `last` is what came of the latest."""

    def __init__(self, shape: Sequence[int | str], seed: int = 0, name: str = "input") -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self.shape, self.name, self.last = list(shape), name, name
        self.channels = int(shape[1]) if len(shape) > 1 else 0

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
            [helper.make_tensor_value_info(self.name, TensorProto.FLOAT, self.shape)],
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
