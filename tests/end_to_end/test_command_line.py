"""Failures of a run in one sentence. Wrong usage: see tests/test_cli.py."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

from command import Finished, edgeline

TAXI = Path(__file__).parents[2] / "pipelines" / "taxi" / "taxi.csv"
FAILED = 1


def test_components_lists_all_and_names_the_next_command(tmp_path: Path) -> None:
    done = edgeline(tmp_path, "components")
    assert done.code == 0, done.output
    for word in ("ingest", "transform", "verify", "edgeline components NAME"):
        assert word in done.output


def test_bad_data_fails_with_the_row(tmp_path: Path) -> None:
    with open(TAXI) as source:
        head, first, second, *others = itertools.islice(source, 100)
    ragged = [head, first, f"{second.rstrip()},5\n", *others]
    (tmp_path / "ragged.csv").write_text("".join(ragged))
    done = edgeline(tmp_path, "run", "taxi", "--set", "data=ragged.csv")
    assert done.code == FAILED
    assert "Task ingest failed" in done.output
    assert "row 3" in " ".join(done.output.split())
    assert "Traceback" not in done.output


def test_an_unblessed_model_is_not_published(taxi: Finished, tmp_path: Path) -> None:
    threshold = (
        '{"metrics_specs": [{"metrics": [{"class_name": "AUC", "threshold": '
        '{"value_threshold": {"lower_bound": 0.999}}}]}]}'
    )
    models = tmp_path / "models"
    done = edgeline(
        taxi.folder,
        *("run", "taxi", "--cache", "--set", f"eval_config={threshold}"),
        *("--set", f"destination={models}"),
    )
    assert done.code == FAILED
    assert done.record["tasks"]["analyze"]["outputs"]["blessed"] is False
    assert re.search(
        r"analyze: auc of all rows is 0\.\d+, below the lower bound 0\.999", done.output
    )
    assert {done.record["tasks"][task]["state"] for task in ("convert", "publish")} == {"skipped"}
    assert done.record["tasks"]["notify"]["state"] == "succeeded"
    assert not list(models.glob("**/manifest.json"))
