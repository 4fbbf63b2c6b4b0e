"""What is written reads the same in Python and in Go (kubectl, as KFP's server)."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
import yaml

from edgeline.formats import plain_yaml

KUBECTL = Path(sys.executable).with_name("kubectl")
# every text of up to four of these, and what they do not reach
TEXTS = ["".join(text) for n in range(5) for text in product("yN018eo-+._", repeat=n)]
WORDS = ["yes", "off", "True", "null", "~", "0x1F", "0b1", "2024-01-01", "1:30", ".inf", "9" * 40]


def read_by_kubectl(text: str) -> dict[str, str]:
    command = [str(KUBECTL), "annotate", "--local", "-f", "-", "-o", "json", "seen=now"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:1000]
    data: dict[str, str] = json.loads(done.stdout)["data"]
    return data


@pytest.mark.slow
def test_every_text_stays_a_text_as_value_and_as_key() -> None:
    texts = [*TEXTS, *WORDS]
    data = {f"v{number}": text for number, text in enumerate(texts)} | dict.fromkeys(texts, "")
    document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data}
    text = plain_yaml.dump([document])
    assert list(yaml.safe_load_all(text)) == [document]
    assert read_by_kubectl(text) == data


def test_other_values_and_plain_texts_have_no_quotes() -> None:
    document = {"image": "ghcr.io/a/b@sha256:0f", "cpu": "100m", "n": [1, 0.5, True, None]}
    assert plain_yaml.dump([document]) == (
        "cpu: 100m\nimage: ghcr.io/a/b@sha256:0f\n'n':\n- 1\n- 0.5\n- true\n- null\n"
    )


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (b"a: 1\nb: {c: 2, c: 3}\n", "line 2 has 'c' again"),
        (b"a: 1\n'a': 2\n", "line 2 has 'a' again"),
        (b"a: [1\n", "line 2"),
        (b"\xff\xfe\x00", "truncated|incomplete"),
        (b"a: 2026-13-01\n", "month must be in 1..12"),
        (b"- 1\n", "Expected `object`, got `array`"),
    ],
)
def test_what_cannot_be_read_is_one_line(written: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        plain_yaml.load(written, dict)
    assert "\n" not in str(caught.value)


# libyaml ends the process over the first three
@pytest.mark.parametrize("written", ["[" * 100_000, '{"a":' * 100_000, "- " * 100_000])
def test_what_is_nested_too_deeply_is_refused(written: str) -> None:
    for read in (plain_yaml.read, plain_yaml.read_one, lambda text: list(plain_yaml.nodes(text))):
        with pytest.raises(plain_yaml.YamlError, match="nested more than 100 levels deep"):
            read(written)
    with pytest.raises(plain_yaml.YamlError, match="levels deep at line 1"):
        plain_yaml.load(written.encode(), dict)
    assert plain_yaml.read_one("[" * 100 + "]" * 100)


def test_aliases_that_would_fill_the_memory_are_refused() -> None:
    bomb = "a0: &a0 [1, 2]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
    )
    for read in (plain_yaml.read, plain_yaml.read_one, lambda text: list(plain_yaml.nodes(text))):
        with pytest.raises(plain_yaml.YamlError, match="written out, are too many values"):
            read(bomb)
        with pytest.raises(plain_yaml.YamlError, match="an alias contains itself"):
            read("a: &a [1, *a]\n")
    assert plain_yaml.read("a: &a [1]\nb: [*a, *a]\n---\na: 1\n")[0]["b"] == [[1], [1]]


def test_a_merged_key_may_be_written_anew() -> None:
    written = b"base: &base {a: 1, b: 2}\nown: {<<: *base, b: 3}\n"
    assert plain_yaml.load(written, dict)["own"] == {"a": 1, "b": 3}


def test_without_libyaml_the_same_values_are_written_and_read(tmp_path: Path) -> None:
    documents = [{"texts": [*TEXTS[:2000], *WORDS, "a\nb  c \n", "é \u2028 \U0001f600 " * 30]}]
    (tmp_path / "quick.yaml").write_text(plain_yaml.dump(documents))
    program = """
import yaml
del yaml.CSafeLoader, yaml.CSafeDumper
from edgeline.formats import plain_yaml
documents = plain_yaml.read(open("quick.yaml", "rb").read())
print(plain_yaml.dump(documents), end="")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert plain_yaml.read(done.stdout) == documents


def test_each_line_of_a_comment_is_one() -> None:
    text = plain_yaml.dump([{"a": 1}], comment="# one\ntwo: 2\u2028--- \x07three\n\n")
    assert text == "# one\n# two: 2\n# ---  three\n#\na: 1\n"


@pytest.mark.parametrize(
    ("written", "line", "reason"),
    [
        ("a: 1\nb: [2\n", 3, "did not find expected ',' or ']'"),
        ("a: 1\nb: *c\n", 2, "found undefined alias"),
        ("a: 2026-13-01\n", 1, "month must be in 1..12"),
    ],
)
def test_what_is_no_yaml_says_where(written: str, line: int, reason: str) -> None:
    with pytest.raises(plain_yaml.YamlError) as caught:
        plain_yaml.read(written)
    assert caught.value.line == line
    assert caught.value.reason == reason


def test_no_other_module_reads_or_writes_yaml_by_itself() -> None:
    root = Path(plain_yaml.__file__).parents[2]
    files = {
        path.relative_to(root).as_posix()
        for folder in ("edgeline", "components", "pipelines", "images")
        for path in (root / folder).rglob("*.py")
        if re.search(r"^\s*(import|from) yaml\b", path.read_text(), re.MULTILINE)
    }
    assert files == {"edgeline/formats/plain_yaml.py"}
