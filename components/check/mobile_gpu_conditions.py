"""What the names in `mobile_gpu_rules` ask of an operator, one function a condition.

Each is a branch of CheckGpuDelegateCompatibility (tensorflow/lite/tools/versioning/
gpu_compatibility.cc); `few_dimensions` and `types_taken` are the delegate's own model builder's.
"""

from __future__ import annotations

from collections.abc import Callable

from edgeline.components.check.edgetpu_conditions import OperatorSite
from edgeline.formats.tflite import SubgraphTensor

FLOATS = ("FLOAT32", "FLOAT16")
COMPUTED = (*FLOATS, "BOOL", "INT8", "UINT8")
# operators whose inputs may be whole numbers: indices, or what is cast
WHOLE = ("CAST", "GATHER", "ONE_HOT", "EMBEDDING_LOOKUP", "DYNAMIC_UPDATE_SLICE")
TANH, SIGMOID = 4, 6  # TfLiteFusedActivation


def computed(site: OperatorSite) -> int:
    """How many inputs are neither constant nor left out."""
    inputs = (site.input(position) for position in range(len(site.operator.inputs)))
    return sum(tensor is not None and not tensor.constant for tensor in inputs)


def constant(site: OperatorSite) -> int:
    """How many inputs are constant."""
    inputs = (site.input(position) for position in range(len(site.operator.inputs)))
    return sum(tensor is not None and tensor.constant for tensor in inputs)


def shape(site: OperatorSite, position: int) -> tuple[int, ...]:
    """The shape of an input, () where it is left out."""
    tensor = site.input(position)
    return () if tensor is None else tensor.shape


def dtype(site: OperatorSite, position: int) -> str:
    """The type of an input, empty where it is left out."""
    tensor = site.input(position)
    return "" if tensor is None else tensor.dtype


def broadcasts(site: OperatorSite) -> bool:
    """Shapes of different ranks fit from the last dimension on; equal ranks are not asked."""
    first, second = shape(site, 0), shape(site, 1)
    if len(first) < 2 or len(second) < 2 or len(first) == len(second):
        return True
    pairs = zip(reversed(first), reversed(second), strict=False)
    return all(a == b or 1 in (a, b) for a, b in pairs)


def one_is_larger(site: OperatorSite) -> bool:
    """Of two shapes of one rank, one is at least the other in every dimension."""
    first, second = shape(site, 0), shape(site, 1)
    if len(first) != len(second):
        return broadcasts(site)
    pairs = list(zip(first, second, strict=True))
    return not (any(a < b for a, b in pairs) and any(b < a for a, b in pairs))


def positive(*names: str) -> Callable[[OperatorSite], bool]:
    """A condition: these options are above 0."""
    return lambda site: all(site.option(name, 1) > 0 for name in names)


def depthwise(site: OperatorSite) -> bool:
    """Batch, height, width and channels; a multiplier for one channel only."""
    image, weights, result = shape(site, 0), shape(site, 1), site.outputs[0].shape
    bias, times = site.input(2), site.option("depth_multiplier")
    if not len(image) == len(weights) == len(result) == 4 or image[0] != result[0]:
        return False
    if weights[3] != result[3] or result[3] != image[3] * times:
        return False
    return (bias is None or bias.elements == result[3]) and (times == 1 or image[3] == 1)


def casts(site: OperatorSite) -> bool:
    """Between float32 and int32, or between floats and bool."""
    before, after = dtype(site, 0), site.outputs[0].dtype
    if "BOOL" in (before, after):
        return {before, after} - {"BOOL"} <= set(FLOATS) and before != after
    return {before, after} <= {"FLOAT32", "INT32"}


def constant_axes(site: OperatorSite) -> bool:
    """The axes are a constant int32."""
    axes = site.input(1)
    return axes is not None and axes.constant and axes.dtype == "INT32"


def paddings(site: OperatorSite) -> bool:
    """The paddings are those of three or four dimensions."""
    return shape(site, 1) in ((3, 2), (4, 2))


def selects(site: OperatorSite) -> bool:
    """Both choices are floats, scalars or as large as the output."""
    if dtype(site, 0) not in (*FLOATS, "BOOL"):
        return False
    result = site.outputs[0].shape
    for position in (1, 2):
        tensor, size = site.input(position), shape(site, position)
        if tensor is None or tensor.dtype not in FLOATS:
            return False
        if size and size != result and (len(size) > 1 or size[0] > 1):
            return False
        if tensor.constant and len(size) == 2:
            return False
    return True


def one_hot(site: OperatorSite) -> bool:
    """int32 indices, no more than batch and channels, and constant float values."""
    indices = shape(site, 0)
    if dtype(site, 0) != "INT32" or not indices:
        return False
    if site.option("axis") not in (-1, indices[-1]):
        return False
    if any(size != 1 for axis, size in enumerate(indices[:-1]) if len(indices) < 4 or axis):
        return False
    ends = (site.input(2), site.input(3))
    return all(
        t is not None and t.dtype == "FLOAT32" and t.constant and t.elements == 1 for t in ends
    )


def cumulates(site: OperatorSite) -> bool:
    """Floats, along a constant axis."""
    return (
        dtype(site, 0) in FLOATS and site.outputs[0].dtype == dtype(site, 0) and constant_axes(site)
    )


def embeds(site: OperatorSite) -> bool:
    """A list of ids, and a table whose rows are the output's."""
    table, result = shape(site, 1), site.outputs[0].shape
    if len(shape(site, 0)) != 1 or len(table) < 2 or table[1:] != result[1:]:
        return False
    return len(table) == len(result) and dtype(site, 1) in ("INT8", "INT4", "FLOAT32")


def updates(site: OperatorSite) -> bool:
    """A part of the same type and rank, batch 1, int32 starts."""
    whole, part, start = shape(site, 0), shape(site, 1), shape(site, 2)
    if len(whole) == 4 and whole[0] != 1:
        return False
    same = dtype(site, 0) == dtype(site, 1) and len(whole) == len(part)
    return same and len(start) == 1 and dtype(site, 2) == "INT32"


def dense(site: OperatorSite) -> bool:
    """Default weights, a computed input, the rank kept where that is asked for."""
    first = site.input(0)
    if site.option("weights_format") or computed(site) > 2 or first is None or first.constant:
        return False
    same = len(first.shape) == len(site.outputs[0].shape)
    return same or not site.operator.options.get("keep_num_dims")


def plain_lstm(site: OperatorSite) -> bool:
    """The full kernel with its inputs, or the basic one with tanh and no clipping."""
    if not site.option("kernel_type"):  # FULL
        return (
            len(site.operator.inputs) in (20, 24)
            and len(site.operator.outputs) == 1
            and site.option("activation") in (TANH, SIGMOID)
        )
    clipped = any(site.operator.options.get(name) for name in ("cell_clip", "proj_clip"))
    right = computed(site) == 3 and constant(site) == 2 and len(site.operator.outputs) == 4
    return right and site.option("activation") == TANH and not clipped


def few_dimensions(site: OperatorSite) -> bool:
    """Computed tensors have one to four dimensions."""
    return all(1 <= len(tensor.shape) <= 4 for tensor in flowing(site))


def types_taken(site: OperatorSite) -> bool:
    """Computed tensors are floats, booleans or 8-bit; indices may be int32."""
    taken = (*COMPUTED, "INT32") if site.operator.name in WHOLE else COMPUTED
    return all(tensor.dtype in taken for tensor in flowing(site))


def flowing(site: OperatorSite) -> list[SubgraphTensor]:
    """The tensors that are neither constant nor state."""
    inputs = (site.input(position) for position in range(len(site.operator.inputs)))
    return [t for t in inputs if t is not None and not t.constant and not t.variable] + site.outputs
