"""`edgeline init` on public tables: `python benchmarks/init_tables.py [TABLE ...]`.

Of each table a project is made with nothing but the label's name, and run without an edit, from
the file to a published bundle. The referee is scikit-learn's logistic or linear regression, with
the same columns, on the rows of the run's own splits. A table fails where no bundle is published,
or where the model is worse than the referee by more than `WITHIN`, of classes a share or an AUC, of
numbers a share of the RMSE, and by more than chance: the 95 % interval of the difference, by a
paired bootstrap of the rows, ends below 0. All differences are in results/init_tables.json, small
ones, too.

The referee gets an environment of its own below EDGELINE_BENCH_CACHE (by default
~/.cache/edgeline-benchmarks), whose packages ship the tables.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from environment import undistorted
from pyarrow import csv
from records import facts, path_of

import edgeline
from edgeline import artifacts
from edgeline.artifacts import examples

HERE = Path(__file__).resolve().parent
TABLES = HERE / "public_tables"
RESULTS = HERE / "results" / "init_tables.json"
EDGELINE = Path(sys.executable).with_name("edgeline")
WITHIN = 0.01  # one row in a hundred
LABELS = {
    "iris": "species",
    "penguins": "species",
    "breast-cancer": "diagnosis",
    "carseats": "Sales",
    "auto": "mpg",
    "orange-juice": "Purchase",
    "anes96": "vote",
    "wine": "cultivar",
    "credit": "Balance",
    "phishing": "is_phishing",
    "default": "default",
    "diabetes": "progression",
    "wage": "wage",
    "college": "Private",
    "modechoice": "choice",
    "engel": "foodexp",
    "cancer": "cancer",
    "rossi": "arrest",
    "digits": "digit",
    "fair": "affairs",
    "randhie": "mdvis",
    "caravan": "Purchase",
}
OURS = {"auc": "auc_tfma", "accuracy": "accuracy", "rmse": "root_mean_squared_error"}


def main(chosen: Sequence[str]) -> int:
    if unknown := [name for name in chosen if name not in LABELS]:
        sys.exit(f"There is no table {unknown[0]!r}, only {', '.join(LABELS)}.")
    referee = environment()
    again = bool(chosen) and RESULTS.exists()
    tables: dict[str, Any] = json.loads(RESULTS.read_text())["tables"] if again else {}
    with tempfile.TemporaryDirectory(prefix="edgeline-benchmark-") as folder:
        work = Path(folder)
        subprocess.run([referee, TABLES / "export.py", work / "tables"], check=True)
        for name in chosen or LABELS:
            tables[name] = measured(name, work, referee)
            print(f"{name}: {tables[name]}", flush=True)
            # after each table: what is known stays when a later one is stopped
            failed = [name for name, each in tables.items() if not each["passed"]]
            summary = {"within": WITHIN, "failed": failed, "tables": tables}
            RESULTS.write_text(json.dumps(summary, indent=1) + "\n")
    return int(bool(failed))


def environment() -> Path:
    """The interpreter of the referee's environment, which is made where it is missing."""
    default = Path.home() / ".cache" / "edgeline-benchmarks"
    folder = Path(os.environ.get("EDGELINE_BENCH_CACHE", default)) / "init-tables"
    interpreter = folder / "bin" / "python"
    if not (folder / "ready").exists():
        print(f"Making the referee's environment in {folder}.", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        # --no-deps: the list is complete, and of ISLP or river only the tables are taken
        pip: list[str | Path] = [interpreter, "-m", "pip", "install", "--quiet", "--no-deps"]
        subprocess.run([*pip, "-r", TABLES / "requirements.txt"], check=True)
        (folder / "ready").touch()
    return interpreter


def measured(name: str, work: Path, referee: Path) -> dict[str, Any]:
    """One table: what init said, how long the run took, and both sides' metrics."""
    label = LABELS[name]
    data = work / "tables" / f"{name}.csv"
    init: list[str | Path] = [EDGELINE, "init", name, "--data", data, "--label", label]
    said = subprocess.run(init, cwd=work, capture_output=True, text=True)
    if said.returncode:
        return {"passed": False, "why": said.stderr.strip()}
    started = time.monotonic()
    run = subprocess.run(
        [EDGELINE, "run", "pipeline.py"], cwd=work / name, capture_output=True, text=True
    )
    found: dict[str, Any] = {
        "passed": False,
        "seconds": round(time.monotonic() - started, 1),
        "said": [line for line in said.stdout.splitlines() if not line.startswith("Created")],
    }
    if run.returncode or not (work / name / "models" / name / "1").is_dir():
        return {**found, "why": (run.stderr or run.stdout).strip()[-500:]}
    [record] = (work / name / "edgeline-runs").glob("*/run.json")
    tasks = json.loads(record.read_text())["tasks"]
    theirs = judged(referee, work / name, label, tasks)
    lead = theirs.pop("lead")
    metrics = facts(tasks["analyze"]["outputs"]["evaluation"])["metrics"]
    ours = {key: metrics[OURS[key]] for key in theirs}
    headline = "auc" if "auc" in theirs else next(iter(theirs))
    gain = ours[headline] - theirs[headline]
    gain = -gain / theirs["rmse"] if headline == "rmse" else gain
    return {
        **found,
        "passed": gain >= -WITHIN or lead[1] >= 0,
        "rows": tasks["analyze"]["outputs"]["evaluation_metrics"]["metadata"]["example_count"],
        "edgeline": ours,
        "scikit-learn": theirs,
        "better_by": round(gain, 5),
        "better_by_interval": lead,
    }


def judged(
    referee: Path, project: Path, label: str, tasks: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """The referee's metrics on the rows and columns of a run, and our lead over it."""
    module: dict[str, Any] = {}
    exec((project / "module.py").read_text(), module)
    numbers = [*module["NUMBERS"], *module.get("WHOLE_NUMBERS", ())]
    taken = {"numbers": numbers, "words": module["WORDS"], "positive": module.get("POSITIVE")}
    (project / "columns.json").write_text(json.dumps(taken))
    read = artifacts.read(path_of(tasks["ingest"]["outputs"]["examples"]), examples.SCHEMA)
    for split in ("train", "eval"):
        table = pa.Table.from_batches(list(examples.read_batches(read, split)))
        csv.write_csv(table.select([*numbers, *module["WORDS"], label]), project / f"{split}.csv")
    answers = answered(project / "models" / project.name / "1", table)
    csv.write_csv(pa.table({"answer": answers}), project / "answers.csv")
    task = "regression" if "MEAN" in module else "classification"
    given = (task, label, "columns.json", "train.csv", "eval.csv", "answers.csv")
    answer = subprocess.run(
        [referee, TABLES / "referee.py", *given], cwd=project, capture_output=True, text=True
    )
    if answer.returncode:
        sys.exit(answer.stderr)
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


def answered(bundle: Path, table: pa.Table) -> list[Any]:
    """What the published model answers to rows: the score of a yes, a number or a class."""
    with edgeline.load(bundle) as model:
        [output] = model.predict(table.select([each.name for each in model.inputs])).values()
        labels = model.labels
    if output.shape[1] == 1:
        return [float(each) for each in output[:, 0]]
    numbers = [int(each) for each in output.argmax(1)]
    return [labels[number] for number in numbers] if labels else numbers


if __name__ == "__main__":
    undistorted()
    sys.exit(main(sys.argv[1:]))
