"""Small models and real rows to evaluate: no training, a formula is enough."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from edgeline import artifacts
from edgeline.artifacts import examples, models

sys.path.append(str(Path(__file__).parents[2] / "data"))  # make_endless.py
TAXI = Path(__file__).parents[3] / "pipelines" / "taxi" / "taxi.csv"


@pytest.fixture(scope="session")
def write_examples(tmp_path_factory) -> Callable[..., str]:
    """Write tables as the parts of split `eval` of an `examples/v1` folder."""

    def write(*parts: pa.Table) -> str:
        path = tmp_path_factory.mktemp("examples") / "examples"
        with artifacts.writing(path, examples.SCHEMA) as draft:
            (draft.path / "eval").mkdir()
            for index, part in enumerate(parts):
                pq.write_table(part, draft.path / "eval" / f"part-{index:05d}.parquet")
            draft.metadata["splits"] = {"eval": {"rows": sum(map(len, parts))}}
        return str(path)

    return write


@pytest.fixture(scope="session")
def taxi_rows() -> pa.Table:
    """Every tenth row of the taxi data: 1,501 rows."""
    table = pa.csv.read_csv(TAXI)
    return table.take(list(range(0, len(table), 10)))


@pytest.fixture(scope="session")
def taxi(write_examples, taxi_rows) -> str:
    """Taxi rows in two parts."""
    return write_examples(taxi_rows.slice(0, 700), taxi_rows.slice(700))


@pytest.fixture(scope="session")
def write_model(tmp_path_factory) -> Callable[..., str]:
    """Write a function of raw features as the `evaluate` signature of a `model/v1` folder."""

    def write(function: Callable, takes: dict[str, str], task: str) -> str:
        import tensorflow as tf

        module = tf.Module()
        specs = {name: tf.TensorSpec([None, 1], dtype, name) for name, dtype in takes.items()}
        module.evaluate = tf.function(lambda **raw: function(raw), autograph=False)
        concrete = module.evaluate.get_concrete_function(**specs)
        path = tmp_path_factory.mktemp("model") / "model"
        with artifacts.writing(path, models.SCHEMA) as draft:
            tf.saved_model.save(
                module,
                str(draft.path / "saved_model"),
                signatures={models.EVALUATE: concrete, models.SERVING: concrete},
            )
            draft.metadata |= {"task": task, "features": [], "labels": None}
        return str(path)

    return write


def tip_model(of_card: float, of_fare: float, missing: float = 0.0) -> Callable:
    """The probability of a tip above a fifth of the fare, by a formula."""

    def evaluate(raw):
        import tensorflow as tf

        from edgeline.preprocessing import fill_missing

        fare = fill_missing(raw["fare"], missing)
        card = tf.cast(tf.equal(raw["payment_type"], "Credit Card"), tf.float32)
        score = of_card * (card - 0.6) + of_fare * (fare - 12.0) + 0.03 * raw["trip_miles"]
        return {
            "prediction": tf.sigmoid(score),
            "label": tf.cast(raw["tips"] > 0.2 * raw["fare"], tf.int64),
        }

    return evaluate


TIP_FEATURES = {
    "fare": "float32",
    "payment_type": "string",
    "trip_miles": "float32",
    "tips": "float32",
}


@pytest.fixture(scope="session")
def tips(write_model) -> str:
    """A fair model of tips."""
    return write_model(tip_model(4.0, 0.02), TIP_FEATURES, "binary_classification")


@pytest.fixture(scope="session")
def weak_tips(write_model) -> str:
    """A model of tips that looks at the fare more than at the card."""
    return write_model(tip_model(0.3, 0.1), TIP_FEATURES, "binary_classification")
