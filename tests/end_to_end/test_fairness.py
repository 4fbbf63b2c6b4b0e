"""The guide on fairness as it is shown: thresholds by group in a bundle, who decides by them."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from command import Finished, edgeline

from edgeline.artifacts import bundle

GUIDE = (Path(__file__).parents[2] / "docs" / "fairness.md").read_text("utf-8")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    [command] = re.findall(r"```sh\nedgeline (.*)\n```", GUIDE)
    return edgeline(tmp_path_factory.mktemp("fairness"), *shlex.split(command))


def test_the_run_publishes_thresholds_by_group(run: Finished) -> None:
    assert run.code == 0, run.output
    assert "decide by one threshold" in run.output or "decide by one threshold" in _validation(run)
    kept = bundle.read(run.folder / "edgeline-models/taxi/1").evaluation
    assert kept["group_thresholds"]["column"] == "dropoff_community_area"
    told = json.loads((_evaluation(run) / "fairness.json").read_text())
    before, after = (
        side["classes"][""]["differences"]["equalised_odds_difference"] for side in told["sides"]
    )
    assert before["lower"] > 0  # more than chance between so many groups
    assert after["value"] < 0.7 * before["value"]
    assert run.record["tasks"]["analyze"]["outputs"]["evaluation_metrics"]["metadata"][
        "equalised_odds_difference"
    ] == pytest.approx(after["value"])


def test_the_guides_program_decides_by_them(run: Finished, tmp_path: Path) -> None:
    [program] = re.findall(r'```python\n("""decide\.py.*?)```', GUIDE, re.DOTALL)
    (tmp_path / "decide.py").write_text(program)
    command = [sys.executable, "decide.py", str(run.folder / "edgeline-models/taxi/1")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "[False, True]\n"


def _evaluation(run: Finished) -> Path:
    place = run.record["tasks"]["analyze"]["outputs"]["evaluation"]["uri"]
    return Path(place.removeprefix("file://"))


def _validation(run: Finished) -> str:
    return (_evaluation(run) / "validation.json").read_text()
