"""Runs side by side: what differs comes first, then what they found."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

pytestmark = pytest.mark.usefixtures("three")

PLAN = {
    "needs": [], "gates": [], "condition": "", "exit_handler": False, "loop": "", "choices": [],
    "title": "",
}  # fmt: skip
BROWSER = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


def task(name: str, seconds: float, outputs: dict[str, Any], **digests: str) -> dict[str, Any]:
    return {
        "state": "succeeded", "began": "2026-01-01T00:00:00Z", "seconds": seconds,
        "cpu_seconds": seconds, "peak_memory": 10**8, "error": "", "again": "", "log": None,
        "outputs": outputs, "digests": digests, "plan": {"name": name, "component": name, **PLAN},
    }  # fmt: skip


def measured(value: float, half: float | None = 0.01) -> dict[str, float]:
    bounds = {} if half is None else {"lower": value - half, "upper": value + half}
    return {"value": value, **bounds}


def kept_run(
    root: Path, name: str, steps: int, auc: float, cash: float, rides: str = "ab", **more: Any
) -> Path:
    """A run's folder as one leaves it, with an evaluation of three slices."""
    folder = root / name
    evaluation = folder / "evaluation"
    evaluation.mkdir(parents=True)
    slices = [
        {"slice": {}, "name": "Overall", "metrics": {"auc": measured(auc), "example_count": {
            "value": 100.0}, "matrix": {"value": {"a": 1}}}},
        {"slice": {"pay": "Cash"}, "name": "pay: Cash",
         "metrics": {"fairness_indicators_metrics/recall@0.5": measured(cash * cash),
                     "auc": measured(cash), "example_count": {"value": 40.0}}},
        {"slice": {"pay": "Card"}, "name": "pay: Card", "metrics": {"auc": measured(auc + 0.001)}},
        {"slice": {"pay": name}, "name": f"pay: {name}", "metrics": {"auc": measured(0.5, None)}},
    ]  # fmt: skip
    (evaluation / "metrics.json").write_text(json.dumps({"slices": slices}))
    (folder / "model").mkdir()
    history = {"loss": [0.5, 0.4], "val_loss": [0.6, 0.45 - auc / 10]}
    (folder / "model" / "history.json").write_text(json.dumps(history))
    trained = {"uri": str(folder / "model"), "metadata": {"edgeline_schema": "model/v1"}}
    told = {"uri": str(evaluation), "metadata": {"edgeline_schema": "evaluation/v1"}}
    numbers = {"latency_p99_ms": 0.25 * steps / 100, "edge_auc": auc}
    record = {
        "schema": "run/v1", "pipeline": "taxi", "source": "taxi", "folder": "/", "error": "",
        "started": f"2026-01-01T00:0{len(list(root.iterdir()))}:00Z", "seconds": 12.5,
        "cache": False, "docker": False, "given": {}, "left_out": [], "ended": None,
        "state": "succeeded", "attempts": [{"started": "2026-01-01T00:00:00Z"}],
        "parameters": {
            "data": f"rides.csv#sha256={rides * 32}", "model_name": "taxi",
            "with_training": {"steps": steps, "seed": 1},
        },
        "pins": {}, "pipeline_digest": "ab" * 32, "edgeline": "0.1.0", "code": "cd" * 8,
        "packages": {"numpy": "2.0", "ruff": str(steps)},
        "host": {
            "name": "box", "system": "Linux", "machine": "x86_64", "cpus": 2,
            "memory": 8_000_000_000, "python": "3.11.7",
        },
        "tasks": {
            "ingest": task("ingest", 1.0, {}, examples=rides),
            "train": task("train", 4.0, {"model": trained}),
            "analyze": task("analyze", 5.0, {"evaluation": told}),
            "convert": task("convert", 2.0, {"conversion_metrics": {
                "uri": "gone", "metadata": {"size_bytes": 1000 + steps}}}),
            "verify": task("verify", 3.0, {"verification_metrics": {
                "uri": "gone", "metadata": numbers}}),
        },
        **more,
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps(record))
    return folder


@pytest.fixture
def three(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "edgeline-runs"
    root.mkdir()
    kept_run(root, "taxi-1", 100, 0.90, 0.80)
    kept_run(root, "taxi-2", 300, 0.905, 0.85)
    kept_run(root, "taxi-3", 300, 0.95, 0.80, rides="cd", packages={"numpy": "2.1"})
    return ["taxi-1", "taxi-2", "taxi-3"]


def edgeline(*arguments: str) -> str:
    from edgeline.cli.main import cli

    wide = {"COLUMNS": "250"}
    done = CliRunner().invoke(
        cli, ["runs", "compare", *arguments], env=wide, catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    return done.output


def test_what_differs_is_said_first_and_then_what_moved():
    said = edgeline("taxi-1", "taxi-2")
    first, *_ = re.split(r"\n\n", said)
    assert "Parameters that differ\n3 others are the same." in first
    assert re.search(r"training\.steps +100 +300", first)
    assert "ruff" not in said and "What else differs" not in said
    text = " ".join(said.split())
    assert "analyze: auc 0.9 (0.89 to 0.91) 0.905 (0.895 to 0.915) +0.005 no" in text
    assert "All were evaluated on the same examples." in text
    slices = text.partition("Slices that moved")[2]
    assert "pay: Cash: auc 0.8 (0.79 to 0.81) 0.85 (0.84 to 0.86) +0.05 yes" in slices
    assert slices.index("pay: Cash: auc") < slices.index("pay: Cash: fairness")
    assert slices.index("pay: Cash") < slices.index("pay: Card") < slices.index("pay: taxi-1")
    assert "pay: taxi-2: auc – 0.5 – –" in slices
    assert "convert: size_bytes 1.1 kB 1.3 kB +200 B" in text
    assert "verify: latency_p99_ms 0.25 0.75 +0.5" in text
    assert "example_count" not in slices


def test_json_has_all_of_it(three):
    told = json.loads(edgeline("taxi-1", "taxi-2", "taxi-3", "--json"))
    assert told["runs"] == three and told["same_rows"] is False
    assert [each["name"] for each in told["parameters"]] == ["data", "training.steps"]
    assert [each["name"] for each in told["surroundings"]] == ["package numpy"]
    [auc] = [row for row in told["metrics"] if row["task"] == "analyze" and row["name"] == "auc"]
    assert auc["values"][2] == {"value": 0.95, "lower": 0.94, "upper": 0.96}
    assert [each["slice"] for each in told["slices"][:2]] == ["pay: Cash", "pay: Card"]


def test_json_has_the_curves_of_the_training() -> None:
    [curve] = json.loads(edgeline("taxi-1", "taxi-2", "--json"))["curves"]
    assert (curve["task"], curve["name"]) == ("train", "val_loss")
    assert [each[0] for each in curve["values"]] == [0.6, 0.6]


def test_an_evaluation_that_is_gone_is_told():
    shutil.rmtree("edgeline-runs/taxi-2/evaluation")
    text = " ".join(edgeline("taxi-1", "taxi-2").split())
    assert "The evaluation of taxi-2 is gone: its metrics have no intervals" in text
    assert "verify: edge_auc 0.9 0.905 +0.005 –" in text


def test_what_cannot_be_compared_is_refused():
    from edgeline.errors import EdgelineError

    for names in ((), ("taxi-1",), ("taxi-1", "taxi-1")):
        with pytest.raises(EdgelineError, match="Name two or more different runs"):
            edgeline(*names)
    Path("edgeline-runs/taxi-2/evaluation/metrics.json").write_text('{"slices": [{}]}')
    with pytest.raises(EdgelineError, match=r"metrics\.json is damaged"):
        edgeline("taxi-1", "taxi-2")


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_is_one_file_that_fits_a_window(tmp_path, width):
    assert edgeline("taxi-1", "taxi-2", "--page", "page.html").endswith("page: page.html\n")
    page = Path("page.html").read_text()
    assert page.index("training.steps") < page.index("analyze: auc") < page.index("pay: Cash")
    assert page.count("<script") == 1  # the page's own
    assert "train: val_loss" in page and "<svg" in page
    assert not re.findall(r"""(?:src|href)=["'](?!#|data:)[^"']+|url\((?!#)""", page)
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("NO CHROMIUM: the page was not opened in a real browser")
    look = (
        "<script>document.body.dataset.over = Math.max(document.documentElement.scrollWidth - "
        f"{width}, ...[...document.querySelectorAll('.scroll')].map(box => box.scrollWidth - "
        "box.clientWidth))</script></body>"
    )
    shown = _escaped(page, look)
    (tmp_path / "frame.html").write_text(
        f'<iframe id=f style="width:{width}px;height:900px;border:0" srcdoc="{shown}"'
        "></iframe><script>f.onload = () => document.body.dataset.over = "
        "f.contentDocument.body.dataset.over</script>"
    )
    done = subprocess.run(
        [chromium, *BROWSER, f"--user-data-dir={tmp_path}/p", "--window-size=1400,1000",
         "--dump-dom", f"file://{tmp_path}/frame.html"],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    told = re.findall(r'data-over="(-?\d+)"', done.stdout)
    assert told and int(told[-1]) <= 0, done.stderr


def _escaped(page: str, look: str) -> str:
    import html

    return html.escape(re.sub(r"<meta http-equiv[^>]*>", "", page).replace("</body>", look))


def published(folder: Path, version: int, auc: float, edge_auc: float, rows: str = "ab") -> Path:
    from edgeline.artifacts import list_files
    from edgeline.artifacts.bundle import Bundle, Signature, Tensor, write_manifest

    folder.mkdir(parents=True)
    (folder / "model.tflite").write_bytes(b"x" * 1000 * version)
    tensor = Tensor("a", "float32", (-1, 1))
    made = Bundle(
        name="taxi", version=version, target="litert", model="model.tflite", task="regression",
        quantisation="float", takes="raw", signature=Signature((tensor,), (tensor,)), features=(),
        files=list_files(folder), evaluation={"metrics": {"auc": auc}, "blessed": True},
        verification={"max_difference": 0.5, "approved": True,
                      "metrics": {"auc": {"edge": edge_auc, "cloud": auc, "drop": auc - edge_auc}}},
        provenance={"pipeline": "taxi", "run": str(version), "edgeline": "0.1.0",
                    "data_digest": rows},
    )  # fmt: skip
    write_manifest(folder, made)
    return folder


def test_published_versions_are_compared_with_each_other_and_with_runs(tmp_path) -> None:
    first = published(tmp_path / "models" / "taxi" / "1", 1, 0.9, 0.89)
    second = published(tmp_path / "models" / "taxi" / "2", 2, 0.91, 0.9)
    text = " ".join(edgeline(str(first), str(second)).split())
    assert "parameter taxi-1 taxi-2 run 1 2 " in text
    assert "analyze: auc 0.9 0.91 +0.01 –" in text
    assert "verify: edge_auc 0.89 0.9 +0.01 –" in text
    assert "verify: drop" not in text and "blessed" not in text
    assert "convert: size_bytes 1.0 kB 2.0 kB +1.0 kB" in text
    assert "All were evaluated on the same examples." in text
    text = " ".join(edgeline("taxi-1", str(second)).split())
    assert "analyze: auc 0.9 (0.89 to 0.91) 0.91 +0.01 –" in text


def test_bundles_that_do_not_tell_their_rows_are_not_said_to_have_the_same(tmp_path) -> None:
    untold = [
        str(published(tmp_path / "models" / "taxi" / str(number), number, 0.9, 0.9, rows=""))
        for number in (1, 2)
    ]
    assert json.loads(edgeline(*untold, "--json"))["same_rows"] is None


@pytest.mark.usefixtures("three")
def test_of_long_values_what_differs_is_shown() -> None:
    for name, bound in (("taxi-1", 0.8), ("taxi-2", 0.9)):
        file = Path("edgeline-runs", name, "run.json")
        record = json.loads(file.read_text())
        metrics = [{"class_name": f"Metric{number}"} for number in range(30)]
        config = {"metrics_specs": [{"metrics": [*metrics, {"bound": bound}]}]}
        query = f"SELECT {'a, ' * 200}b FROM rides WHERE fare > {bound}"
        record["parameters"] |= {
            "with_evaluation": {"eval_config": config, "as_text": json.dumps(config)},
            "query": query,
        }
        file.write_text(json.dumps(record))
    text = " ".join(edgeline("taxi-1", "taxi-2").split())
    for name in ("eval_config", "as_text"):
        assert f"evaluation.{name}.metrics_specs[0].metrics[30].bound 0.8 0.9" in text
    from edgeline.local.parameters import shown_beside

    told = json.loads(edgeline("taxi-1", "taxi-2", "--json"))
    [values] = [each["values"] for each in told["parameters"] if each["name"] == "query"]
    beside = shown_beside(values)
    assert [each[-10:] for each in beside] == ["fare > 0.8", "fare > 0.9"]
    assert len(beside[0]) < 100
