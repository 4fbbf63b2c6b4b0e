"""Strings in the bytes of the Open Inference Protocol."""

from __future__ import annotations

import numpy as np
import pytest

from edgeline.server.errors import ServingError
from edgeline.server.tensors.binary import from_bytes, to_bytes

SHORT = [b"cash", b"", "größer".encode(), b"ends in nul\0\0", b"cash"]
LONG = [b"a" * 300, b"", b"b" * 300, b"\0", b"a" * 300]


@pytest.mark.parametrize("values", [SHORT, LONG, [b""]])
def test_strings_are_what_was_sent(values):
    array = np.array(values, object)
    got = from_bytes(memoryview(to_bytes(array)), "BYTES", [len(values)], "name")
    assert got.tolist() == values
    assert {type(value) for value in got} == {bytes}


@pytest.mark.parametrize("values", [SHORT, LONG])
def test_cut_anywhere_it_is_said_in_which_string(values):
    content = to_bytes(np.array(values, object))
    ends = np.cumsum([4 + len(value) for value in values])
    for size in range(4 * len(values), len(content)):
        within = int(np.searchsorted(ends, size, "right"))
        with pytest.raises(ServingError) as refused:
            from_bytes(content[:size], "BYTES", [len(values)], "name")
        assert str(refused.value) == f"Input 'name' ends within string {within} of 5.", size
    with pytest.raises(ServingError, match="has 2 bytes after its last string"):
        from_bytes(content + b"xy", "BYTES", [len(values)], "name")
    with pytest.raises(ServingError, match="has 3 bytes, too few for 5 strings"):
        from_bytes(b"abc", "BYTES", [5], "name")
