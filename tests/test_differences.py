"""How far two models lie apart: every step, report and limit says the same number."""

import numpy as np
import pytest

from edgeline.artifacts.bundle import Signature, Tensor
from edgeline.artifacts.differences import Gap, difference, gap
from edgeline.components.compile import forms
from edgeline.components.convert import convert
from edgeline.components.convert.conversion import Conversion
from edgeline.components.verify import parity
from edgeline.errors import EdgelineError
from edgeline.formats.quantisation import FLOAT
from edgeline.runtimes.interpreter import EdgeModel
from edgeline.server.rollouts.shadow import differing

EXPECTED = np.array([[0.25], [-4.0], [2000.0], [0.0]], np.float32)
ANSWER = np.array([[0.5], [-5.0], [2100.0], [0.125]], np.float32)
# 0.25 as it is below 1, 1 of 4, 100 of 2,000, 0.125
EACH = [0.25, 0.25, 0.05, 0.125]
OUTPUT = Tensor("prediction", "float32", (-1, 1))


def model(answer):
    signature = Signature((Tensor("x", "float32", (-1, 1)),), (OUTPUT,))
    return EdgeModel(signature, lambda _: {"prediction": answer})


def in_convert(expected, answer):
    result = Conversion.__new__(Conversion)
    object.__setattr__(result, "cloud", {"prediction": expected})
    object.__setattr__(result, "edge", {"prediction": answer})
    return convert._gaps(result)["prediction"].max


def in_compile(expected, answer):
    rows = {"x": np.zeros((len(expected), 1), np.float32)}
    return forms.difference(model(expected), model(answer), rows).max


def in_verify(expected, answer):
    cloud = {"prediction": expected, "label": np.zeros((len(expected), 1), np.float32)}
    batch = parity.Batch({}, cloud, {"prediction": answer})
    return parity.compare([batch], len(expected), "regression", 0.5).max_difference


def test_a_difference_is_absolute_up_to_one_and_relative_above():
    np.testing.assert_allclose(difference(ANSWER, EXPECTED)[:, 0], EACH)
    found = gap(ANSWER, EXPECTED)
    assert found == Gap(0.25, pytest.approx(np.mean(EACH)), pytest.approx(100 / 2000))


@pytest.mark.parametrize("read", [in_convert, in_compile, in_verify])
def test_convert_compile_and_verify_report_the_same(read):
    assert read(EXPECTED, ANSWER) == pytest.approx(0.25)
    assert read(EXPECTED, EXPECTED) == 0.0


def test_a_shadow_tolerates_what_is_reported():
    def differ(tolerance):
        sides = ({"prediction": each} for each in (EXPECTED, ANSWER))
        return differing(*((side, (OUTPUT,)) for side in sides), 4, tolerance, "values")

    assert [differ(limit) for limit in (0.04, 0.06, 0.13, 0.26)] == [4, 3, 2, 0]


def test_what_is_not_finite_differs_from_all_but_itself():
    special = np.array([np.nan, np.inf, -np.inf])
    np.testing.assert_array_equal(difference(special, special), 0.0)
    np.testing.assert_array_equal(difference(special, np.array([1.0, 1.0, np.inf])), np.inf)
    np.testing.assert_array_equal(difference(np.array([1.0]), np.array([np.inf])), np.inf)
    words = np.array([b"a", b"b"], object)
    np.testing.assert_array_equal(difference(words, words[[0, 0]]), [0.0, np.inf])
    with pytest.raises(EdgelineError, match="NaN or infinite"):
        in_compile(EXPECTED, np.where(EXPECTED == 0, np.float32(np.nan), EXPECTED))
    assert in_convert(EXPECTED, np.where(EXPECTED == 0, np.inf, EXPECTED)) == np.inf


def test_rounding_of_large_values_that_cancel_is_no_other_function():
    """1e-7 of a million is 0.1 of a value near 0: a compiler has changed nothing there."""
    expected = np.array([[1e6], [0.0]], np.float32)
    found = gap(expected + np.array([[0.0], [0.1]], np.float32), expected)
    assert found.max == pytest.approx(0.1) and found.of_range == pytest.approx(1e-7)
    forms.require_equal(found, FLOAT, "The model")
