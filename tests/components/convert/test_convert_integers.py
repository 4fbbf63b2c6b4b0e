"""Arithmetic of whole numbers gives on the device, bit for bit, what TensorFlow gives."""

import pytest

pytestmark = pytest.mark.slow


def test_pairs_of_numbers():
    """The other dtypes are in benchmarks/generated_features.py."""
    from extreme_cases import both
    from integer_cases import differing, of_dtype, pairs

    functions = of_dtype("int64")
    assert differing(both(functions, pairs()), pairs()) == {}


def test_numbers_and_constants():
    from extreme_cases import both
    from integer_cases import OF_CONSTANTS, differing, pairs

    assert differing(both(OF_CONSTANTS, pairs()), pairs()) == {}
