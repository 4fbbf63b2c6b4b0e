"""Where boxes and lines lie: of any acyclic graph, and of real models."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

import pytest
from card_page import CORAL, DATA
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeline.components.model_card import operator_graph
from edgeline.components.model_card.operator_graph import Spot
from edgeline.formats import tflite
from edgeline.reports.graph_layout import BOX_HEIGHT, BOX_WIDTH, WIDE, arrange
from edgeline.reports.report import GREY

MODELS = [*sorted(CORAL.glob("*.tflite")), *sorted(DATA.glob("*.tflite"))]


@st.composite
def graphs(draw):
    count = draw(st.integers(1, 25))
    node = st.integers(0, count - 1)
    pairs = draw(st.sets(st.tuples(node, node), max_size=50))
    return count, sorted(pair for pair in pairs if pair[0] < pair[1])


@settings(deadline=None, max_examples=150)
@given(graphs())
def test_boxes_lie_apart_and_lines_go_from_box_to_box(graph):
    _right(*graph)


def _right(count, edges):
    plan = arrange(count, edges)
    assert len(plan.boxes) == count
    assert len(plan.lines) == len(edges)
    by_height = {}
    for x, y in plan.boxes:
        assert BOX_WIDTH / 2 <= x <= plan.width - BOX_WIDTH / 2
        assert BOX_HEIGHT / 2 <= y <= plan.height - BOX_HEIGHT / 2
        by_height.setdefault(y, []).append(x)
    heights = sorted(by_height)
    assert all(below - above > BOX_HEIGHT for above, below in pairwise(heights))
    for places in by_height.values():
        assert all(right - left > BOX_WIDTH for left, right in pairwise(sorted(places)))
    for (first, second), line in zip(edges, plan.lines, strict=True):
        x, y = plan.boxes[first]
        assert line[0] == (x, y + BOX_HEIGHT / 2)
        x, y = plan.boxes[second]
        assert line[-1] == (x, y - BOX_HEIGHT / 2)
        # at the height of a row of boxes it passes between them
        for place_x, place_y in line[1:-1]:
            for box_x, box_y in plan.boxes:
                inside = abs(place_y - box_y) < BOX_HEIGHT / 2
                assert not (inside and abs(place_x - box_x) < BOX_WIDTH / 2)


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_a_drawing_has_every_operator_and_every_tensor_between_them(path):
    graph = tflite.read(path).subgraphs[0]
    spots = [Spot("CPU", GREY, "on the CPU")] * len(graph.operators)
    drawing = operator_graph.draw(graph, spots)
    numbers = [int(number) for number in re.findall(r'data-operator="(\d+)"', drawing)]
    assert numbers == [operator.index for operator in graph.operators]
    makers = {index: op.index for op in graph.operators for index in op.outputs}
    between = {(makers[i], op.index) for op in graph.operators for i in op.inputs if i in makers}
    assert set(operator_graph.edges_of(graph)) == between
    assert len(operator_graph.edges_of(graph)) == len(between)
    assert drawing.count("<path") >= len(between)
    _right(len(graph.operators), operator_graph.edges_of(graph))


def test_a_chain_fills_the_page_instead_of_one_long_column():
    plan = arrange(66, list(pairwise(range(66))))
    assert plan.width <= WIDE
    assert plan.height < 700


def test_a_large_network_with_branches():
    """Blocks of four branches as Inception's, 500 operators."""
    edges, last, count = [], 0, 1
    while count < 500:
        ends = []
        for length in (1, 2, 3, 4):
            nodes = [last, *range(count, count + length)]
            edges += pairwise(nodes)
            ends.append(nodes[-1])
            count += length
        edges += [(end, count) for end in ends]
        last, count = count, count + 1
    plan = arrange(count, edges)
    assert plan.width <= WIDE
    assert len(plan.boxes) == count


def test_one_operator_and_none():
    graph = tflite.read(DATA / "line.tflite").subgraphs[0]
    first = graph.operators[0]
    one = replace(graph, operators=(first,), outputs=first.outputs)
    drawing = operator_graph.draw(one, [Spot("CPU", GREY, "on the CPU")])
    assert drawing.count('class="op"') == 1
    assert drawing.count('class="end"') == 2
    assert drawing.count("<path") == 2
    empty = replace(graph, operators=(), outputs=graph.inputs)
    assert 'class="op"' not in operator_graph.draw(empty, [])
