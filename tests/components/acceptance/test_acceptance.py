"""The host app's own tests against a real server of the candidate, and what publish makes of it."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from edgeline import artifacts
from edgeline.artifacts import bundle as bundles
from edgeline.components.acceptance.acceptance import acceptance as work
from edgeline.components.publish.publish import publish
from edgeline.errors import EdgelineError
from edgeline.runtimes.interpreter import load

MIXED = Path(__file__).parents[2] / "data" / "mixed.tflite"
APP = """\
import json, os, sys, urllib.request
assert "EDGELINE_KEY_PASSPHRASE" not in os.environ
row = {"instances": [{"amount": [1, 2], "count": [1], "name": ["a"]}]}
place = f"{os.environ['EDGELINE_URL']}/v1/models/{os.environ['EDGELINE_MODEL']}:predict"
data = json.dumps(row).encode()
request = urllib.request.Request(place, data, {"Content-Type": "application/json"})
with urllib.request.urlopen(request) as answer:
    [found] = json.load(answer)["predictions"]
print("the app got", found["score"])
sys.exit(0 if found["score"] == [float(sys.argv[1])] else "this is not what the app needs")
"""


@pytest.fixture
def candidate(tmp_path: Path) -> dict[str, str]:
    """Arguments of acceptance and publish: a real edge model, approved."""
    signature = load(MIXED).signature
    with artifacts.writing(tmp_path / "edge", "edge_model/v1") as draft:
        (draft.path / "model.tflite").write_bytes(MIXED.read_bytes())
        (draft.path / "signature.json").write_text(json.dumps(signature.to_json()))
        draft.metadata |= {
            "features": [
                {"name": t.name, "dtype": t.dtype, "shape": list(t.shape[1:])}
                for t in signature.inputs
            ],
            "task": "regression",
            "quantisation": "float",
            "takes": "raw",
        }
    digest = artifacts.read(tmp_path / "edge", "edge_model/v1").digest
    with artifacts.writing(tmp_path / "verification", "verification/v1") as draft:
        draft.metadata |= {"approved": True, "edge_model_digest": digest}
    with artifacts.writing(tmp_path / "evaluation", "evaluation/v1") as draft:
        draft.metadata |= {"blessed": True, "metrics": {}}
    return {
        "edge_model_path": str(tmp_path / "edge"),
        "verification_path": str(tmp_path / "verification"),
        "evaluation_path": str(tmp_path / "evaluation"),
        "name": "mixed",
    }


@pytest.fixture
def accept(candidate, tmp_path, monkeypatch):
    monkeypatch.setenv("EDGELINE_KEY_PASSPHRASE", "correct-horse")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "app.py").write_text(APP)

    def run(*command: str, **given: Any) -> dict[str, Any]:
        return work(
            **{"files": str(tmp_path / "tests"), **candidate, **given},
            acceptance_path=tmp_path / "acceptance",
            acceptance_report_path=tmp_path / "report.html",
            command=shlex.join([sys.executable, *command]),
        )

    return run


def test_what_the_app_s_tests_accept_is_published_with_their_verdict(
    accept, candidate, tmp_path
) -> None:
    told = accept("app.py", "7")
    assert (told["accepted"], told["exit_code"], told["reason"]) == (True, 0, "")
    assert "the app got [7.0]" in (tmp_path / "report.html").read_text()
    published = publish(
        **candidate,
        acceptance_path=tmp_path / "acceptance",
        bundle_path=tmp_path / "bundle",
        destination=str(tmp_path / "store"),
    )
    kept = bundles.read(Path(published.uri)).provenance["acceptance"]
    assert kept == {
        "command": f"{sys.executable} app.py 7",
        "exit_code": 0,
        "files_digest": told["files_digest"],
    }


def test_what_they_refuse_is_not_published_in_one_sentence(accept, candidate, tmp_path) -> None:
    told = accept("app.py", "8")
    assert not told["accepted"]
    assert told["reason"].endswith("ended with exit code 1: this is not what the app needs")
    with pytest.raises(EdgelineError, match=r"the host app's tests do not accept it: .*app needs"):
        publish(
            **candidate,
            acceptance_path=tmp_path / "acceptance",
            bundle_path=tmp_path / "bundle",
            destination=str(tmp_path / "store"),
        )
    assert not (tmp_path / "store").exists()


def test_the_verdict_on_another_model_publishes_nothing(accept, candidate, tmp_path) -> None:
    accept("app.py", "7")
    facts = tmp_path / "edge" / "artifact.json"
    told = json.loads(facts.read_text())
    told["metadata"]["because"] = "another"
    facts.write_text(json.dumps(told))
    digest = artifacts.read(tmp_path / "edge", "edge_model/v1").digest
    with artifacts.writing(tmp_path / "verification", "verification/v1") as draft:
        draft.metadata |= {"approved": True, "edge_model_digest": digest}
    with pytest.raises(EdgelineError, match="tested another: connect the acceptance of this one"):
        publish(
            **candidate,
            acceptance_path=tmp_path / "acceptance",
            bundle_path=tmp_path / "bundle",
            destination=str(tmp_path / "store"),
        )


def test_a_command_that_does_not_end_is_ended_with_all_that_it_started(accept, tmp_path) -> None:
    pid = tmp_path / "pid"
    started = "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']).pid"
    keep = f"import pathlib; pathlib.Path({str(pid)!r}).write_text(str({started}))"
    told = accept("-c", f"import subprocess, sys, time; {keep}; time.sleep(600)", time_limit=5.0)
    assert (told["accepted"], told["exit_code"]) == (False, None)
    assert told["reason"].endswith("did not end within 5 s.")
    state = Path(f"/proc/{pid.read_text()}/stat")
    assert not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z"


def test_a_command_that_ends_the_server_is_no_success(accept) -> None:
    """By the parent of the command and of the server: the task's own process."""
    kill = (
        "import os, pathlib, signal\n"
        "for place in pathlib.Path('/proc').glob('[0-9]*/stat'):\n"
        "    name = place.parent.name\n"
        "    try: parent = place.read_text().rpartition(')')[2].split()[1]\n"
        "    except OSError: continue\n"
        "    if int(parent) == os.getppid() and int(name) != os.getpid():\n"
        "        words = (place.parent / 'cmdline').read_bytes()\n"
        "        if b'edgeline.server' in words: os.kill(int(name), signal.SIGKILL)\n"
    )
    told = accept("-c", kill)
    assert not told["accepted"] and "was not well any more" in told["reason"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"command": " "}, "command is empty: give a program and its arguments"),
        ({"command": "app 'quoted"}, r"\(No closing quotation\): correct its quotes"),
        (
            {"command": "no-such-program"},
            "'no-such-program' cannot be run .* in the task's image",
        ),
        ({"files": "nowhere"}, "files names nowhere, which is not a file or folder"),
        ({"time_limit": 0}, "time_limit is 0: give seconds above 0"),
    ],
)
def test_what_cannot_be_run_is_refused(candidate, tmp_path, given, said) -> None:
    with pytest.raises(EdgelineError, match=said):
        work(
            **{"command": "true", **candidate, **given},
            acceptance_path=tmp_path / "acceptance",
            acceptance_report_path=tmp_path / "report.html",
        )
    assert not (tmp_path / "acceptance").exists()


def test_a_server_that_hangs_before_it_is_ready_does_not_hang_the_task(
    accept, tmp_path, monkeypatch
) -> None:
    hangs = tmp_path / "hangs"
    hangs.write_text("#!/bin/sh\necho loading >&2\nexec sleep 600\n")
    hangs.chmod(0o755)
    monkeypatch.setattr("edgeline.components.acceptance.acceptance.STARTING", 0.5)
    monkeypatch.setattr(sys, "executable", str(hangs))
    with pytest.raises(EdgelineError, match=r"was not ready within 0\.5 s \(loading\): see"):
        accept("app.py", "7")
