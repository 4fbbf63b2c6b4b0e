"""Where the boxes of a graph stand and its lines run: from top to bottom, wrapped into columns.

Layers, then an order within each, then places, as layered drawings are made (K. Sugiyama,
S. Tagawa, M. Toda: Methods for Visual Understanding of Hierarchical System Structures, 1981).
A line that passes a layer takes a slot of its own there, so it crosses no box. Where all lines
pass one box, the drawing may go on at the top of a new column: a deep network becomes a page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

BOX_WIDTH, BOX_HEIGHT = 132.0, 36.0
LANE = 12.0  # what a line takes that passes a layer
GAP, STEP = 14.0, 58.0  # between boxes; from one layer to the next
MARGIN = 24.0
WIDE = 1080.0  # of the page
SWEEPS = 13  # odd: the last goes down
FEWEST = 6  # layers in a column, where it can be helped

Point = tuple[float, float]


@dataclass(frozen=True)
class Layout:
    """A drawing in pixels: the centre of each box, and each line from box to box."""

    width: float
    height: float
    boxes: tuple[Point, ...]
    lines: tuple[tuple[Point, ...], ...]


def arrange(count: int, edges: Sequence[tuple[int, int]]) -> Layout:
    """Lay out an acyclic graph.

    Args:
        count: of nodes, numbered so that every edge goes from a lower to a higher one.
        edges: without repetition.
    """
    layers, chains = _slots(count, _depths(count, edges), edges)
    above, below = _neighbours(chains)
    _order(layers, above, below)
    place = _places(layers, above, below, count)
    columns = _columns(layers, place, count)
    at = {
        slot: (place[slot] + columns[depth].shift, columns[depth].top(depth) + BOX_HEIGHT / 2)
        for depth, layer in enumerate(layers)
        for slot in layer
    }
    column_of = {slot: columns[depth] for depth, layer in enumerate(layers) for slot in layer}
    width = max((column.right for column in columns), default=0.0)
    rows = max((depth - column.start for depth, column in enumerate(columns)), default=0)
    height = rows * STEP + BOX_HEIGHT + 2 * MARGIN
    lines = tuple(_line(chain, at, column_of, height) for chain in chains)
    return Layout(width, height, tuple(at[node] for node in range(count)), lines)


@dataclass(frozen=True)
class _Column:
    """Its first layer, its borders, and how far what stands in it moves to the right."""

    start: int
    left: float
    right: float
    shift: float

    def top(self, depth: int) -> float:
        return MARGIN + (depth - self.start) * STEP


def _depths(count: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """The layer of each node: below all that it reads; what reads nothing, beside its reader."""
    depths = [0] * count
    for first, second in sorted(edges, key=lambda edge: edge[1]):
        depths[second] = max(depths[second], depths[first] + 1)
    reading = {second for _, second in edges}
    nearest: dict[int, int] = {}
    for first, second in edges:
        nearest[first] = min(nearest.get(first, depths[second]), depths[second])
    for node in nearest.keys() - reading:
        depths[node] = nearest[node] - 1
    return depths


def _slots(
    count: int, depths: Sequence[int], edges: Sequence[tuple[int, int]]
) -> tuple[list[list[int]], list[list[int]]]:
    """The slots of each layer, and of each edge those it passes; lanes of one box are shared."""
    layers: list[list[int]] = [[] for _ in range(max(depths, default=-1) + 1)]
    for node, depth in enumerate(depths):
        layers[depth].append(node)
    lanes: dict[tuple[int, int], int] = {}
    chains = []
    for first, second in edges:
        chain = [first]
        for depth in range(depths[first] + 1, depths[second]):
            if (first, depth) not in lanes:
                lanes[first, depth] = count + len(lanes)
                layers[depth].append(lanes[first, depth])
            chain.append(lanes[first, depth])
        chains.append([*chain, second])
    return layers, chains


def _neighbours(
    chains: Sequence[Sequence[int]],
) -> tuple[dict[int, list[int]], dict[int, list[int]]]:
    above: dict[int, list[int]] = {}
    below: dict[int, list[int]] = {}
    for first, second in sorted({pair for chain in chains for pair in pairwise(chain)}):
        below.setdefault(first, []).append(second)
        above.setdefault(second, []).append(first)
    return above, below


def _order(
    layers: list[list[int]],
    above: Mapping[int, Sequence[int]],
    below: Mapping[int, Sequence[int]],
) -> None:
    """Sort each layer by the mean place of its neighbours, downwards and upwards in turn."""
    ranks = {slot: place for layer in layers for place, slot in enumerate(layer)}
    for sweep in range(SWEEPS):
        near = below if sweep % 2 else above
        for layer in reversed(layers) if sweep % 2 else layers:
            found = {slot: [ranks[other] for other in near.get(slot, ())] for slot in layer}
            means = {s: sum(r) / len(r) if r else float(ranks[s]) for s, r in found.items()}
            layer.sort(key=means.__getitem__)
            ranks.update((slot, place) for place, slot in enumerate(layer))


def _places(
    layers: Sequence[Sequence[int]],
    above: Mapping[int, Sequence[int]],
    below: Mapping[int, Sequence[int]],
    count: int,
) -> dict[int, float]:
    """The x of every slot: below boxes a box, below lanes a lane, so that both run straight."""
    place = {slot: 0.0 for layer in layers for slot in layer}
    for sweep in range(SWEEPS):
        for layer in reversed(layers) if sweep % 2 else layers:
            wanted = []
            for slot in layer:
                near = (below if sweep % 2 else above).get(slot, ())
                if len(near) < 3:  # where many meet, their middle; else straight on
                    near = [o for o in near if (o < count) == (slot < count)] or near
                places = [place[other] for other in near] or [place[slot]]
                wanted.append(sum(places) / len(places))
            weights = [1.0 if slot < count else 0.1 for slot in layer]
            widths = [_width(slot, count) for slot in layer]
            place.update(zip(layer, _spaced(wanted, weights, widths), strict=True))
    _straighten(layers, place)
    return place


def _straighten(layers: Sequence[Sequence[int]], place: dict[int, float]) -> None:
    """Move what lies between two boxes that all lines pass, so that these stand in one line."""
    start, trunk = 0, 0.0
    for depth, layer in enumerate(layers):
        whole = len(layer) == 1
        trunk = place[layer[0]] if whole else trunk
        if whole or depth == len(layers) - 1:
            for slot in (slot for other in layers[start : depth + 1] for slot in other):
                place[slot] -= trunk
            start = depth + 1


def _spaced(
    wanted: Sequence[float], weights: Sequence[float], widths: Sequence[float]
) -> list[float]:
    """The places nearest to those wanted where nothing overlaps, by weighted least squares.

    Less the room that stands before each, it is an isotonic regression: neighbours that are in
    the wrong order are pooled (Ayer and others, 1955).
    """
    room = [0.0]
    for left, right in pairwise(widths):
        room.append(room[-1] + (left + right) / 2 + GAP)
    pools: list[tuple[float, float, int]] = []  # mean, weight, how many
    for value, weight, before in zip(wanted, weights, room, strict=True):
        pools.append((value - before, weight, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (second, more, few), (first, some, many) = pools.pop(), pools.pop()
            total = some + more
            pools.append(((first * some + second * more) / total, total, many + few))
    means = [mean for mean, _, many in pools for _ in range(many)]
    return [mean + before for mean, before in zip(means, room, strict=True)]


def _columns(
    layers: Sequence[Sequence[int]], place: Mapping[int, float], count: int
) -> list[_Column]:
    """The column of each layer: the fewest layers in each that the page has room for."""
    cuts = [depth + 1 for depth, layer in enumerate(layers[:-1]) if len(layer) == 1]
    blocks = [(a, b) for a, b in pairwise([0, *cuts, len(layers)]) if b > a]
    lows = [min(place[s] - _width(s, count) / 2 for s in layer) for layer in layers]
    highs = [max(place[s] + _width(s, count) / 2 for s in layer) for layer in layers]
    packed = [(0, len(layers))] if layers else []
    for most in range(FEWEST, 3 * len(layers) // 4):  # a column more must be worth its line
        tried = _packed(blocks, most)
        if sum(max(highs[a:b]) - min(lows[a:b]) + 2 * MARGIN for a, b in tried) <= WIDE:
            packed = tried
            break
    columns: list[_Column] = []
    for start, end in packed:
        left = columns[-1].right if columns else 0.0
        low, high = min(lows[start:end]), max(highs[start:end])
        column = _Column(start, left, left + high - low + 2 * MARGIN, left + MARGIN - low)
        columns += [column] * (end - start)
    return columns


def _packed(blocks: Sequence[tuple[int, int]], most: int) -> list[tuple[int, int]]:
    """Blocks of layers one below the other, as long as a column has at most so many layers."""
    packed: list[tuple[int, int]] = []
    for start, end in blocks:
        if packed and end - packed[-1][0] <= most:
            packed[-1] = (packed[-1][0], end)
        else:
            packed.append((start, end))
    return packed


def _line(
    chain: Sequence[int], at: Mapping[int, Point], column_of: Mapping[int, _Column], height: float
) -> tuple[Point, ...]:
    """From the bottom of a box to the top of another; to a new column below and above all."""
    points: list[Point] = []
    for first, second in pairwise(chain):
        (x, y), (to_x, to_y) = at[first], at[second]
        points.append((x, y + BOX_HEIGHT / 2))
        if column_of[first] is not column_of[second]:
            between = column_of[second].left
            points += [(x, height - MARGIN / 2), (between, height - MARGIN / 2)]
            points += [(between, MARGIN / 2), (to_x, MARGIN / 2)]
        points.append((to_x, to_y - BOX_HEIGHT / 2))
    return tuple(points)


def _width(slot: int, count: int) -> float:
    return BOX_WIDTH if slot < count else LANE
