"""Training by several workers beside one, on this machine: `python benchmarks/workers.py`.

Two networks on 20,000 made rows: one of convolutions, whose gradients are small beside its work,
and one of dense layers, whose gradients (14 MB a step) are not, which is the most that workers can
have to tell each other. Each is trained by one worker with half of the cores, by two that know
nothing of each other, with as many each, and by two that share each batch. Each training
is measured within its epochs (the import of TensorFlow and the first epoch, in which graphs are
made, are left out), by the times that the first worker tells. What the cores allow is what the two
unrelated ones do together: virtual cores may share one, and all share its caches and memory. What
is measured is written to results/workers.json; exits with 1 where two workers that train the
convolutions do less than 0.8 of that.
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
from typing import TYPE_CHECKING

import numpy as np
from environment import undistorted
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from edgeline.components.train.workers import SharedTraining

RESULTS = Path(__file__).resolve().parent / "results" / "workers.json"
ROWS, WIDTH = 20_000, 256
LEAST, SHARE = 0.8, "of what the cores allow"
TRAININGS = {"one": (1, 1), "two unrelated": (2, 1), "two": (1, 2)}  # how many, and its workers
DENSE, CONVOLUTIONS = "dense", "convolutions"
MODULE = f"""
import keras

def build_model(features, hyperparameters):
    hidden = x = keras.Input(({WIDTH},), name="x")
    if hyperparameters["network"] == "{DENSE}":
        for _ in range(4):
            hidden = keras.layers.Dense(1024, activation="relu")(hidden)
    else:
        hidden = keras.layers.Reshape((16, 16, 1))(hidden)
        for _ in range(3):
            hidden = keras.layers.Conv2D(32, 3, padding="same", activation="relu")(hidden)
        hidden = keras.layers.GlobalAveragePooling2D()(hidden)
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
        load = round(os.getloadavg()[0], 1)
        networks = {name: scaling(folder, name, given) for name in (CONVOLUTIONS, DENSE)}
    found = {"cores": cores, "load": load, "batch_size": given.batch_size, "rows": ROWS}
    RESULTS.write_text(json.dumps({**found, "networks": networks}, indent=1) + "\n")
    table = Table(
        title=f"{ROWS:,} rows, batches of {given.batch_size}, {cores // 2} cores a worker, "
        f"load {load}",
        title_justify="left",
    )
    for name in ("seconds an epoch", *TRAININGS, SHARE):
        table.add_column(name, justify="left" if name == "seconds an epoch" else "right")
    for name, each in networks.items():
        table.add_row(name, *(f"{seconds:.2f}" for seconds in each.values()))
    Console().print(table)
    return int(networks[CONVOLUTIONS][SHARE] < LEAST)


def scaling(folder: Path, network: str, given: argparse.Namespace) -> dict[str, float]:
    """Seconds of an epoch by how it is trained, and what two workers do of what the cores allow."""
    found = {
        name: trained(folder, network, trainings, workers, given)
        for name, (trainings, workers) in TRAININGS.items()
    }
    return {**found, SHARE: round(found["two unrelated"] / found["two"] / 2, 2)}


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


def trained(
    folder: Path, network: str, trainings: int, workers: int, given: argparse.Namespace
) -> float:
    """Seconds of an epoch of trainings side by side, each worker on cores of its own: the median
    without the first, as the first worker of the first training tells the epochs."""
    from edgeline.components.train.local_workers import free_ports

    cores = sorted(os.sched_getaffinity(0))
    threads = len(cores) // 2
    children = []
    for training in range(trainings):
        name = f"{network}-{trainings}-{training}-{workers}"
        work = shared(folder, network, name, workers, given)
        addresses = [f"127.0.0.1:{port}" for port in free_ports(workers)]
        for index in range(workers):
            place = (training * workers + index) * threads
            children.append(child(work, addresses, index, cores[place : place + threads]))
    times = []
    assert children[0].stdout
    for line in children[0].stdout:
        if line.startswith("epoch "):
            times.append(time.perf_counter())
    for each in children:
        each.communicate()
    if children[0].returncode:
        sys.exit(f"A worker failed with code {children[0].returncode}.")
    seconds = sorted(b - a for a, b in itertools.pairwise(times))
    return round(seconds[len(seconds) // 2], 3)


def shared(
    folder: Path, network: str, name: str, workers: int, given: argparse.Namespace
) -> SharedTraining:
    """A training of the rows, which its workers share."""
    from edgeline import artifacts
    from edgeline.artifacts import examples
    from edgeline.components.train import workers as told
    from edgeline.components.train.fitting import Fitting

    found = artifacts.read(folder / "examples", examples.TRANSFORMED_SCHEMA)
    return told.SharedTraining(
        module=str(folder / "module.py"),
        transformed=str(found.path),
        digest=found.digest,
        hyperparameters={"network": network},
        how=Fitting(
            "y",
            steps=ROWS // given.batch_size * given.epochs,
            batch_size=given.batch_size,
            workers=workers,
        ),
        class_weights=None,
        checkpoint_dir=str(folder / f"checkpoints-{name}"),
        key="benchmark",
    )


def child(
    work: SharedTraining, addresses: list[str], index: int, cores: list[int]
) -> subprocess.Popen[str]:
    """A worker on some cores."""
    from edgeline.components.train import workers as told
    from edgeline.components.train.worker import CHILD

    return subprocess.Popen(
        [
            *("taskset", "-c", ",".join(map(str, cores))),
            *(sys.executable, "-m", told.MODULE, CHILD, str(len(cores))),
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


if __name__ == "__main__":
    sys.exit(main())
