"""Exit codes and sentences of the command line."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from command import edgeline

TAXI = Path(__file__).parents[2] / "pipelines" / "taxi" / "taxi.csv"
USAGE, FAILED = 2, 1


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (
            ["run", "taxy"],
            FAILED,
            "There is no pipeline 'taxy': name one of digits, pretrained, tabular, taxi, vision",
        ),
        (["run", "tabular"], USAGE, "Set data, destination, label, model_name, module"),
        (["run", "taxi", "--set", "step=5"], USAGE, "Did you mean steps?"),
        (["run", "taxi", "--set", "steps=many"], USAGE, "'many' is not a whole number"),
        (["run", "taxi", "--set", "steps"], USAGE, "write it as NAME=VALUE"),
        (["run", "taxi", "--set", "model_name=Taxi 1"], FAILED, "'Taxi 1' is impossible: use"),
        (["run", "taxi", "--set", "data=nowhere.csv"], FAILED, "nowhere.csv"),
        (["run", "taxi", "--module", "nowhere.py"], FAILED, "nowhere.py"),
        (["run", "broken.yaml"], FAILED, "broken.yaml is no compiled pipeline"),
        (["components", "ingst"], FAILED, "There is no component 'ingst'"),
        (["verify", "nowhere"], FAILED, "is not a bundle"),
        (["frobnicate"], USAGE, "No such command"),
        (["run"], USAGE, "Missing argument"),
    ],
)
def test_wrong_use_is_one_sentence(
    tmp_path: Path, arguments: list[str], code: int, sentence: str
) -> None:
    (tmp_path / "broken.yaml").write_text("a: [1\n")
    done = edgeline(tmp_path, *arguments)
    assert done.code == code, done.output
    assert sentence in " ".join(done.output.split())
    assert "Traceback" not in done.output


def test_components_lists_inputs_and_outputs(tmp_path: Path) -> None:
    done = edgeline(tmp_path, "components")
    assert done.code == 0, done.output
    for word in ("ingest", "transform_graph", "edge_model", "verification", "taxi"):
        assert word in done.output


def test_bad_data_fails_with_the_row(tmp_path: Path) -> None:
    (tmp_path / "ragged.csv").write_text("a,b\n1,2\n3,4,5\n")
    done = edgeline(tmp_path, "run", "taxi", "--set", "data=ragged.csv")
    assert done.code == FAILED
    assert "Task ingest failed" in done.output
    assert "row 3" in " ".join(done.output.split())
    assert "Traceback" not in done.output


def test_an_unblessed_model_is_not_published(tmp_path: Path) -> None:
    threshold = (
        '{"metrics_specs": [{"metrics": [{"class_name": "AUC", "threshold": '
        '{"value_threshold": {"lower_bound": 0.999}}}]}]}'
    )
    with open(TAXI) as source:
        (tmp_path / "some.csv").write_text("".join(itertools.islice(source, 1500)))
    done = edgeline(
        tmp_path,
        *("run", "taxi", "--set", f"eval_config={threshold}"),
        *("--set", "data=some.csv", "--set", "steps=40"),
    )
    assert done.code == FAILED
    assert done.record["tasks"]["analyze"]["outputs"]["blessed"] is False
    assert {done.record["tasks"][task]["state"] for task in ("convert", "publish")} == {"skipped"}
    assert done.record["tasks"]["notify"]["state"] == "succeeded"
    assert not list((tmp_path / "edgeline-models").glob("**/manifest.json"))
