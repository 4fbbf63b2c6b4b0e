"""JSON straight to numpy gives what Python's own parser gives, small or large."""

from __future__ import annotations

import json
from random import Random

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgeline.server.errors import ServingError
from edgeline.server.tensors import json as tensors
from edgeline.server.tensors.json import LARGE, Large, dumps, dumps_not_finite, loads, to_array

DTYPES = ("float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32")
quick = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(params=[False, True], ids=["small", "large"], autouse=True)
def _way(request, monkeypatch):
    """Every test goes both ways."""
    if request.param:
        monkeypatch.setattr(tensors, "LARGE", 0)


def read(value, dtype, raw=False):
    return to_array(loads(json.dumps({"x": value}).encode())["x"], dtype, "It", raw)


@quick
@given(st.data())
def test_arrays_come_back(data):
    dtype = data.draw(st.sampled_from([*DTYPES, "uint64", "bool"]))
    shape = data.draw(hnp.array_shapes(max_dims=4, max_side=5))
    elements = {"allow_nan": False, "allow_infinity": False} if dtype.startswith("f") else {}
    kind = np.dtype(dtype)
    array = data.draw(hnp.arrays(kind, shape, elements=hnp.from_dtype(kind, **elements)))
    found = read(array.tolist(), dtype)
    assert found.dtype == kind
    assert found.shape == shape
    assert (found == array).all()


@quick
@given(st.data())
def test_ragged_lists_are_refused(data):
    rows = data.draw(
        st.recursive(
            st.lists(st.integers(0, 9), max_size=3), lambda s: st.lists(s, max_size=3), max_leaves=8
        )
    )
    try:
        expected = np.array(rows, dtype=float)
    except ValueError:
        expected = None
    if expected is not None and expected.size:
        assert (read(rows, "int64") == expected).all()
    elif expected is None:
        with pytest.raises(ServingError):
            read(rows, "int64")


@pytest.mark.parametrize(
    "rows", [[[1, 2, 3], [4]], [[[1, 2], [3]], [[4, 5], [6]]], [[1, 2], 3], [1, [2]], [[], [1]]]
)
def test_lists_of_unequal_length(rows):
    with pytest.raises(ServingError, match=r"lists of equal length|holds"):
        read(rows, "int64")


def test_brackets_in_strings_do_not_mislead():
    text = "[[,],[,]]" * 3000
    body = json.dumps({"a": text, "x": [[1, 2], [3, 4]], "y": [[1, 2], [3]], "z": [5]}).encode()
    found = loads(body)
    assert to_array(found["x"], "int32", "x").tolist() == [[1, 2], [3, 4]]
    with pytest.raises(ServingError):
        to_array(found["y"], "int32", "y")


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        ([256], "uint8"),
        ([-1], "uint8"),
        ([1.5], "int32"),
        ([True], "int32"),
        ([1, True], "int32"),
        ([True, 1], "float32"),
        ([1], "bool"),
        (["1"], "int32"),
        ([None], "int32"),
        ([{}], "float32"),
        ([2**63], "int64"),
        ([-(2**63) - 1], "int64"),
        ([2**64], "uint64"),
        ([1e39], "float32"),
        ([1], "string"),
    ],
)
def test_other_kinds_are_refused(value, dtype):
    with pytest.raises(ServingError):
        read(value, dtype)


def test_missing_values():
    assert np.isnan(read([1, None], "float32")[1])
    assert read([1, None], "int64", raw=True).tolist() == [1, -(2**63)]
    assert read(["a", None], "string", raw=True).tolist() == [b"a", b""]
    assert read([2**63, 1], "uint64").tolist() == [2**63, 1]
    found = to_array(loads(b'{"x":[NaN,Infinity,-Infinity,1]}')["x"], "float32", "It")
    assert np.isnan(found[0])
    assert found[1:].tolist() == [np.inf, -np.inf, 1]


def test_not_finite_numbers_are_written_per_protocol():
    array = np.array([[0.1, np.nan], [np.inf, -np.inf]], np.float32)
    assert dumps({"x": array}) == b'{"x":[[0.1,null],[null,null]]}'
    assert dumps_not_finite({"x": array}) == b'{"x":[[0.1,NaN],[Infinity,-Infinity]]}'


def test_many_objects_and_keys_take_time_in_their_number():
    rows = [{"a": i, "b": [i]} for i in range(20_000)]
    found = loads(json.dumps({"instances": rows, **{f"k{i}": i for i in range(20_000)}}).encode())
    assert found["instances"] == rows


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff", b'{"a":01}', b"[" * 5000, b'{"a":"\\ud800"}', b"nul", b"{} x"]
)
def test_what_is_not_json(body):
    with pytest.raises(ServingError, match="not JSON"):
        loads(body)


def test_the_large_way_makes_no_python_objects(monkeypatch):
    monkeypatch.setattr(tensors, "LARGE", 0)
    assert isinstance(loads(b'{"x":[1]}')["x"], Large)


@pytest.mark.parametrize(
    "text",
    ['"\\ud800"', '"\\udc00x"', '"\\ud800\\u0041"', '{"\\udfff": 1}', "1e999", "-1e400",
     "9" * 400, "9" * 5000, '"\ud800"', "[" * 5000 + "]" * 5000],
)  # fmt: skip
def test_what_no_parser_takes_is_not_taken_beside_nan_either(text):
    for document in (f"[{text}]", f"[NaN, {text}]", f'{{"a": -Infinity, "b": {text}}}'):
        with pytest.raises(ServingError, match="The body is not JSON"):
            loads(document.encode(errors="surrogatepass"))


def test_numbers_beside_nan_are_those_without():
    numbers = '18446744073709551615, 18446744073709551616, -9223372036854775809, 1e300, "\\u00fc"'
    assert loads(f"[NaN, {numbers}]".encode())[1:] == orjson.loads(f"[{numbers}]")


def test_names_that_are_not_utf8_are_spelled():
    names = {"models": ["a\udcff", {"\udc80": ("b", np.array([1.5]))}]}
    assert orjson.loads(dumps(names)) == {"models": ["a\\udcff", {"\\udc80": ["b", [1.5]]}]}


NUMBERS = (
    *("0", "-0", "1", "-1", "1.5", "1e5", "1E-5", "1e400", "-1e400", "1e308", "1e-400", "0.1"),
    *("9223372036854775807", "9223372036854775808", "18446744073709551615", "18446744073709551616"),
    *("-9223372036854775809", "123456789012345678901234567890", "2.2250738585072014e-308"),
    *("01", "1.", "+1", ".5", "0x1", "NaN", "Infinity", "-Infinity"),
)
TEXTS = (
    *('"a"', '""', '"\\u00e9"', '"inputs"', '"name"', '"é"', '"\\u0000"', '"\\n"', '"\x7f"'),
    *('"\\ud800"', '"\\ud83d\\ude00"', '"\\x"', '"a\tb"'),
)
WORDS = ("true", "false", "null", "True", "nul", "none", "")


def made(random: Random, depth: int = 0) -> str:
    """A document, or nearly one."""
    kind = random.random()
    if depth > 5 or kind < 0.45:
        return random.choice(NUMBERS if random.random() < 0.6 else TEXTS + WORDS)
    parts = [made(random, depth + 1) for _ in range(random.randrange(4))]
    if kind < 0.7:
        return "[" + ",".join(parts) + random.choice(["", "", "", ","]) + "]"
    return "{" + ",".join(f"{random.choice(TEXTS[:6])}:{part}" for part in parts) + "}"


def as_python(value: object) -> object:
    if isinstance(value, Large):
        value = value.as_list()
    if isinstance(value, dict):
        return {key: as_python(each) for key, each in value.items()}
    return [as_python(each) for each in value] if isinstance(value, list) else value


def test_both_parsers_agree_on_1500_documents():
    """Keys that are given twice, numbers beyond 64 bits, half surrogates, depth: size decides
    nothing."""
    random = Random(7)
    refused = 0
    for _ in range(1500):
        document = made(random)
        document = f'{{"id":1,"inputs":[{document}]}}' if random.random() < 0.3 else document
        if random.random() < 0.02:
            document = "[" * random.choice([5, 100, 1100]) + document
        found = []
        for body in (document.encode(), document.encode() + b" " * LARGE):
            try:
                found.append(repr(as_python(loads(body))))
            except ServingError:
                found.append("refused")
        assert found[0] == found[1], document
        refused += found[0] == "refused"
    assert 300 < refused < 1000
