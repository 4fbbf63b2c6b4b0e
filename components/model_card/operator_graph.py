"""The operators of a model as they are joined, drawn as SVG and coloured by where they run.

What a box shows only in part stands whole in its `<title>`, which browsers show as a tooltip
without any script.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from edgeline.components.model_card import layout
from edgeline.formats.tflite import Operator, Subgraph, SubgraphTensor
from edgeline.reports import report
from edgeline.reports.report import BLUE, GREEN, GREY, ORANGE, RED

TINTS = {  # of the page's style, for light and dark
    BLUE: "var(--info-tint)",
    GREEN: "var(--good-tint)",
    RED: "var(--bad-tint)",
    ORANGE: "var(--warn-tint)",
    GREY: "var(--tint)",
}
WORDS = {  # of TensorFlow Lite's schema, by option and in the order of its numbers
    "activation": ("none", "relu", "relu_n1_to_1", "relu6", "tanh", "sign_bit"),
    "padding": ("same", "valid"),
    "mode": ("reflect", "symmetric"),
}
NAME_LETTERS, SHAPE_LETTERS, DEVICE_LETTERS = 19, 16, 10  # that a box has room for
STYLE = (
    ".ops{overflow:auto;max-height:62rem;border:1px solid var(--line);border-radius:.4rem;"
    "margin-bottom:.8rem}"
    # larger than a screen: with bars that are there before one scrolls
    ".ops::-webkit-scrollbar{width:.7rem;height:.7rem}"
    ".ops::-webkit-scrollbar-thumb{background:var(--grey);border-radius:.4rem}"
    ".ops svg{display:block;max-width:none}.ops text{font-size:10px;fill:var(--ink)}"
    ".ops .soft{font-size:9px;fill:var(--soft)}.ops g:hover rect,.ops .picked rect{stroke-width:3}"
    ".key{display:flex;flex-wrap:wrap;gap:.3rem 1.2rem;font-size:.9rem;margin:.4rem 0}"
    ".key i{display:inline-block;width:.8rem;height:.8rem;border-radius:.2rem;"
    "border:1.5px solid;margin-right:.4rem;vertical-align:-.1rem}"
    "summary{cursor:pointer;font-weight:600;margin:.6rem 0 .3rem}"
)


@dataclass(frozen=True)
class Spot:
    """Where an operator runs.

    Attributes:
        device: what it is called.
        colour: of its box.
        words: what the colour says, for the key.
        reason: why there, where that needs one.
    """

    device: str
    colour: str
    words: str
    reason: str = ""


def edges_of(graph: Subgraph) -> list[tuple[int, int]]:
    """Each pair of operators of which the second reads what the first computes, once."""
    maker: dict[int, int] = {}
    found: dict[tuple[int, int], None] = {}
    for operator in graph.operators:
        for index in operator.inputs:
            if index in maker:
                found[maker[index], operator.index] = None
        maker.update(dict.fromkeys(operator.outputs, operator.index))
    return list(found)


def draw(graph: Subgraph, spots: Sequence[Spot]) -> Markup:
    """A subgraph with its inputs and outputs; `spots` has one for each operator, in order."""
    count = len(graph.operators)
    maker = {index: op.index for op in graph.operators for index in op.outputs}
    readers = {index: op for op in reversed(graph.operators) for index in op.inputs}
    inputs = [index for index in graph.inputs if index in readers]
    outputs = [index for index in graph.outputs if index in maker]
    # numbered in the order of execution: inputs, operators, outputs
    first, last = len(inputs), len(inputs) + count
    edges = [(a + first, b + first) for a, b in edges_of(graph)]
    for place, index in enumerate(inputs):
        reading = [op.index for op in graph.operators if index in op.inputs]
        edges += [(place, reader + first) for reader in reading]
    edges += [(maker[index] + first, last + place) for place, index in enumerate(outputs)]
    plan = layout.arrange(last + len(outputs), edges)
    boxes = [
        *(_end("input", graph.tensors[i], plan.boxes[p]) for p, i in enumerate(inputs)),
        *(
            _box(operator, graph, spot, plan.boxes[first + operator.index])
            for operator, spot in zip(graph.operators, spots, strict=True)
        ),
        *(_end("output", graph.tensors[i], plan.boxes[last + p]) for p, i in enumerate(outputs)),
    ]
    lines = Markup("").join(_path(points) for points in plan.lines)
    size = Markup('width="{0:.0f}" height="{1:.0f}" viewBox="0 0 {0:.0f} {1:.0f}"').format(
        plan.width, plan.height
    )
    return Markup(
        '<div class="ops" tabindex="0"><svg xmlns="http://www.w3.org/2000/svg" {} role="img" '
        'aria-label="{} operators">{}{}</svg></div>'
    ).format(size, count, lines, Markup("").join(boxes))


def key(spots: Sequence[Spot]) -> Markup:
    """What each colour means, with how many operators have it."""
    counts = Counter((spot.colour, spot.words) for spot in spots)
    items = [
        Markup('<span><i style="border-color:{};background:{}"></i>{} {}</span>').format(
            report.THEME[colour], TINTS[colour], report.number(count), words
        )
        for (colour, words), count in counts.items()
    ]
    return Markup('<div class="key">{}</div>').format(Markup("").join(items))


def style() -> Markup:
    """The rules of both, once a page."""
    return Markup("<style>{}</style>").format(Markup(STYLE))


def _box(operator: Operator, graph: Subgraph, spot: Spot, at: layout.Point) -> Markup:
    tensors = graph.tensors
    constants = sum(tensors[i].size for i in operator.inputs if i >= 0 and tensors[i].constant)
    outputs = [tensors[index] for index in operator.outputs]
    told = [f"{operator.index} {operator.name}, version {operator.version}"]
    told += [
        f"reads {tensors[index].name}: {_type(tensors[index])}"
        + (f", constant, {report.size(tensors[index].size)}" if tensors[index].constant else "")
        for index in operator.inputs
        if index >= 0
    ]
    told += [f"gives {tensor.name}: {_type(tensor)}" for tensor in outputs]
    told += [f"constants {report.size(constants)}"] if constants else []
    told += [f"{name}: {_attribute(name, value)}" for name, value in operator.options.items()]
    told += [f"on {spot.device}" + (f": {spot.reason}" if spot.reason else "")]
    shape = _shape(outputs[0].signature) if outputs else ""
    left, top = at[0] - layout.BOX_WIDTH / 2, at[1] - layout.BOX_HEIGHT / 2
    return Markup(
        '<g class="op" data-operator="{}"><title>{}</title><rect x="{:.0f}" y="{:.0f}" '
        'width="{:.0f}" height="{:.0f}" rx="4" fill="{}" stroke="{}" stroke-width="1.5"/>'
        '<text x="{:.0f}" y="{:.0f}">{}</text><text class="soft" x="{:.0f}" y="{:.0f}">{}</text>'
        '<text class="soft" x="{:.0f}" y="{:.0f}" text-anchor="end">{}</text></g>\n'
    ).format(
        operator.index,
        "\n".join(told),
        left,
        top,
        layout.BOX_WIDTH,
        layout.BOX_HEIGHT,
        TINTS[spot.colour],
        report.THEME[spot.colour],
        left + 6,
        top + 15,
        _cut(operator.name, NAME_LETTERS),
        left + 6,
        top + 29,
        _cut(shape, SHAPE_LETTERS),
        left + layout.BOX_WIDTH - 6,
        top + 29,
        _cut(spot.device, DEVICE_LETTERS),
    )


def _attribute(name: str, value: float | bool | tuple[int, ...]) -> str:
    """An option of an operator, by its word where the schema has one."""
    words = WORDS.get(name, ())
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(words):
        return words[value]
    if isinstance(value, tuple):
        return " × ".join(map(str, value)) or "none"
    return str(value).lower() if isinstance(value, bool) else report.number(value)


def _end(side: str, tensor: SubgraphTensor, at: layout.Point) -> Markup:
    left, top = at[0] - layout.BOX_WIDTH / 2, at[1] - layout.BOX_HEIGHT / 2
    return Markup(
        '<g class="end"><title>{} {}: {}</title><rect x="{:.0f}" y="{:.0f}" width="{:.0f}" '
        'height="{:.0f}" rx="18" fill="var(--paper)" stroke="var(--grey)"/>'
        '<text x="{:.0f}" y="{:.0f}" text-anchor="middle">{}</text>'
        '<text class="soft" x="{:.0f}" y="{:.0f}" text-anchor="middle">{}</text></g>\n'
    ).format(
        side,
        tensor.name,
        _type(tensor),
        left,
        top,
        layout.BOX_WIDTH,
        layout.BOX_HEIGHT,
        at[0],
        top + 15,
        _cut(tensor.name, NAME_LETTERS),
        at[0],
        top + 29,
        f"{side}, {tensor.dtype.lower()}",
    )


def _path(points: Sequence[layout.Point]) -> Markup:
    """A smooth line where it goes down, a straight one where it goes round a column."""
    parts = [f"M{points[0][0]:.0f} {points[0][1]:.0f}"]
    for (x, y), (to_x, to_y) in pairwise(points):
        if to_y <= y or to_x == x:
            parts.append(f"L{to_x:.0f} {to_y:.0f}")
        else:
            middle = (y + to_y) / 2
            parts.append(f"C{x:.0f} {middle:.0f} {to_x:.0f} {middle:.0f} {to_x:.0f} {to_y:.0f}")
    return Markup('<path d="{}" fill="none" stroke="var(--grey)"/>').format("".join(parts))


def _type(tensor: SubgraphTensor) -> str:
    return f"{tensor.dtype.lower()} {_shape(tensor.signature) or 'scalar'}"


def _shape(shape: Sequence[int]) -> str:
    return "×".join("?" if size < 0 else str(size) for size in shape)


def _cut(text: str, letters: int) -> str:
    return text if len(text) <= letters else text[: letters - 1] + "…"
