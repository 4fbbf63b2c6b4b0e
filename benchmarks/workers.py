"""Training by several workers beside one, on this machine: `python benchmarks/workers.py`.

A network of dense layers on 20,000 made rows, trained by one worker with half of the cores, and by
two with as many each. Each training is measured within its epochs (the import of TensorFlow and
the first epoch, in which graphs are made, are left out), by the times that the first worker tells.
Scaling is how much faster two workers are, of the factor 2 that their cores allow. What is
measured is written to results/workers.json; exits with 1 below 0.8.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from environment import undistorted
from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).resolve().parent / "results" / "workers.json"
ROWS, WIDTH = 20_000, 256
LEAST = 0.8  # of what the cores allow
MODULE = f"""
import keras

def build_model(features, hyperparameters):
    x = keras.Input(({WIDTH},), name="x")
    hidden = x
    for _ in range(4):
        hidden = keras.layers.Dense(1024, activation="relu")(hidden)
    model = keras.Model({{"x": x}}, keras.layers.Dense(1, activation="sigmoid")(hidden))
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    return model
"""


def main() -> int:
    undistorted()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--epochs", type=int, default=5)
    given = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    if cores < 2:
        sys.exit("This needs two cores.")
    with tempfile.TemporaryDirectory(prefix="edgeline-benchmark-") as name:
        folder = Path(name)
        write(folder)
        summary: dict[str, Any] = {
            "cores": cores,
            "load": round(os.getloadavg()[0], 1),
            "batch_size": given.batch_size,
            "rows": ROWS,
            "seconds_per_epoch": {
                str(workers): trained(folder, workers, cores // 2, given) for workers in (1, 2)
            },
        }
    one, two = summary["seconds_per_epoch"]["1"], summary["seconds_per_epoch"]["2"]
    summary["of_what_cores_allow"] = round(one / two / 2, 2)
    RESULTS.write_text(json.dumps(summary, indent=1) + "\n")
    table = Table(
        title=f"{ROWS:,} rows, batches of {given.batch_size}, {cores // 2} cores a worker, "
        f"load {summary['load']}",
        title_justify="left",
    )
    table.add_column("workers", justify="right")
    table.add_column("seconds an epoch", justify="right")
    table.add_row("1", f"{one:.2f}")
    table.add_row("2", f"{two:.2f}")
    Console().print(table)
    print(f"{summary['of_what_cores_allow']:.2f} of what the cores allow")
    return int(summary["of_what_cores_allow"] < LEAST)


def write(folder: Path) -> None:
    """The rows and the module."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from edgeline import artifacts
    from edgeline.artifacts import examples
    from edgeline.artifacts.features import Feature

    random = np.random.default_rng(0)
    (folder / "module.py").write_text(MODULE)
    with artifacts.writing(folder / "examples", examples.TRANSFORMED_SCHEMA) as draft:
        counts = {"train": ROWS, "eval": 256}
        for split, rows in counts.items():
            x = random.normal(size=(rows, WIDTH)).astype(np.float32)
            lists = pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), WIDTH)
            (draft.path / split).mkdir()
            table = pa.table({"x": lists, "y": (x.sum(1) > 0).astype(np.int64)})
            pq.write_table(table, draft.path / split / "part-00000.parquet")
        draft.metadata["splits"] = {split: {"rows": rows} for split, rows in counts.items()}
        features = [Feature("x", "float32", (WIDTH,)), Feature("y", "int64")]
        draft.metadata["features"] = [feature.to_json() for feature in features]


def trained(folder: Path, workers: int, threads: int, given: argparse.Namespace) -> float:
    """Seconds of an epoch, the median without the first, as the first worker prints the epochs."""
    from edgeline import artifacts
    from edgeline.artifacts import examples
    from edgeline.components.train import workers as told
    from edgeline.components.train.fitting import Fitting
    from edgeline.components.train.local_workers import free_ports
    from edgeline.components.train.worker import CHILD

    found = artifacts.read(folder / "examples", examples.TRANSFORMED_SCHEMA)
    how = Fitting(
        "y",
        steps=ROWS // given.batch_size * given.epochs,
        batch_size=given.batch_size,
        workers=workers,
    )
    work = told.SharedTraining(
        module=str(folder / "module.py"),
        transformed=str(found.path),
        digest=found.digest,
        hyperparameters={},
        how=how,
        class_weights=None,
        checkpoint_dir=str(folder / f"checkpoints-{workers}"),
        key="benchmark",
    )
    addresses = [f"127.0.0.1:{port}" for port in free_ports(workers)]
    cores = sorted(os.sched_getaffinity(0))
    children = []
    for index in range(workers):
        own = cores[index * threads : (index + 1) * threads]
        children.append(
            subprocess.Popen(
                [
                    *("taskset", "-c", ",".join(map(str, own))),
                    *(sys.executable, "-m", told.MODULE, CHILD, str(threads)),
                ],
                env={
                    **os.environ,
                    **told.environment(work, addresses),
                    told.INDEX: str(index),
                    "TF_CPP_MIN_LOG_LEVEL": "2",
                },
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
    times = []
    assert children[0].stdout
    for line in children[0].stdout:
        if line.startswith("epoch "):
            times.append(time.perf_counter())
    for child in children:
        child.communicate()
        if child.returncode and child is children[0]:
            sys.exit(f"A worker failed with code {child.returncode}.")
    seconds = sorted(b - a for a, b in itertools.pairwise(times))
    return round(seconds[len(seconds) // 2], 3)


if __name__ == "__main__":
    sys.exit(main())
