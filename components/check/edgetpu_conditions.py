"""What the names in `edgetpu_rules` ask: one function a condition, one a measure of size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgeline.formats.tflite import Operator, Subgraph, SubgraphTensor

DATA_TYPES = ("INT8", "UINT8")
MOST_VALUES = 1024  # a parameter that lists axes or paddings is never longer


@dataclass(frozen=True)
class OperatorSite:
    """An operator where it stands, with the positions of its inputs that are parameters."""

    subgraph: Subgraph
    operator: Operator
    parameters: tuple[int, ...]

    def input(self, position: int) -> SubgraphTensor | None:
        """An input, None where it is left out."""
        inputs = self.operator.inputs
        if position >= len(inputs) or inputs[position] < 0:
            return None
        return self.subgraph.tensors[inputs[position]]

    @property
    def data(self) -> list[SubgraphTensor]:
        """The inputs that are data: computed or constant, but no parameter."""
        inputs = [
            self.input(position)
            for position in range(len(self.operator.inputs))
            if position not in self.parameters
        ]
        return [tensor for tensor in inputs if tensor is not None]

    @property
    def outputs(self) -> list[SubgraphTensor]:
        """What it computes."""
        return [self.subgraph.tensors[index] for index in self.operator.outputs]

    def option(self, name: str, default: int = 0) -> int:
        """An option that is a number."""
        value = self.operator.options.get(name, default)
        return int(value) if isinstance(value, (int, float)) else default

    def values(self, position: int) -> list[int]:
        """The numbers of a constant input, empty where there is none."""
        tensor = self.input(position)
        if tensor is None or tensor.elements > MOST_VALUES:
            return []
        values = tensor.values()
        return [] if values is None else [int(value) for value in values.reshape(-1)]

    def axes(self, position: int) -> set[int]:
        """The axes that a constant input lists, counted from the front."""
        rank = max((len(tensor.shape) for tensor in self.data), default=0)
        return {axis + rank if axis < 0 else axis for axis in self.values(position)}


def data_type(site: OperatorSite) -> bool:
    """Data is int8 or uint8."""
    state = site.operator.name.endswith("LSTM")
    for tensor in site.data + site.outputs:
        if tensor.dtype not in DATA_TYPES and not (state and tensor.variable):
            return False
    # The first parameter of these is the filter; biases are int32, as are shapes and axes.
    place = {"CONV_2D": 1, "DEPTHWISE_CONV_2D": 1, "FULLY_CONNECTED": 1, "TRANSPOSE_CONV": 1}
    weights = site.input(place.get(site.operator.name, len(site.operator.inputs)))
    return weights is None or weights.dtype in DATA_TYPES


def static_shape(site: OperatorSite) -> bool:
    """No dimension but a batch of 1 is dynamic."""
    return not any(
        size == -1 and not (axis == 0 and tensor.shape[0] == 1)
        for tensor in site.data + site.outputs
        for axis, size in enumerate(tensor.signature)
    )


def rank(site: OperatorSite) -> bool:
    """Dimensions before the last three are 1."""
    return all(size == 1 for tensor in site.data + site.outputs for size in tensor.shape[:-3])


def constant_parameters(site: OperatorSite) -> bool:
    """Parameters are constant, or state that is kept between runs."""
    parameters = [site.input(position) for position in site.parameters]
    return all(tensor is None or tensor.constant or tensor.variable for tensor in parameters)


def no_activation(site: OperatorSite) -> bool:
    """No fused activation."""
    return site.option("activation") == 0


def zero_constant(site: OperatorSite) -> bool:
    """No constant input, or one of two that is all zeros."""
    constants = [tensor for tensor in site.data if tensor.constant]
    if not constants:
        return True
    if len(site.data) != 2 or len(constants) != 1:
        return False
    values, quantisation = constants[0].values(), constants[0].quantisation
    zero = 0
    if quantisation is not None and len(quantisation.zero_points):
        zero = int(quantisation.zero_points[0])
    return values is not None and bool((values == zero).all())


def same_dilation(site: OperatorSite) -> bool:
    """Equal dilation in both directions; none counts where the filter is 1 high or wide."""
    weights = site.input(1)
    if weights is None or len(weights.shape) != 4:
        return False
    pairs = zip(weights.shape[1:3], ("dilation_h", "dilation_w"), strict=True)
    return len({site.option(name, 1) for size, name in pairs if size > 1}) < 2


def one_group(site: OperatorSite) -> bool:
    """As many channels in the filter as in the input."""
    image, weights = site.input(0), site.input(1)
    if image is None or weights is None or not image.shape or not weights.shape:
        return False
    return image.shape[-1] == weights.shape[-1]


def default_weights(site: OperatorSite) -> bool:
    """Weights are not shuffled."""
    return site.option("weights_format") == 0


def reduces_no_batch(site: OperatorSite) -> bool:
    """Axis 0 is kept, unless the tensor has only that one."""
    image = site.input(0)
    return image is not None and (len(image.shape) < 2 or 0 not in site.axes(1))


def depth_of_four(site: OperatorSite) -> bool:
    """Channels are kept, or a multiple of 4."""
    image = site.input(0)
    if image is None or not image.shape:
        return False
    return len(image.shape) - 1 not in site.axes(1) or image.shape[-1] % 4 == 0


def packs_no_batch(site: OperatorSite) -> bool:
    """The new axis is not the first."""
    rank_after = max((len(tensor.shape) for tensor in site.outputs), default=0)
    axis = site.option("axis")
    return (axis + rank_after if axis < 0 else axis) != 0


def pads_no_batch(site: OperatorSite) -> bool:
    """Nothing is added before or after axis 0 of four."""
    image = site.input(0)
    return image is not None and (len(image.shape) < 4 or not any(site.values(1)[:2]))


def splits_no_batch(site: OperatorSite) -> bool:
    """Axis 0 is kept whole, unless the tensor has only that one.

    Into one part nothing is split: the YAMNet of google-coral/coralmicro maps with it.
    """
    image = site.input(1)
    if len(site.operator.outputs) == 1:
        return True
    return image is not None and (len(image.shape) < 2 or 0 not in site.axes(0))


def plain_slice(site: OperatorSite) -> bool:
    """Every stride is forwards; no ellipsis, no new axis."""
    masks = site.option("ellipsis_mask") or site.option("new_axis_mask")
    return not masks and all(stride > 0 for stride in site.values(3))


def flat_alpha(site: OperatorSite) -> bool:
    """Only the innermost dimension of alpha is above 1."""
    alpha = site.input(1)
    return alpha is not None and all(size == 1 for size in alpha.shape[:-1])


def long_softmax(site: OperatorSite) -> bool:
    """The softmax runs over at most 16,384 values."""
    image = site.input(0)
    return image is not None and bool(image.shape) and image.shape[-1] <= 16_384


def resize_side(site: OperatorSite) -> int:
    """The larger of height and width after a resize."""
    return max((max(tensor.shape[1:3], default=1) for tensor in site.outputs), default=1)


def far_enlarged_elements(site: OperatorSite) -> int:
    """Elements of what a resize enlarges more than 4 times in height or width, else 0."""
    image = site.input(0)
    if image is None:
        return 0
    return max(
        (
            tensor.elements
            for tensor in site.outputs
            for before, after in zip(image.shape[1:3], tensor.shape[1:3], strict=False)
            if after > 4 * before
        ),
        default=0,
    )


def largest_stride(site: OperatorSite) -> int:
    """The largest step of a strided slice."""
    return max(site.values(3), default=1)


def input_width(site: OperatorSite) -> int:
    """The innermost dimension of the input."""
    image = site.input(0)
    return image.shape[-1] if image is not None and image.shape else 1


def reduced_positions(site: OperatorSite) -> int:
    """How many values a reduction makes one of."""
    image = site.input(0)
    return image.elements // max(output_elements(site), 1) if image is not None else 1


def output_elements(site: OperatorSite) -> int:
    """Elements of the largest output."""
    return max((tensor.elements for tensor in site.outputs), default=0)


def output_rows(site: OperatorSite) -> int:
    """Rows of the last dimension in the largest output."""
    return max(map(_rows, site.outputs), default=1)


def softmax_outside(site: OperatorSite) -> int:
    """Elements of a softmax with several rows, 0 for one row."""
    return output_elements(site) if output_rows(site) > 1 else 0


def _rows(tensor: SubgraphTensor) -> int:
    return tensor.elements // tensor.shape[-1] if tensor.shape and tensor.shape[-1] else 1


Met = Callable[[OperatorSite], bool]
Measure = Callable[[OperatorSite], int]

MET: dict[str, Met] = {
    function.__name__: function
    for function in (
        data_type,
        static_shape,
        rank,
        constant_parameters,
        no_activation,
        zero_constant,
        same_dilation,
        one_group,
        default_weights,
        reduces_no_batch,
        depth_of_four,
        packs_no_batch,
        pads_no_batch,
        splits_no_batch,
        plain_slice,
        flat_alpha,
        long_softmax,
    )
}
MEASURES: dict[str, Measure] = {
    function.__name__: function
    for function in (
        resize_side,
        far_enlarged_elements,
        largest_stride,
        input_width,
        reduced_positions,
        output_elements,
        output_rows,
        softmax_outside,
    )
}
