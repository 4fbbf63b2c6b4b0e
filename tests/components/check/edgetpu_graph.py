"""Graphs written by hand, for what the static check says of them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from edgeline.components.check.edgetpu_placement import judge, place
from edgeline.components.check.placement import OperatorVerdict, Placement
from edgeline.formats.tflite import Model, Operator, Subgraph, SubgraphTensor, TensorQuantisation


class Graph:
    """A subgraph, operator by operator; tensors are named by their index."""

    def __init__(self):
        self.tensors, self.operators = [], []

    def tensor(self, shape, dtype="INT8", values=None, signature=None):
        data = None if values is None else np.asarray(values).reshape(-1).view(np.uint8)
        scale = TensorQuantisation(np.ones(1, np.float32), np.zeros(1, np.int64), 0)
        tensor = SubgraphTensor(
            len(self.tensors),
            "t",
            tuple(shape),
            tuple(signature or shape),
            dtype,
            scale,
            False,
            data,
        )
        self.tensors.append(tensor)
        return tensor.index

    def constant(self, values, dtype="INT32"):
        values = np.asarray(values, {"INT32": np.int32, "INT8": np.int8}[dtype])
        return self.tensor(values.shape, dtype, values)

    def op(self, name, inputs, outputs, version=1, custom=False, **options):
        self.operators.append(
            Operator(
                len(self.operators),
                name,
                version,
                custom,
                tuple(inputs),
                tuple(outputs),
                options,
                None,
            )
        )
        return outputs[0]

    def apply(self, name, inputs, shape, dtype="INT8", **options):
        """An operator with one new output."""
        return self.op(name, inputs, [self.tensor(shape, dtype)], **options)

    def conv(self, image, channels, kernel=(1, 1), stride=1, dilation=(1, 1)):
        """A padded convolution."""
        _, height, width, depth = self.tensors[image].shape
        weights = self.constant(np.zeros((channels, *kernel, depth)), "INT8")
        shape = (1, -(-height // stride), -(-width // stride), channels)
        inputs = [image, weights, self.constant([0] * channels)]
        options = {"dilation_h": dilation[0], "dilation_w": dilation[1]}
        return self.apply("CONV_2D", inputs, shape, **options)

    def depthwise(self, image, stride=1):
        """A padded depthwise convolution of 3x3."""
        _, height, width, depth = self.tensors[image].shape
        weights = self.constant(np.zeros((1, 3, 3, depth)), "INT8")
        shape = (1, -(-height // stride), -(-width // stride), depth)
        return self.apply("DEPTHWISE_CONV_2D", [image, weights, self.constant([0] * depth)], shape)

    def separable(self, image, channels, stride=1):
        return self.conv(self.depthwise(image, stride), channels)

    def reshape(self, image, shape):
        assert math.prod(self.tensors[image].shape) == math.prod(shape)
        return self.apply("RESHAPE", [image, self.constant(shape)], shape)

    def graph(self):
        return Subgraph("main", tuple(self.tensors), (0,), (), tuple(self.operators))

    def verdicts(self) -> list[OperatorVerdict]:
        graph = self.graph()
        return [judge(graph, operator) for operator in graph.operators]

    def placement(self, multiple_subgraphs=False) -> Placement:
        model = Model(Path("graph.tflite"), 0, "", (self.graph(),), {}, {})
        return place(model, None, multiple_subgraphs)


def one(
    name, shape=(1, 8, 8, 16), after=None, dtype="INT8", params=(), before=(), parts=1, **options
):
    """The verdict on one operator with constant int32 parameters and alike outputs."""
    graph = Graph()
    places = [graph.constant(np.atleast_1d(value)) for value in before]
    places.append(graph.tensor(shape, dtype))
    places += [graph.constant(np.atleast_1d(value)) for value in params]
    graph.op(name, places, [graph.tensor(after or shape, dtype) for _ in range(parts)], **options)
    return graph.verdicts()[0]
