"""What is written reads the same in Python and in Go (kubectl, as KFP's server)."""

from __future__ import annotations

import json
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


def test_a_merged_key_may_be_written_anew() -> None:
    written = b"base: &base {a: 1, b: 2}\nown: {<<: *base, b: 3}\n"
    assert plain_yaml.load(written, dict)["own"] == {"a": 1, "b": 3}
