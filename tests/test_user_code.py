"""The user's module, wherever it lies and whatever is wrong with it."""

import hashlib
import json
import sys

import pytest

from edgeline import user_code
from edgeline.errors import EdgelineError, UsageError

SOURCE = "from __future__ import annotations\n\ndef build_model(x: Any):\n    return 2 / x\n"


@pytest.fixture
def file(tmp_path):
    """Writes a module below a folder that is named like ours."""

    def write(source=SOURCE, name="mine.py"):
        path = tmp_path / "edgeline" / "components" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(source if isinstance(source, bytes) else source.encode())
        return str(path)

    return write


def test_a_file(file):
    module = user_code.load(file())
    assert user_code.function(module, "build_model")(2) == 1
    assert user_code.read_source(file()) == SOURCE.encode()


def test_a_uri(file):
    assert user_code.load(f"file://{file()}").build_model(1) == 2


def test_an_import_path():
    module = user_code.load("edgeline.pipelines.taxi.module")
    assert user_code.function(module, "preprocessing_fn") is module.preprocessing_fn
    assert b"def preprocessing_fn" in user_code.read_source("edgeline.pipelines.taxi.module")


def test_a_pinned_file(file):
    path = file()
    digest = hashlib.sha256(SOURCE.encode()).hexdigest()
    assert user_code.load(f"{path}#sha256={digest}").build_model(1) == 2
    with pytest.raises(EdgelineError, match=r"mine\.py"):
        user_code.load(f"{path}#sha256={'0' * 64}")


def test_a_file_that_is_edited_is_read_anew(file):
    assert user_code.load(file()).build_model(1) == 2
    assert user_code.load(file(SOURCE.replace("2 /", "4 /"))).build_model(1) == 4


def test_a_file_named_like_a_library_does_not_stand_in_for_it(file):
    user_code.load(file(name="json.py"))
    assert sys.modules["json"] is json


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("def f(:\n", r"Importing .*mine\.py failed: SyntaxError: .*mine\.py, line 1"),
        ("x = 1\ny = x / 0\n", r"failed at .*mine\.py:2 \(y = x / 0\): ZeroDivisionError"),
        ("import no_such_library\n", r"mine\.py:1 .* No module named 'no_such_library'"),
        (b"x = '\xff'\n", r"Importing .*mine\.py failed: SyntaxError"),
        (b"x = 1\0\n", r"Importing .*mine\.py failed: (SyntaxError|ValueError)"),
    ],
)
def test_a_file_that_cannot_be_imported(file, source, sentence):
    with pytest.raises(EdgelineError, match=sentence) as caught:
        user_code.load(file(source))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("module", "sentence"),
    [
        ("", "'module' is empty"),
        ("no_such_package.module", "'no_such_package.module' cannot be imported"),
        ("edgeline.no_such", "'edgeline.no_such' cannot be imported"),
        (".relative", "relative"),
        ("no/such/file.py", "file.py"),
    ],
)
def test_a_module_that_is_not_there(module, sentence):
    with pytest.raises(EdgelineError, match=sentence):
        user_code.load(module)


@pytest.mark.parametrize("module", ["", "no_such_package.module", "edgeline.no_such", ".relative"])
def test_source_that_is_not_there(module):
    with pytest.raises(EdgelineError, match=f"'{module}' cannot be found: give an importable name"):
        user_code.read_source(module)


def test_what_can_be_no_module_is_refused_without_an_import(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "folder").mkdir()
    (tmp_path / "m.tflite").touch()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "__init__.py").write_text("raise ValueError")
    (tmp_path / "mine" / "taxi.py").write_text("raise ValueError")
    wrong = ["folder.py", "folder", "folder/", "m.tflite", "x" * 5000, "3", "a..b", "mine.nothing"]
    for module in wrong:
        with pytest.raises(UsageError, match="give an importable name") as refused:
            user_code.check(module)
        assert len(str(refused.value)) < 300
    for module in ("mine.taxi", "mine", "edgeline.pipelines.taxi.module", "mine.py", "s3://b/m.py"):
        user_code.check(module)
    assert "mine" not in sys.modules


def test_a_script_that_exits_when_it_is_imported_is_a_sentence(file):
    with pytest.raises(EdgelineError, match=r"mine\.py:2 \(sys\.exit\(3\)\): SystemExit: 3"):
        user_code.load(file("import sys\nsys.exit(3)\n"))


def test_a_function_that_is_missing(file):
    with pytest.raises(EdgelineError, match=r"mine\.py has no function preprocessing_fn: add it"):
        user_code.function(user_code.load(file()), "preprocessing_fn")


def test_the_users_line_is_named_not_the_librarys(file):
    source = "import json\n\ndef build_model(x):\n    return json.loads(x)\n"
    module = user_code.load(file(source))
    with pytest.raises(ValueError) as caught:
        module.build_model("{\n")
    sentence = user_code.describe(caught.value, "build_model")
    assert "mine.py:4 (return json.loads(x)): JSONDecodeError" in sentence


def test_traces_and_colours_are_left_out_of_a_reason():
    error = RuntimeError(
        "Graph execution error:\n\nDetected at node Add defined at (most recent call last):\n"
        '  File "a.py", line 3, in f\n\x1b[1mReally wrong\x1b[0m\n\t [[{{node Add}}]] [Op:x]'
        " [while running 'Map']"
    )
    assert user_code.reason(error) == "Really wrong"


def test_a_failure_in_a_graph_names_its_node():
    error = ValueError("Graph execution error:\n\nDetected at node m/embedding/Gather at\n8")
    sentence = user_code.describe(error, "Training")
    assert sentence.startswith("Training failed in m/embedding/Gather: ValueError: ")
