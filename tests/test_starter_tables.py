"""`edgeline init` on public tables: what it writes learns as well as a straight line.

Ingest, tf.Transform and the training are the pipeline's own; iris goes on to a published bundle.
Whole runs on 22 tables beside scikit-learn are benchmarks/init_tables.py.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from google.protobuf import json_format
from scipy.optimize import minimize

from edgeline import artifacts
from edgeline.artifacts import bundle, examples, features
from edgeline.artifacts.features import Feature
from edgeline.components.ingest.ingest import ingest
from edgeline.components.validate.validate import validate
from edgeline.starter import make_project_of
from edgeline.starter.facts import read_table
from edgeline.starter.own_data import propose

pytestmark = pytest.mark.slow
DATA = Path(__file__).parent / "data"
LABELS = {
    "columns/iris.csv": "target",
    "tables/penguins.csv": "species",
    "tables/diabetes.csv": "progression",
}


def design(batch, module, words):
    """What a linear model takes, [rows, columns]: numbers, words one-hot, and 1."""
    found = [
        [usual if value is None else value for value in batch.column(name).to_pylist()]
        for name, usual in module["NUMBERS"].items()
    ]
    for name, known in words.items():
        values = batch.column(name).to_pylist()
        found += [[value == word for value in values] for word in known]
    return np.array([*found, np.ones(len(batch))], float).T


def straight_line(x, y, asked, classes):
    """What least squares predicts, or logistic regression with scikit-learn's default penalty."""
    mean, deviation = x.mean(0), np.maximum(x.std(0), 1e-9)
    mean[-1], deviation[-1] = 0, 1  # the intercept
    x, asked = (x - mean) / deviation, (asked - mean) / deviation
    if not classes:
        return asked @ np.linalg.lstsq(x, y, rcond=None)[0]
    truth = np.eye(classes)[y]

    def loss(flat):
        weights = flat.reshape(x.shape[1], classes)
        scores = x @ weights
        scores -= scores.max(1, keepdims=True)
        shares = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
        kept = weights * (np.arange(x.shape[1]) < x.shape[1] - 1)[:, None]
        value = -np.log((shares * truth).sum(1) + 1e-300).sum() + (kept**2).sum() / 2
        return value, (x.T @ (shares - truth) + kept).ravel()

    found = minimize(loss, np.zeros(x.shape[1] * classes), jac=True, method="L-BFGS-B")
    return (asked @ found.x.reshape(x.shape[1], classes)).argmax(1)


def test_a_table_is_published_by_what_init_writes(tmp_path):
    sys.path.append(str(Path(__file__).parent / "end_to_end"))
    from command import edgeline

    made = edgeline(tmp_path, "init", "iris", "--data", str(DATA / "columns/iris.csv"), "--yes")
    assert made.code == 0, made.output
    done = edgeline(tmp_path, "run", "iris/pipeline.py", "--set", "steps=300")
    assert done.code == 0, done.output
    manifest = bundle.read(tmp_path / "iris" / "models" / "iris" / "1")
    told = manifest.verification["metrics"]["accuracy"]
    assert told["edge"] == told["cloud"] >= 0.9  # of 51 rows
    [drawn] = done.run.glob("reports/train.*.html")
    assert '<g class="op"' in drawn.read_text()


@pytest.mark.parametrize(
    "table",
    [
        pytest.param("columns/iris.csv", marks=pytest.mark.long),  # published above
        "tables/penguins.csv",
        "tables/diabetes.csv",
    ],
)
def test_what_init_writes_is_as_good_as_a_straight_line(tmp_path, table):
    from edgeline.components.train.fitting import Fitting, fit
    from edgeline.components.transform.transform import transform

    data = str(DATA / table)
    proposal = propose(read_table(data), LABELS[table])
    project = tmp_path / "project"
    make_project_of(project, proposal)
    module, pipeline = {}, {"__file__": str(project / "pipeline.py")}
    exec((project / "module.py").read_text(), module)
    exec((project / "pipeline.py").read_text(), pipeline)
    definition = pipeline["pipeline"].pipeline_spec.root.input_definitions.parameters
    given = {
        theme: json.loads(json_format.MessageToJson(definition[f"with_{theme}"].default_value))
        for theme in ("splits", "training")
    }
    label, training = LABELS[table], given["training"]

    places = {name: str(tmp_path / name) for name in ("examples", "schema", "graph", "made")}
    read = {**proposal.table.settings, **given["splits"]}
    ingest(data, places["examples"], **{n: v for n, v in read.items() if n != "sample"})
    other = [str(tmp_path / name) for name in ("statistics", "anomalies", "report.html")]
    validate(places["examples"], other[0], places["schema"], other[1], other[2])
    transform(
        places["examples"], places["schema"], str(project / "module.py"), places["graph"],
        places["made"], str(tmp_path / "features.html"), label=label,
    )  # fmt: skip
    made = artifacts.read(places["made"], examples.TRANSFORMED_SCHEMA)
    how = Fitting(label, *(int(training[name]) for name in ("steps", "batch_size")))
    how = replace(how, steps_per_epoch=int(training["steps_per_epoch"]))
    model, _ = fit(str(project / "module.py"), made, {}, how, tmp_path / "checkpoints")

    columns = [Feature.from_json(each) for each in made.metadata["features"]]
    rows = artifacts.read(places["examples"], examples.SCHEMA)
    known, asked = (
        pa.Table.from_batches(examples.read_batches(rows, s)) for s in ("train", "eval")
    )
    ours = features.to_numpy(next(examples.read_batches(made, "eval")), columns)
    truth = ours.pop(label).reshape(-1)
    answers = model.predict(ours, batch_size=len(truth), verbose=0)
    learnt = features.to_numpy(next(examples.read_batches(made, "train")), columns)[label]

    words = {name: sorted({*known.column(name).to_pylist()} - {None}) for name in module["WORDS"]}
    classes = 0 if "MEAN" in module else len({*learnt.reshape(-1)})
    line = straight_line(
        design(known, module, words), learnt.reshape(-1), design(asked, module, words), classes
    )
    if classes:
        assert (answers.argmax(1) == truth).sum() >= (line == truth).sum() - 1  # of 50 and 115 rows
    else:
        ours_off, line_off = (
            np.sqrt(((x.reshape(-1) - truth) ** 2).mean()) for x in (answers, line)
        )
        assert ours_off <= 1.01 * line_off
