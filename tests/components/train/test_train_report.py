"""The report of `train`: the network in full, however narrow the terminal is."""

from __future__ import annotations

import pytest

from edgeline.components.train.fitting import Fitting, FittingState
from edgeline.components.train.report import write_report

pytestmark = pytest.mark.slow  # imports Keras
METADATA = {"parameters": 0, "metrics": {}, "hyperparameters": {}, "features": []}


def page(network, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    state = FittingState(epoch=1, history={"loss": [1.0]})
    write_report(tmp_path / "report.html", network, state, METADATA, Fitting("label", 1))
    return (tmp_path / "report.html").read_text()


def test_each_layer_is_listed_with_shape_parameters_and_what_it_reads(tmp_path, monkeypatch):
    import keras

    inputs = [keras.Input((3,), name="a"), keras.Input((2,), name="b")]
    name = "a_dense_layer_whose_name_is_longer_than_a_narrow_terminal_is_wide"
    joined = keras.layers.Concatenate(name="joined")(inputs)
    network = keras.Model(inputs, keras.layers.Dense(4, name=name)(joined))
    html = page(network, tmp_path, monkeypatch)
    row = html[html.index(name) :].split("</tr>")[0]
    assert "Dense" in row and "(None, 4)" in row and ">24<" in row and "joined" in row
    row = html[html.index(">joined<") :].split("</tr>")[0]
    assert "(None, 5)" in row and "a, b" in row
    drawing = html[html.index('<div class="ops"') :]
    assert drawing.count('class="op"') == 2 and drawing.count('class="end"') == 3
    assert drawing.count("<path") == 4 and "input b: float32 ?×2" in drawing


def test_a_network_within_one_is_a_box_that_is_joined(tmp_path, monkeypatch):
    """As in transfer learning."""
    import keras

    taken = keras.Input((3,), name="pixels")
    inner = keras.Model(taken, keras.layers.Dense(2)(taken), name="backbone")
    outer = keras.Input((3,), name="image")
    html = page(keras.Model(outer, keras.layers.Dense(4)(inner(outer))), tmp_path, monkeypatch)
    drawing = html[html.index('<div class="ops"') :]
    assert drawing.count('class="op"') == 2 and drawing.count("<path") == 3
    assert "backbone, Functional" in drawing and "pixels" not in drawing


def test_a_network_whose_joints_keras_does_not_tell_is_not_drawn(tmp_path, monkeypatch):
    import keras

    taken, twice = keras.Input((3,)), keras.layers.Dense(3)
    html = page(keras.Model(taken, twice(twice(taken))), tmp_path, monkeypatch)
    assert "There is no drawing" in html and '<div class="ops"' not in html


def test_a_subclassed_network_has_its_layers_without_shapes(tmp_path, monkeypatch):
    import keras
    import numpy as np

    class Network(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = keras.layers.Dense(2, name="inner")

        def call(self, inputs):
            return self.inner(inputs)

    network = Network()
    network(np.zeros((1, 3), np.float32))
    html = page(network, tmp_path, monkeypatch)
    row = html[html.index(">inner<") :].split("</tr>")[0]
    assert "Dense" in row and ">8<" in row


def test_the_loss_by_step_is_drawn_and_the_learning_rate_where_it_changes(tmp_path):
    import keras

    network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    state = FittingState(epoch=1, history={"loss": [1.0]})
    pages = []
    for last in (0.01, 0.001):
        norm = float("nan") if last == 0.01 else 2.0
        state.by_step = [[10, 0.7, 0.01, norm], [20, 0.5, 0.01, norm], [30, 0.4, last, norm]]
        write_report(tmp_path / "r", network, state, METADATA, Fitting("y", 1), None, 0.0021)
        pages.append((tmp_path / "r").read_text())
    assert "<b>2.1 ms</b><span>time per step, median</span>" in pages[0]
    assert "The learning rate is 0.01 throughout." in pages[0]
    assert ">learning rate<" in pages[1] and ">learning rate<" not in pages[0]
    assert ">gradient norm<" in pages[1] and ">gradient norm<" not in pages[0]
