"""A model of a sensor's last rows, from rows in no order to a server that keeps them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command import Finished, edgeline

from edgeline.artifacts import bundle, examples, models
from edgeline.artifacts.features import to_numpy
from edgeline.artifacts.folder import read

sys.path.insert(0, str(Path(__file__).parents[1] / "server"))
from running import Running

pytestmark = pytest.mark.long
MODULE = Path(__file__).with_name("windows_module.py")
SIZE, GAP, SECOND = 6, 5_000_000, 1_000_000
BEGIN = 1_767_225_600 * SECOND  # 2026-01-01


def series(pump: str, seed: int) -> list[dict[str, Any]]:
    """The rows of a pump in order, with gaps, missing values and a wave that rises before it
    fails."""
    random = np.random.default_rng(seed)
    rows, when, pressure = [], BEGIN, 5.0
    for number in range(300):
        when += SECOND * (30 if number % 97 == 96 else 1)
        pressure += random.normal(0, 0.3) - 0.05 * (pressure - 5)
        value = None if random.random() < 0.03 else float(np.float32(pressure))
        mode = str(random.choice(["low", "high", "eco"]))
        rows.append(
            {
                "pump": pump,
                "when": when,
                "pressure": value,
                "mode": mode,
                "fails": bool(pressure > 5.3),
            }
        )
    return rows


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("pumps")
    rows = [row for number in range(6) for row in series(f"p{number}", number)]
    mixed = [rows[place] for place in np.random.default_rng(9).permutation(len(rows))]
    schema = pa.schema(
        [
            ("pump", pa.string()), ("when", pa.timestamp("us", "UTC")), ("pressure", pa.float32()),
            ("mode", pa.string()), ("fails", pa.bool_()),
        ]
    )  # fmt: skip
    pq.write_table(pa.Table.from_pylist(mixed, schema), folder / "pumps.parquet")
    windows = (
        f'{{"size": {SIZE}, "time": "when", "key": "pump", "columns": ["pressure", "mode"], '
        f'"max_gap": {GAP}, "kept_by": "server"}}'
    )
    return edgeline(
        folder,
        *("run", "tabular", "--module", str(MODULE), "--set", f"windows={windows}"),
        *("--set", "data=pumps.parquet", "--set", "label=fails", "--set", "model_name=pumps"),
        *("--set", 'split_by={"time": "when"}', "--set", 'never_missing=["pump"]'),
        *("--set", "task=binary_classification", "--set", "destination=models"),
        *("--set", "steps=60", "--set", "batch_size=32", "--set", "quantisation=float"),
    )


@pytest.fixture(scope="module")
def published(run: Finished) -> Path:
    assert run.code == 0, run.output
    return run.folder / "models" / "pumps" / "1"


def test_the_manifest_says_what_a_row_is_made_of_and_who_keeps_it(
    run: Finished, published: Path
) -> None:
    manifest = bundle.read(published)
    assert manifest.format == "bundle/v5" and manifest.windows is not None
    assert (manifest.windows.size, manifest.windows.columns) == (SIZE, ("pressure", "mode"))
    shapes = {each.name: each.shape for each in manifest.features}
    assert shapes == {"pressure": (SIZE,), "mode": (SIZE,), "pump": (1,)}
    assert manifest.verification["probes"]["at_fault"] == 0
    told = edgeline(run.folder, "verify", str(published))
    assert told.code == 0, told.output
    assert "6 rows of pressure and mode by pump" in " ".join(told.output.split())
    assert "windows across splits" in run.output


def test_the_server_answers_a_row_as_the_cloud_model_does_its_window(
    run: Finished, published: Path
) -> None:
    """Of each row of eval that training had a window of, the rows before it having come alone."""
    ingested = read(run.record["tasks"]["ingest"]["outputs"]["examples"]["uri"], examples.SCHEMA)
    model = read(run.record["tasks"]["train"]["outputs"]["model"]["uri"], models.SCHEMA)
    cloud, takes = models.load_signature(model, models.SERVING)
    wanted: dict[tuple[str, int], float] = {}
    for batch in examples.read_batches(ingested, "eval"):
        scores = cloud(to_numpy(batch, takes))["prediction"].reshape(-1).tolist()
        names, times = (batch.column(name).to_pylist() for name in ("pump", "when"))
        wanted |= dict(zip(zip(names, times, strict=True), scores, strict=True))
    server = Running(published.parents[1], "--poll=0")
    try:
        refused, answered = 0, {}
        everything = [series(f"p{number}", number)[150:] for number in range(6)]
        for rows in zip(*everything, strict=True):  # one of each pump in a request
            asked = [
                {name: [value] for name, value in row.items() if name != "fails"} for row in rows
            ]
            status, answer, _ = server.ask("POST", "/v1/models/pumps:predict", {"instances": asked})
            if status == 409:
                refused += 1
                assert "(from 0): the window of pump 'p" in answer["error"], answer
                continue
            assert status == 200, answer
            for row, score in zip(rows, np.reshape(answer["predictions"], -1), strict=True):
                answered[row["pump"], row["when"]] = score
        assert refused == 3 * (SIZE - 1)  # at the begin, and behind two gaps
        both = [key for key in wanted if key in answered]
        assert len(both) > 0.9 * len(wanted) > 300
        np.testing.assert_allclose(
            [answered[key] for key in both], [wanted[key] for key in both], atol=1e-5
        )
    finally:
        server.stop()
