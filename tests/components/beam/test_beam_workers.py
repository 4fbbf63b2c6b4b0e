"""Work that spreads, in worker processes that see nothing of the task's disk.

Prism is Beam's own portable runner. It has one worker process for a job; a cluster's runner has as
many as its pods, to which nothing here is different: what they share is in MinIO alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from portable import PRISM, free_port
from works import Counting

from edgeline import artifacts
from edgeline.artifacts import examples
from edgeline.beam import spreading
from edgeline.beam.workers import Workers, hired
from edgeline.errors import EdgelineError

MODULE = "edgeline.pipelines.taxi.module"
PLACE = "s3://bundles/runs/made"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def parts(hidden: Path) -> list[Path]:
    """Two files of 300 rows."""
    folder = hidden / "train"
    folder.mkdir(exist_ok=True)
    made = [folder / f"part-{number:05d}.parquet" for number in range(2)]
    for path in made:
        pq.write_table(pa.table({"row": np.arange(300)}), path)
    return made


@pytest.fixture
def workers(s3: Any, portable: Any, parts: list[Path]) -> Iterator[Workers]:
    with hired(portable.options, PLACE, "tests") as found:
        assert found is not None
        yield found.on(parts, batch_rows=100)
    assert not list(s3.client.list_objects("bundles", prefix="runs/", recursive=True))


def counted(workers: Workers, work: Counting, folder: Path) -> list[str]:
    (folder / "word").write_text("counted")
    spreading.give(workers.exchange, "count", folder)
    made = spreading.spread(work, workers.slices, workers.exchange, workers.runner, "count")
    return [each.decode() for each in made]


def test_each_slice_is_done_once_by_another_process_that_sees_no_path_of_the_task(
    workers: Workers, portable: Any, tmp_path: Path
) -> None:
    made = counted(workers, Counting(), tmp_path)
    assert len(made) == 6
    assert all(each.startswith("counted 100 ") for each in made)
    assert {Path(each.split()[2]).name for each in made} == {"elsewhere"}
    assert not portable.workers()  # they end with their job


def test_of_a_killed_worker_what_is_missing_is_done_again(
    workers: Workers, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    made = counted(workers, Counting(deadly=True), tmp_path)
    assert [each.split()[1] for each in made] == ["100"] * 6
    told = capfd.readouterr().err
    assert "slices are missing: doing them again (2 of 3)" in told
    assert "disconnected" in told


def test_what_the_work_refuses_comes_as_it_was_said_and_is_not_tried_again(
    workers: Workers, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    sentence = r"^train/part-00001.parquet, rows from 100: a row that nobody wants\.$"
    with pytest.raises(EdgelineError, match=sentence):
        counted(workers, Counting(refused="part-00001.parquet, rows from 100"), tmp_path)
    assert "doing them again" not in capfd.readouterr().err


def test_a_task_that_is_stopped_cancels_its_job_and_leaves_nothing(
    s3: Any, portable: Any, parts: list[Path], tmp_path: Path
) -> None:
    def stop() -> None:
        wait(portable.workers)
        os.kill(os.getpid(), signal.SIGTERM)

    with (
        pytest.raises(SystemExit) as ended,
        hired(portable.options, PLACE, "tests") as found,
    ):
        assert found is not None
        threading.Thread(target=stop, daemon=True).start()
        counted(found.on(parts, batch_rows=100), Counting(), tmp_path)
    assert ended.value.code == 128 + signal.SIGTERM
    assert not list(s3.client.list_objects("bundles", prefix="runs/", recursive=True))
    wait(lambda: not portable.workers())
    assert not portable.workers()


def test_what_somebody_else_wrote_is_not_read(workers: Workers) -> None:
    first = workers.slices[0].name
    workers.exchange.folder.write(first, b"x" * 100)
    with pytest.raises(EdgelineError, match=f"{first} was damaged, or written by somebody else"):
        workers.exchange.get(first)


def test_transform_gives_what_it_gives_in_its_own_process(
    s3: Any, portable: Any, hidden: Path, ingested_taxi: Any, transformed_taxi: Any
) -> None:
    from edgeline.components.transform.transform import transform

    folder = inside(hidden, "transform", ingested_taxi.folder)
    outputs = [str(folder / name) for name in ("made-graph", "made", "made.html")]
    transform(
        str(folder / "examples"),
        str(folder / "schema"),
        MODULE,
        *outputs,
        beam_options=portable.options,
        transformed_examples_uri=PLACE,
    )
    made = artifacts.read(folder / "made", examples.TRANSFORMED_SCHEMA)
    alone = transformed_taxi.transformed
    assert made.metadata == alone.metadata
    graph = artifacts.read(folder / "made-graph", "transform_graph/v1")
    assert graph.metadata == transformed_taxi.graph.metadata
    assert vocabularies(graph.path) == vocabularies(transformed_taxi.graph.path) != {}
    for split in examples.splits(alone):
        for ours, theirs in zip(
            examples.parts(made, split), examples.parts(alone, split), strict=True
        ):
            assert pq.read_metadata(ours).num_row_groups == pq.read_metadata(theirs).num_row_groups
            same(pq.read_table(ours), pq.read_table(theirs))
    assert not list(s3.client.list_objects("bundles", prefix="runs/", recursive=True))


def weighted(inputs: Any) -> Any:
    """An analyzer that tf.Transform's own pipeline computes."""
    import tensorflow_transform as tft

    words = tft.vocabulary(inputs["company"], weights=inputs["fare"], vocab_filename="companies")
    return {"company": tft.apply_vocabulary(inputs["company"], words)}


def analyzed(run: Any, folder: Path, target: Path, options: list[str]) -> int:
    from edgeline.artifacts.features import Feature
    from edgeline.components.transform.graph import analyze

    shutil.copytree(run.folder / "examples" / "train", folder)
    parts = {str(place): part for place, part in enumerate(sorted(folder.glob("*.parquet")))}
    features = [Feature("company", "string"), Feature("fare", "float32")]
    with hired(options, PLACE, "tests") as found:
        assert found is not None
        on = found.on(list(parts.values()), ["company", "fare"])
        return analyze(parts, features, weighted, target, on)


def test_an_analyzer_that_workers_cannot_compute_by_their_store_is_named(
    s3: Any, portable: Any, hidden: Path, ingested_taxi: Any, tmp_path: Path
) -> None:
    del s3
    sentence = r"has an analyzer \(Vocabulary\w+\) .* cannot reach s3://.*--temp_location=file:"
    with pytest.raises(EdgelineError, match=sentence):
        analyzed(ingested_taxi, hidden / "named", tmp_path, portable.options)


@pytest.mark.long  # tf.Transform's own pipeline, in a worker that has to start
def test_on_a_volume_workers_compute_every_analyzer(
    portable: Any, hidden: Path, ingested_taxi: Any, tmp_path: Path
) -> None:
    volume = [*portable.options, f"--temp_location=file://{portable.log.parent}/volume"]
    there, here = tmp_path / "there", tmp_path / "here"
    rows = analyzed(ingested_taxi, hidden / "there", there, volume)
    assert analyzed(ingested_taxi, hidden / "here", here, ["--runner=DirectRunner"]) == rows
    assert vocabularies(there) == vocabularies(here) != {}


@pytest.mark.long  # four jobs, each with a worker that has to start
def test_validate_gives_what_it_gives_in_its_own_process(
    s3: Any, portable: Any, hidden: Path, ingested_taxi: Any
) -> None:
    from edgeline.components.validate.validate import validate

    folder = inside(hidden, "validate", ingested_taxi.folder)
    names = ("made-statistics", "made-schema", "made-anomalies", "made.html")
    statistics, schema, anomalies, report = (str(folder / name) for name in names)
    validate(
        str(folder / "examples"),
        statistics,
        schema,
        anomalies,
        report,
        on_anomalies="flag",
        beam_options=portable.options,
        statistics_uri=PLACE,
    )
    for name in ("schema", "anomalies"):
        made, alone = (
            artifacts.read(folder / each, f"{name}/v1") for each in (f"made-{name}", name)
        )
        assert made.digest == alone.digest
    counted_there, counted_here = (
        json.loads((folder / each / "statistics.json").read_text())
        for each in ("made-statistics", "statistics")
    )
    near(counted_there, counted_here)
    assert not list(s3.client.list_objects("bundles", prefix="runs/", recursive=True))


def near(ours: Any, theirs: Any) -> None:
    """The same but for the last digits of floats."""
    if isinstance(theirs, dict):
        assert ours.keys() == theirs.keys()
        for name in theirs:
            near(ours[name], theirs[name])
    elif isinstance(theirs, list):
        for one, other in zip(ours, theirs, strict=True):
            near(one, other)
    elif isinstance(theirs, float):
        assert ours == pytest.approx(theirs, rel=1e-9, nan_ok=True)
    else:
        assert ours == theirs


@pytest.mark.long  # 80 s, most of it spent waiting for imports
def test_analyze_gives_what_it_gives_in_its_own_process_though_its_worker_is_killed(
    s3: Any,
    portable: Any,
    hidden: Path,
    trained_taxi: Any,
    capfd: pytest.CaptureFixture[str],
) -> None:
    from edgeline.components.analyze.analyze import analyze

    folder = inside(hidden, "analyze", trained_taxi.folder)
    given = {"slicing_specs": [{}, {"feature_keys": ["payment_type"]}]}

    def evaluated(name: str, **options: Any) -> Any:
        return analyze(
            str(folder / "examples"),
            str(folder / "model"),
            str(folder / name),
            str(folder / f"{name}.html"),
            given,
            confidence_intervals=False,
            **options,
        )

    alone = evaluated("alone")
    with killing(portable):
        spread = evaluated("spread", beam_options=portable.options, evaluation_uri=PLACE)
    assert "Evaluating again (2 of 3)" in capfd.readouterr().err
    assert spread.metadata["rows"] == alone.metadata["rows"]
    assert spread.overall == pytest.approx(alone.overall, rel=1e-6)
    ours, theirs = (metrics(folder / name) for name in ("spread", "alone"))
    assert ours.keys() == theirs.keys()
    assert len(ours) > 2
    for name, values in theirs.items():
        assert ours[name] == pytest.approx(values, rel=1e-6, nan_ok=True), name
    assert not list(s3.client.list_objects("bundles", prefix="runs/", recursive=True))


def test_a_pool_that_does_not_answer_is_a_sentence(
    s3: Any, portable: Any, parts: list[Path], tmp_path: Path
) -> None:
    """Prism ends with it; the pool of workers is what a pod may lack."""
    del s3, portable
    own = free_port()
    prism = subprocess.Popen(
        [PRISM, "--job_port", str(own), "--serve_http=false"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    options = [f"--job_endpoint=127.0.0.1:{own}", "--environment_config=127.0.0.1:9"]
    try:
        wait(lambda: answers(own))
        with (
            pytest.raises(EdgelineError, match=r"^Beam's job on PortableRunner at 127.0.0.1:"),
            hired([*options, "--environment_type=EXTERNAL"], PLACE, "tests") as found,
        ):
            assert found is not None
            counted(found.on(parts, batch_rows=100), Counting(), tmp_path)
    finally:
        prism.kill()
        prism.wait()


def inside(hidden: Path, name: str, folder: Path) -> Path:
    """A copy of a run's folder where workers see nothing."""
    target = hidden / name
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(folder, target)
    return target


@contextlib.contextmanager
def killing(portable: Any) -> Iterator[None]:
    """Kills the first worker that comes up while the block runs."""

    def kill() -> None:
        wait(portable.workers)
        for process in portable.workers():
            os.kill(process, signal.SIGKILL)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    yield
    thread.join(1)


def wait(ready: Callable[[], object]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not ready():
        time.sleep(0.05)


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def vocabularies(graph: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (graph / "transform_fn/assets").iterdir()}


def metrics(evaluation: Path) -> dict[str, dict[str, float]]:
    found = json.loads((evaluation / "metrics.json").read_text())["slices"]
    return {str(each["slice"]): flat(each["metrics"]) for each in found}


def flat(found: Any) -> dict[str, float]:
    return {name: float(value) for name, value in found.items() if isinstance(value, (int, float))}


def same(ours: pa.Table, theirs: pa.Table) -> None:
    assert ours.schema == theirs.schema
    assert ours.num_rows == theirs.num_rows
    for name in ours.column_names:
        one, other = ours[name], theirs[name]
        if pa.types.is_floating(one.type):
            np.testing.assert_allclose(one.to_numpy(), other.to_numpy(), rtol=1e-6, atol=1e-6)
        else:
            assert one.equals(other), name
