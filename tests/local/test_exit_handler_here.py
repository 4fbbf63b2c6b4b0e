"""What the exit handler tells of a run on this machine."""

# no `from __future__ import annotations`: kfp reads the annotations

import json
from typing import NamedTuple

import pytest
from kfp import dsl

from edgeline.components.notify.component import notify
from edgeline.local.runner import run


@dsl.component(base_image="python", install_kfp_package=False)
def look(word: str) -> str:
    from edgeline.errors import EdgelineError

    if word == "bad":
        raise EdgelineError("row 7 has no fare: add it.")
    return word


@dsl.component(base_image="python", install_kfp_package=False)
def publish(word: str, bundle: dsl.Output[dsl.Artifact]) -> NamedTuple("Published", [("uri", str)]):
    bundle.metadata["edgeline_schema"] = "bundle/v1"
    with open(bundle.path, "w") as file:
        file.write(word)
    return (f"models/{word}/1",)


@dsl.pipeline
def deliver(word: str):
    ended = notify(pipeline_name="deliver", run_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER)
    with dsl.ExitHandler(ended):
        seen = look(word=word)
        with dsl.If(seen.output == "good"):
            publish(word=seen.output)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("good", "SUCCEEDED: published models/good/1"),
        ("dull", "SUCCEEDED: nothing was published, since a condition was false"),
        ("bad", "FAILED in look: row 7 has no fare: add it."),
    ],
)
def test_it_tells_what_was_published_and_why_a_task_failed(tmp_path, word, said, monkeypatch):
    monkeypatch.delenv("EDGELINE_WEBHOOK", raising=False)
    result = run(deliver, {"word": word}, tmp_path, False, lambda _: None)
    assert result.tasks["notify"].state == "succeeded"
    (written,) = tmp_path.rglob("outcome.json")
    outcome = json.loads(written.read_text())
    assert outcome["text"].startswith("Pipeline deliver (")
    assert outcome["text"].endswith(f"): {said}")
