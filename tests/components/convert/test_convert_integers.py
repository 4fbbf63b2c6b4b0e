"""Arithmetic of whole numbers gives on the device, bit for bit, what TensorFlow gives."""

import numpy as np
import pytest

pytestmark = pytest.mark.slow


def differing(found, values):
    """Rows of which the answers differ, by function; quotients in float32 within two roundings."""
    wrong = {}
    for name, (cloud, edge) in found.items():
        assert edge.dtype == cloud.dtype, name
        assert edge.shape == cloud.shape, name
        rows = edge != cloud
        if cloud.dtype.kind == "f":
            rows = ~np.isclose(edge, cloud, rtol=2.4e-7, atol=0, equal_nan=True)
        if rows.any():
            wrong[name] = values[rows.any(axis=1)].tolist()
    return wrong


@pytest.mark.parametrize("dtypes", [("int64", "int32"), ("int8", "uint32")])
def test_pairs_of_numbers(dtypes):
    from extreme_cases import both
    from integer_cases import of_dtype, pairs

    functions = {name: f for dtype in dtypes for name, f in of_dtype(dtype).items()}
    assert differing(both(functions, pairs()), pairs()) == {}


def test_numbers_and_constants():
    from extreme_cases import both
    from integer_cases import OF_CONSTANTS, pairs

    assert differing(both(OF_CONSTANTS, pairs()), pairs()) == {}
