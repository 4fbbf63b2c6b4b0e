"""Rows a second from disk to shuffled batches on one core: `python benchmarks/input_speed.py`.

The same rows (16 columns: numbers, class numbers, a weight, a label) as the transformed examples
that `train` reads, and as a TFRecord file of tf.Examples that tf.data reads, shuffles over as many
rows, batches and parses batch by batch, which is its fastest order. Each side has a process of its
own, bound to one core, and the batches are counted within TensorFlow. Ours is measured on a tenth
of the rows as well: what its memory grows by is what it keeps of them. Exits with 1 where a ratio
is below 3 or the memory grows with the rows.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
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

RESULTS = Path(__file__).resolve().parent / "results" / "input_speed.json"
FLOATS, INTS, LABEL = 11, 4, "label"
BATCHES = (40, 1024)
LEAST = 3.0  # times tf.data's rows a second
GROWTH = 100e6  # bytes that ten times the rows may take more
PART = 250_000  # rows
ROUNDS = 3


def main() -> int:
    undistorted()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=float, default=1e6)
    parser.add_argument("--side", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        print(json.dumps(measured(given.side[0], Path(given.side[1]))))
        return 0
    with tempfile.TemporaryDirectory(prefix="edgeline-benchmark-") as name:
        few, all_rows = Path(name) / "few", Path(name) / "all"
        write(few, int(given.rows) // 10)
        write(all_rows, int(given.rows))
        summary = {
            "rows": int(given.rows),
            "load": round(os.getloadavg()[0], 1),
            "tenth_memory": side("edgeline", few)["memory"],
            "edgeline": side("edgeline", all_rows),
            "tf_data": side("tf_data", all_rows),
        }
    RESULTS.write_text(json.dumps(summary, indent=1) + "\n")
    show(summary)
    slow = [size for size in BATCHES if ratio(summary, size) < LEAST]
    grown = summary["edgeline"]["memory"] - summary["tenth_memory"]
    if slow:
        print(f"Below {LEAST:.0f} times at batches of {slow}.", file=sys.stderr)
    if grown > GROWTH:
        print(f"Ten times the rows took {grown / 1e6:,.0f} MB more.", file=sys.stderr)
    return int(bool(slow) or grown > GROWTH)


def write(folder: Path, rows: int) -> None:
    """The rows in both forms, in a process of its own, since TensorFlow's threads stay."""
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); "
    code += f"import input_speed as i, pathlib; i.written(pathlib.Path({str(folder)!r}), {rows})"
    subprocess.run([sys.executable, "-c", code], check=True)


def written(folder: Path, rows: int) -> None:
    """Write `examples`, a `transformed_examples/v1` folder, and `rows.tfrecord`."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    import tensorflow as tf

    from edgeline import artifacts
    from edgeline.artifacts import examples
    from edgeline.artifacts.features import Feature

    folder.mkdir()
    random = np.random.default_rng(0)
    names = [f"x{place}" for place in range(FLOATS)], [f"n{place}" for place in range(INTS)]
    features = [Feature(name, "float32", (1,)) for name in names[0]]
    features += [Feature(name, "int64", (1,)) for name in (*names[1], LABEL)]
    with (
        artifacts.writing(folder / "examples", examples.TRANSFORMED_SCHEMA) as draft,
        tf.io.TFRecordWriter(str(folder / "rows.tfrecord")) as records,
    ):
        (draft.path / "train").mkdir()
        for part, first in enumerate(range(0, rows, PART)):
            count = min(PART, rows - first)
            columns: dict[str, Any] = {}
            for feature in features:
                is_float = feature.dtype == "float32"
                drawn = random.normal(size=count) if is_float else random.integers(0, 50, count)
                columns[feature.name] = drawn.astype(feature.dtype)
            table = pa.table(
                {k: pa.FixedSizeListArray.from_arrays(pa.array(v), 1) for k, v in columns.items()}
            )
            pq.write_table(table, draft.path / "train" / f"part-{part:05d}.parquet")
            for row in range(count):
                record = tf.train.Example()
                for name, values in columns.items():
                    kind = "float_list" if values.dtype == np.float32 else "int64_list"
                    getattr(record.features.feature[name], kind).value.append(values[row].item())
                records.write(record.SerializeToString())
        draft.metadata["splits"] = {"train": {"rows": rows}}
        draft.metadata["features"] = [feature.to_json() for feature in features]


def side(name: str, folder: Path) -> dict[str, Any]:
    """What one side measured in a process of its own."""
    command = [sys.executable, __file__, "--side", name, str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def measured(name: str, folder: Path) -> dict[str, Any]:
    """Rows a second by batch size, the median of some rounds, and the peak of memory in bytes."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    from edgeline import artifacts
    from edgeline.artifacts import examples

    artifact = artifacts.read(folder / "examples", examples.TRANSFORMED_SCHEMA)
    rows = examples.splits(artifact)["train"]
    speeds = {}
    for size in BATCHES:
        made = ours(artifact, size) if name == "edgeline" else records(folder, artifact, size)
        found = []
        for _ in range(ROUNDS):
            started = time.perf_counter()
            counted = int(made.take(rows // size).reduce(np.int64(0), _count))
            found.append(counted / (time.perf_counter() - started))
            if counted != rows // size * size:
                sys.exit(f"{name} gave {counted} of {rows // size * size} rows.")
        speeds[str(size)] = round(sorted(found)[ROUNDS // 2])
    return {
        "rows_per_second": speeds,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def _count(total: Any, batch: Any) -> Any:
    import tensorflow as tf

    return total + tf.shape(batch[1], tf.int64)[0]


def ours(artifact: Any, size: int) -> Any:
    """As `train` reads."""
    from edgeline.artifacts.features import Feature
    from edgeline.components.train import dataset

    columns = [Feature.from_json(value) for value in artifact.metadata["features"]]
    return dataset.training_batches(artifact, "train", columns, LABEL, size, [0, 0])


def records(folder: Path, artifact: Any, size: int) -> Any:
    """As tf.data reads tf.Examples."""
    import tensorflow as tf

    from edgeline.artifacts.features import Feature
    from edgeline.components.train.dataset import SHUFFLE_ROWS

    columns = [Feature.from_json(value) for value in artifact.metadata["features"]]
    spec = {f.name: tf.io.FixedLenFeature(f.shape, f.dtype) for f in columns}

    def parse(batch: Any) -> Any:
        found = tf.io.parse_example(batch, spec)
        return found, found.pop(LABEL)

    read = tf.data.TFRecordDataset(str(folder / "rows.tfrecord"), buffer_size=8 << 20).repeat()
    return (
        read.shuffle(SHUFFLE_ROWS, seed=0).batch(size, drop_remainder=True).map(parse).prefetch(2)
    )


def ratio(summary: dict[str, Any], size: int) -> float:
    """Ours to theirs."""
    one, other = (summary[x]["rows_per_second"][str(size)] for x in ("edgeline", "tf_data"))
    return float(one / other)


def show(summary: dict[str, Any]) -> None:
    """Print the table."""
    table = Table(
        title=f"{summary['rows']:,} rows, one core, load {summary['load']}", title_justify="left"
    )
    for head in ("rows a second", "Parquet, as train reads", "tf.data's TFRecord", "ratio"):
        table.add_column(head, justify="right")
    for size in BATCHES:
        speeds = [summary[x]["rows_per_second"][str(size)] for x in ("edgeline", "tf_data")]
        cells = [f"{speed:,}" for speed in speeds]
        table.add_row(f"batches of {size}", *cells, f"{ratio(summary, size):.1f}")
    memory = [f"{summary[x]['memory'] / 1e6:,.0f} MB" for x in ("edgeline", "tf_data")]
    table.add_row("peak of memory", *memory, "")
    Console().print(table)
    print(f"of a tenth of the rows {summary['tenth_memory'] / 1e6:,.0f} MB")


if __name__ == "__main__":
    sys.exit(main())
