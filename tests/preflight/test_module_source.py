"""What parsing tells of a module for certain, and what it leaves open."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from edgeline.preflight import functions
from edgeline.preflight.module_source import ModuleSource, parsed
from edgeline.user_code.code import UserCode, read

OURS = [
    "pipelines/taxi/module.py",
    "pipelines/digits/module.py",
    "edgeline/starter/project/module.py",
    "edgeline/starter/wine/wine.py",
]


def module(source: str, **others: str) -> ModuleSource:
    files = {f"{name}.py": text.encode() for name, text in {"m": source, **others}.items()}
    return parsed(UserCode("", "m.py", files))


def reads(body: str, before: str = "") -> list[str]:
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    source = module(f"{before}\ndef preprocessing_fn(inputs):\n{lines}")
    return [name for name, _ in source.required_items("preprocessing_fn", 0)]


@pytest.mark.parametrize("path", OURS)
def test_the_modules_that_come_with_edgeline_are_read_whole(path: str, request) -> None:
    found = parsed(read(str(request.config.rootpath / path)))
    columns = [name for name, _ in found.required_items("preprocessing_fn", 0)]
    made = found.returned_keys("preprocessing_fn")
    assert made and len(set(columns)) >= len(made)
    assert not found.faults and not list(found.missing_imports())
    assert not found.lacks("preprocessing_fn") and not found.lacks("build_model")


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ('inputs["a"]', ["a"]),
        ('with x:\n    y = f(inputs["a"])', []),
        ('assert "a" in inputs, inputs["q"]', []),
        ('1 < n < len(inputs["zz"])', []),
        ('for n in (["a"] if x else ["zz"]):\n    inputs[n]', []),
        ('p = "fa"\np += "re"\nkey = p\ninputs[key]', []),
        ('c = "price"\nif x:\n    c = "fare"\nkey = c\ninputs[key]', []),
        ('for n in ("a", "b"):\n    inputs[n]', ["a", "b"]),
        ('for n, size in {"a": f(), "b": 2}.items():\n    inputs[n]', ["a", "b"]),
        ("for n in COLUMNS:\n    inputs[n]", ["a", "b"]),
        ("for i, n in enumerate(COLUMNS):\n    inputs[n]", ["a", "b"]),
        ("return {n: inputs[n] for n in COLUMNS}", ["a", "b"]),
        ('for n in COLUMNS:\n    inputs[n + "_x"]', ["a_x", "b_x"]),
        ('for n in COLUMNS:\n    inputs[f"{n}_x"]', ["a_x", "b_x"]),
        ('for n in [*COLUMNS, "c"]:\n    inputs[n]', ["a", "b", "c"]),
        ('for n in ("a",):\n    inputs[n]\nfor n in ("b",):\n    n', ["a"]),
    ],
)
def test_what_is_read_for_certain(body: str, found: list[str]) -> None:
    assert reads(body, 'COLUMNS = ["a", "b"]') == found


@pytest.mark.parametrize(
    "body",
    [
        'if x:\n    inputs["a"]',
        'y = inputs["a"] if x else 1',
        'x or inputs["a"]',
        'try:\n    inputs["a"]\nexcept KeyError:\n    pass',
        'return 1\ninputs["a"]',
        'if x:\n    return 1\ninputs["a"]',
        'def inner():\n    return inputs["a"]',
        'lambda: inputs["a"]',
        'inputs = dict(inputs)\ninputs["a"]',
        'inputs["a"] = 1\ninputs["a"]',
        'prepare(inputs)\ninputs["a"]',
        'inputs.update(a=1)\ninputs["a"]',
        "for n in columns():\n    inputs[n]",
        'for n in ("a", "b"):\n    if n == "a":\n        continue\n    inputs[n]',
        'for n in ("a", "b"):\n    for m in ("c", "d"):\n        inputs[n + m]',
        'for n, m in {"a": "b", "c": "d"}.items():\n    inputs[n + m]',
        'key = "a"\nkey = "b"\ninputs[key]',
        'inputs["a" if x else "b"]',
        'inputs.get("a")',
        "inputs[CHANGED[0]]\nfor n in CHANGED:\n    inputs[n]",
    ],
)
def test_what_is_not_certain_is_left_out(body: str) -> None:
    assert reads(body, 'CHANGED = ["a"]\nCHANGED.append("b")') == []


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ('return {"a": 1, "b": 2}', {"a", "b"}),
        ('o = {}\no["a"] = 1\nif x:\n    o["b"] = 2\nreturn o', {"a", "b"}),
        ('o = dict(a=1)\no.update({"b": 2}, c=3)\nreturn o', {"a", "b", "c"}),
        ('o = {n: 1 for n in ("a", "b")}\nreturn {**o, "c": 3}', {"a", "b", "c"}),
        ('o = {"a": 1}\no = {**o, "b": 2}\nreturn o', {"a", "b"}),
        ('o = {"a": 1}\no |= {"b": 2}\nreturn o | {"c": 1}', {"a", "b", "c"}),
        ('if x:\n    return {"a": 1}\nreturn {LABEL: 2}', {"a", "fault"}),
        ("return {NEAR: 2}", {"nearby"}),
        ('o = {}\nadd(o)\no["a"] = 1\nreturn o', None),
        ("return make(inputs)", None),
        ("return {name(): 1}", None),
        ('o = p = {}\np["a"] = 1\nreturn o', None),
        ('o = {}\np = o\np["a"] = 1\nreturn o', None),
        ("o = {}\no.setdefault(x, 1)\nreturn o", None),
        ('ns = ["a"]\nns.append("b")\no = {}\nfor n in ns:\n    o[n] = 1\nreturn o', None),
        ('n = "a"\nmatch "b":\n    case str() as n:\n        pass\nreturn {n: 1}', None),
        ("return {n: 1 for n in SHARED}", None),
        ("return {n: 1 for n in NESTED[0]}", None),
    ],
)
def test_what_is_returned_at_most(body: str, found: set[str] | None) -> None:
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    before = (
        "from near import NEAR\nLABEL = 'fault'\n"
        "SHARED = ['a']\nextend(SHARED)\nNESTED = [['a']]\nNESTED[0].append('b')\n"
    )
    source = module(f"{before}def preprocessing_fn(inputs):\n{lines}", near="NEAR = 'nearby'\n")
    assert source.returned_keys("preprocessing_fn") == found


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("f(vocab_filename='a')\ng(x, vocab_filename='b')", {"a", "b"}),
        ("for n in ('a', 'b'):\n    f(vocab_filename=n)", None),  # at the top nothing is told
        ("def f():\n    for n in ('a', 'b'):\n        g(vocab_filename=n)", {"a", "b"}),
        ("f(vocab_filename=name())", None),
        ("f(**options)", None),
        ("import tensorflow_transform as tft, json\nf(vocab_filename='a')", {"a"}),
        ("from my_library import encode\nf(vocab_filename='a')", None),
        ("from . import near\nf(vocab_filename='a')", None),
        ("tft.vocabulary(x, 1, 2, 3, 4, 'a')", None),
    ],
)
def test_vocabularies(source: str, found: set[str] | None) -> None:
    assert module(source).vocabularies() == found


@pytest.mark.parametrize(
    ("source", "lacks"),
    [
        ("def other(): pass", True),
        ("f = 1", False),
        ("if x:\n    def f(): pass", False),
        ("from near import f", False),
        ("from near import *", False),
        ("globals()['f'] = 1", False),
    ],
)
def test_a_function_that_is_certainly_missing(source: str, lacks: bool) -> None:
    assert module(source).lacks("f") is lacks


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import no_such_package.inner", ["no_such_package"]),
        ("def build_model(f, h):\n    from no_such_package import x", ["no_such_package"]),
        ("try:\n    import no_such_package\nexcept ImportError:\n    pass", []),
        ("if TYPE_CHECKING:\n    import no_such_package", []),
        ("def never_called():\n    import no_such_package", []),
        ("import near, json, sys, yaml, zlib", []),
    ],
)
def test_imports_that_are_certainly_missing(source: str, found: list[str]) -> None:
    assert [top for top, _, _ in module(source, near="").missing_imports()] == found


def test_a_module_in_the_folder_where_tasks_start_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_neighbour.py").touch()
    monkeypatch.chdir(tmp_path)
    assert not list(module("import my_neighbour").missing_imports())


def test_a_module_that_imports_all_names_of_another_has_no_known_constant() -> None:
    source = "A = ['a']\nfrom near import *\ndef preprocessing_fn(inputs):\n    return {A[0]: 1}\n"
    assert module(source, near="A = ['b']\n").scope == {}


@pytest.mark.parametrize(
    ("body", "read"),
    [
        ("return h['a'] + h.get('b', 1)", {"a", "b"}),
        ("if 'c' in h:\n        return h['c']", {"c"}),
        ("def inner():\n        return h['a']\n    return inner()", {"a"}),
        ("pass", set()),
        ("return [h[f'units_{n}'] for n in range(2)]", None),
        ("return make(**h)", None),
        ("return helper(h)", None),
        ("for name in h:\n        print(name)", None),
        ("h = h or {'a': 1}\n    return h['a']", None),
        ("return h.items()", None),
        ("h['a'] = 1", None),
    ],
)
def test_what_a_function_may_take_out_of_a_dictionary(body: str, read: set[str] | None) -> None:
    [function] = ast.parse(f"def build_model(features, h):\n    {body}\n").body
    assert isinstance(function, ast.FunctionDef)
    assert functions.read_items(function, 1) == read
