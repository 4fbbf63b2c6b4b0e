"""What a record leaves out, and what it keeps as it is."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from tiny_pipeline import Tiny, tiny

from edgeline.local.redaction import HIDDEN, RedactedLines, redacted, secrets_in

__all__ = ["tiny"]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://ada:pw@example.org/a.csv?sig=1&x=2", "https://example.org/a.csv"),
        ("https://example.org/a.csv?once#part", "https://example.org/a.csv"),
        ("https://example.org/a#sha256=ab", "https://example.org/a#sha256=ab"),
        ("s3://lake/trips#version=3", "s3://lake/trips#version=3"),
        ("s3://lake/trips#version=3x", "s3://lake/trips"),
        ("s3://bucket/a?endpoint=minio:9000,s3://b/c", "s3://bucket/a,s3://b/c"),
        ("s3://bucket/part-?.csv", "s3://bucket/part-?.csv"),
        ("rides/part-?.csv", "rides/part-?.csv"),
        ("postgresql://ada:pw@db:5432/rides?sslmode=require", "postgresql://db:5432/rides"),
        (
            "postgresql:host=db password=pw dbname=x",
            f"postgresql:host=db password={HIDDEN} dbname=x",
        ),
        ("row 7 of https://u@h/x?y=1 is short", "row 7 of https://h/x is short"),
        ("SELECT a FROM b WHERE c=1", "SELECT a FROM b WHERE c=1"),
        ("https://h/?a=1,2&sig=X", "https://h/"),
        ("at https://u:p,w@host/x?y=1, then", "at https://host/x, then"),
        ("password='x y' user=ada", f"password={HIDDEN} user=ada"),
        ('user=ada,password="a \\" b",x=1', f"user=ada,password={HIDDEN},x=1"),
        ("password=a,b host=c", f"password={HIDDEN} host=c"),
        ("password='never ends", f"password={HIDDEN}"),
        ('{"password": "abc"}', f'{{"password": {HIDDEN}}}'),
        ("{'api_token': 'abc'}", f"{{'api_token': {HIDDEN}}}"),
        ('"{\\"token\\": \\"a b\\"}"', f'"{{\\"token\\": {HIDDEN}}}"'),
        ("curl -H 'Authorization: Bearer abc'", f"curl -H 'Authorization: {HIDDEN}'"),
        ("user: ada\n  token: abc\n", f"user: ada\n  token: {HIDDEN}\n"),
        ("token = abc", f"token = {HIDDEN}"),
        ("push --token abc --now", f"push --token {HIDDEN} --now"),
        ("it has no token: ask for one", "it has no token: ask for one"),
        ("5 tokens of a secret kind", "5 tokens of a secret kind"),
    ],
)
def test_texts(given: str, kept: str) -> None:
    assert redacted(given) == kept


@pytest.mark.parametrize("name", ["password", "hub_token", "apiKey", "API_KEY", "aws_secret_key"])
def test_names_of_secrets(name: str) -> None:
    assert redacted({name: "abc", "list": [{name: "abc"}]}) == {
        name: HIDDEN, "list": [{name: HIDDEN}],
    }  # fmt: skip


def test_a_whole_number_is_a_secret_where_its_name_ends_so() -> None:
    given = {"db_password": 1234567, "api_key": 7654321.0, "list": [{"token": 7}]}
    hidden = {"db_password": HIDDEN, "api_key": HIDDEN, "list": [{"token": HIDDEN}]}
    assert redacted(given) == hidden
    assert secrets_in(given) == {"1234567", "7654321"}
    numbers = {"token_length": 9, "token_accuracy": 0.5, "token": 0.5, "is_secret": True}
    assert redacted(numbers) == numbers


def test_other_names_and_kinds_stay() -> None:
    given = {
        "tokenizer": "bert", "max_tokens": 12, "signing_keys": "env:KEY", "key": "pump",
        "secret": "", "none": None, "words": ["a", 1.5, True],
    }  # fmt: skip
    assert redacted(given) == given


@pytest.mark.timeout(60)  # minutes, were it quadratic
@pytest.mark.parametrize("part", ["a", "a1", "a=", "a: ", "password=", "http://", ",a", "{'a': "])
def test_a_text_may_be_a_file(part: str) -> None:
    assert len(redacted(part * (200_000 // len(part)))) > 0


def test_lines_are_written_without_secrets_however_they_come() -> None:
    given = {"hub_token": "t0ken-99", "password": "short", "more": {"api_key": ["k3y-k3y"]}}
    kept = io.StringIO()
    with RedactedLines(kept, secrets_in(given)) as stream:
        for piece in ("read t0k", "en-99 of http://u:p", "w@h/x?y=1\nthen ", "k3y-k3y"):
            stream.write(piece)
    assert kept.getvalue() == f"read {HIDDEN} of http://h/x\nthen {HIDDEN}"


def test_no_file_that_a_run_keeps_has_a_secret(tiny: Tiny) -> None:
    address = "address=http://u:s3cret@host/x?sig=s3cret"
    assert tiny.run("hub_token=t0ken-99", address, cache=True) == ""
    kept = [file for file in tiny.root.rglob("*") if file.is_file()]
    assert {"run.json", "kfp.log", "executor_output.json"} <= {file.name for file in kept}
    for file in kept:
        assert not {b"s3cret", b"t0ken-99"} & {*_secrets(file)}, file


def _secrets(file: Path) -> list[bytes]:
    return [word for word in (b"s3cret", b"t0ken-99") if word in file.read_bytes()]
