"""Beam's workers beside one process: `python benchmarks/beam_workers.py`.

transform of the taxi data ten times, 150,020 rows, and analyze of its 15,002 rows:

- in the task's process, without Beam;
- on Prism, whose worker process sees nothing of the task's disk: all that it reads and writes is in
  MinIO;
- the same, and the worker is killed when it has done a third of its slices, or once it is there;
- by two processes of Beam's own runner on this machine.

Compared is what they give: the same vocabularies, numbers and metrics to six digits, each row once.
Seconds are those of the work in a process that has imported everything; a worker begins with its
own imports. tests/components/beam builds Prism, tests/build_s3_server.sh MinIO.
"""

from __future__ import annotations

import json
import math
import os
import secrets
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from environment import undistorted
from rich.console import Console
from rich.table import Table
from rows_150k import write_rows

HERE = Path(__file__).resolve().parent
TESTS = HERE.parent / "tests" / "components"
sys.path += [str(TESTS / "beam"), str(TESTS / "publish")]
RESULTS = HERE / "results" / "beam_workers.json"
MODULE = "edgeline.pipelines.taxi.module"
PROCESSES = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]
SLICES = {"slicing_specs": [{}, {"feature_keys": ["payment_type"]}]}


def main() -> None:
    undistorted()
    with tempfile.TemporaryDirectory(prefix="edgeline-benchmark-") as name:
        summary = compare(Path(name))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(summary, indent=1) + "\n")
    show(summary)


def compare(folder: Path) -> dict[str, Any]:
    """Seconds of each way, and what differs from the task's process; rows of each."""
    import tensorflow_model_analysis  # noqa: F401  # else the first way pays for it
    import tensorflow_transform.beam  # noqa: F401
    from portable import running
    from s3_server import built, ready, start, stop

    hidden = folder / "tasks"
    hidden.mkdir()
    large, small, model = prepare(hidden)
    (folder / "s3").mkdir()
    server, s3 = start(built(), folder / "s3", (secrets.token_hex(8), secrets.token_hex(16)))
    os.environ.update(s3.environment)
    try:
        if not ready(server, s3):
            sys.exit("MinIO did not start.")
        with running(folder / "portable", hidden, s3.environment) as portable:
            load = os.getloadavg()[0]
            ways: dict[str, tuple[list[str], Callable[[], object] | None]] = {
                "here": ([], None),
                "workers": (portable.options, None),
                "killed": (portable.options, lambda: _third(s3)),
                "processes": (PROCESSES, None),
            }
            transformed = {}
            for way, (options, when) in ways.items():
                with _killing(portable, when):
                    transformed[way] = _transform(large, hidden / way, options)
            ways["killed"] = portable.options, portable.workers
            analyzed = {}
            for way, (options, when) in ways.items():
                with _killing(portable, when):
                    analyzed[way] = _analyze(small, model, hidden / way, options)
            left = [each.object_name for each in s3.client.list_objects("bundles", recursive=True)]
    finally:
        stop(server)
    return {
        "cores": os.cpu_count(),
        "load": round(load, 1),
        "transform": {way: step["seconds"] for way, step in transformed.items()},
        "analyze": {way: step["seconds"] for way, step in analyzed.items()},
        "rows": {
            "transform": {way: step["rows"] for way, step in transformed.items()},
            "analyze": {way: step["rows"] for way, step in analyzed.items()},
        },
        "problems": [
            *_problems("transform", transformed),
            *_problems("analyze", analyzed),
            *(f"{name} was left in the store." for name in left),
        ],
    }


def prepare(folder: Path) -> tuple[Path, Path, Path]:
    """Examples of 150,020 rows and of 15,002, and a model of a short training."""
    from kfp import dsl

    from edgeline.components.ingest.ingest import ingest
    from edgeline.components.train.component import train
    from edgeline.components.validate.validate import validate

    given = write_rows(folder / "trips.csv")
    taxi = HERE.parent / "pipelines" / "taxi" / "taxi.csv"
    ingest([str(folder / "trips.csv")], folder / "large" / "examples")
    ingest([str(taxi)], folder / "small" / "examples", split_ratios={"eval": 1.0})
    names = ("statistics", "schema", "anomalies", "validation.html")
    outputs = [str(folder / "large" / name) for name in names]
    validate(
        str(folder / "large" / "examples"),
        outputs[0],
        outputs[1],
        outputs[2],
        outputs[3],
        on_anomalies="flag",
    )
    first = _transform(folder / "large", folder / "first", [])
    if sum(first["rows"].values()) != given:
        sys.exit(f"transform has {first['rows']} of {given} rows.")
    train.python_func(
        transformed_examples=dsl.Dataset(uri=str(folder / "first" / "transformed")),
        transform_graph=dsl.Artifact(uri=str(folder / "first" / "graph")),
        module=MODULE,
        label="big_tip",
        model=dsl.Model(uri=str(folder / "model")),
        training_metrics=dsl.Metrics(uri=str(folder / "metrics")),
        training_report=dsl.HTML(uri=str(folder / "train.html")),
        steps=200,
    )
    return folder / "large", folder / "small", folder / "model"


def _transform(data: Path, folder: Path, options: list[str]) -> dict[str, Any]:
    import pyarrow.parquet as pq

    from edgeline.components.transform.transform import transform

    folder.mkdir(exist_ok=True)
    begun = time.perf_counter()
    _, made = transform(
        str(data / "examples"),
        str(data / "schema"),
        MODULE,
        str(folder / "graph"),
        str(folder / "transformed"),
        str(folder / "transform.html"),
        beam_options=options,
        transformed_examples_uri=f"s3://bundles/{folder.name}/transformed",
    )
    seconds = time.perf_counter() - begun
    assets = sorted((folder / "graph" / "transform_fn" / "assets").iterdir())
    splits: Any = made["splits"]
    values = {}
    for split in splits:
        table = pq.read_table(folder / "transformed" / split)
        for name in table.column_names:
            values[f"{split}.{name}"] = table[name].to_numpy().tolist()
    return {
        "seconds": round(seconds, 1),
        "rows": {split: found["rows"] for split, found in splits.items()},
        "exact": {file.name: file.read_bytes().decode() for file in assets},
        "close": values,
    }


def _analyze(data: Path, model: Path, folder: Path, options: list[str]) -> dict[str, Any]:
    from edgeline.components.analyze.analyze import analyze

    begun = time.perf_counter()
    made = analyze(
        str(data / "examples"),
        str(model),
        str(folder / "evaluation"),
        str(folder / "analyze.html"),
        SLICES,
        beam_options=options,
        confidence_intervals=False,
        evaluation_uri=f"s3://bundles/{folder.name}/evaluation",
    )
    seconds = time.perf_counter() - begun
    slices = json.loads((folder / "evaluation" / "metrics.json").read_text())["slices"]
    return {
        "seconds": round(seconds, 1),
        "rows": {"eval": made.metadata["rows"]},
        "exact": {"slices": str(sorted(str(each["slice"]) for each in slices))},
        "close": {
            f"{each['slice']}.{name}": [value]
            for each in slices
            for name, value in each["metrics"].items()
            if isinstance(value, (int, float))
        },
    }


def _problems(step: str, ways: dict[str, dict[str, Any]]) -> Iterator[str]:
    alone = ways["here"]
    for way, found in ways.items():
        for kind in ("rows", "exact"):
            if found[kind] != alone[kind]:
                yield f"{step} ({way}) has other {kind}: {found[kind]}, not {alone[kind]}."
        if found["close"].keys() != alone["close"].keys():
            yield f"{step} ({way}) has other columns or metrics."
            continue
        for name, values in alone["close"].items():
            pairs = zip(found["close"][name], values, strict=True)
            if not all(_close(one, other) for one, other in pairs):
                yield f"{step} ({way}): {name} differs in its first six digits."


def _close(one: Any, other: Any) -> bool:
    if not isinstance(one, float):
        return bool(one == other)
    both_missing = math.isnan(one) and math.isnan(other)
    return both_missing or math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-6)


def _third(s3: Any) -> bool:
    """Whether a third of the slices is transformed."""
    made = [
        each.object_name
        for each in s3.client.list_objects("bundles", prefix="killed/", recursive=True)
        if "/made/transformed/" in each.object_name
    ]
    return len(made) >= 7


@contextmanager
def _killing(portable: Any, when: Callable[[], object] | None) -> Iterator[None]:
    """Kills the workers once, when something is so, while the block runs."""
    ended = threading.Event()

    def kill() -> None:
        while when and not ended.wait(0.05):
            if when():
                for process in portable.workers():
                    os.kill(process, signal.SIGKILL)
                return

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def show(summary: dict[str, Any]) -> None:
    """Print the table; stop with an error where rows are lost or something differs."""
    console = Console()
    console.width = max(console.width, 100)
    title = f"seconds, {summary['cores']} cores, load {summary['load']:.1f}"
    table = Table(title=title, title_justify="left")
    told = {
        "here": "in the task's process",
        "workers": "a worker of Prism",
        "killed": "the same, killed once",
        "processes": "two processes of Beam's own",
    }
    table.add_column("")
    for step in ("transform", "analyze"):
        rows = sum(summary["rows"][step]["here"].values())
        table.add_column(f"{step}, {rows:,} rows", justify="right")
    for way, words in told.items():
        table.add_row(words, f"{summary['transform'][way]:.1f}", f"{summary['analyze'][way]:.1f}")
    console.print(table)
    if summary["problems"]:
        sys.exit("\n".join(summary["problems"]))


if __name__ == "__main__":
    main()
