"""A published bundle as a function of rows in a program: what it takes, and what it refuses."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from publishing import bundle, model

import edgeline
from edgeline.errors import EdgelineError, UsageError
from edgeline.server.load import LoadedModel
from edgeline.server.tensors.rows import columns_of

ROWS = [
    {"amount": [1.0, 2.0], "count": 1, "name": "a"},
    {"amount": [3.0, 4.0], "count": 2, "name": "a"},
]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with edgeline.load(bundle(tmp_path_factory.mktemp("bundle") / "m", model(1))) as found:
        yield found


def scores(model: LoadedModel, rows: object) -> list[float]:
    return [float(score) for score in model.predict(rows)["score"].ravel()]


def test_rows_of_every_form_have_the_same_answers(loaded):
    expected = scores(loaded, ROWS)
    assert expected[0] == 4 and len(expected) == 2
    columns = {name: [row[name] for row in ROWS] for name in ROWS[0]}
    for same in (
        tuple(ROWS),
        columns,
        {**columns, "amount": np.array(columns["amount"]), "count": np.array([1, 2], np.int32)},
        {**columns, "count": pd.Series([1, 2])},
        pd.DataFrame(ROWS),
        pa.Table.from_pylist(ROWS),
        pa.RecordBatch.from_pylist(ROWS),
        pd.DataFrame(ROWS).to_dict("records"),
        [{**row, "amount": np.array(row["amount"])} for row in ROWS],
    ):
        assert scores(loaded, same) == expected


def test_it_says_what_it_is(loaded):
    assert repr(loaded).startswith("m 1: ")
    assert {"amount", "count", "name"} == {tensor.name for tensor in loaded.inputs}
    assert "score" in {tensor.name for tensor in loaded.outputs}
    shown = loaded._repr_html_()
    assert shown.count("<tr>") == len(loaded.inputs) + len(loaded.outputs)
    assert loaded.labels is None and loaded.decision_threshold is None


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([], "There are no rows"),
        ({"amount": []}, "There are no rows"),
        (pd.DataFrame({"amount": []}), "There are no rows"),
        (ROWS[0], r"Column 'count' is one value.*\[row\]"),
        ("amount", "Rows are a list of dictionaries.*type str"),
        (7, "type int"),
        ([ROWS[0], 3], r"rows\[1\] is a int"),
        ([ROWS[0], {"amount": [1, 2], "nam": "a"}], r"\[1\] has 'nam' more.*'count', 'name' less"),
        ([{**ROWS[0], "tip": 1}], "no input 'tip': the model takes amount, count, name"),
        ([{"amount": [1, 2], "name": "a"}], "Input 'count' is missing"),
        ([{**ROWS[0], "count": "many"}], "'count'.*give "),
        ([{**ROWS[0], "count": 1.5}], "'count'.*decimal numbers"),
        ({"amount": np.array([[1e300, 1]]), "count": [1], "name": ["a"]}, "'amount'.*out of range"),
        (pd.DataFrame([[1, 2]], columns=["count", "count"]), "two columns 'count'"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_in_a_sentence(loaded, rows, sentence):
    with pytest.raises(EdgelineError, match=sentence):
        loaded.predict(rows)


DTYPES = {"when": "int64", "count": "int64", "word": "string", "fare": "float32"}
NOON = datetime(2026, 11, 30, 12)
MICROSECONDS = 1_796_040_000_000_000


@pytest.mark.parametrize(
    "when",
    [
        NOON,
        NOON.replace(tzinfo=timezone.utc),
        datetime(2026, 11, 30, 14, tzinfo=timezone(timedelta(hours=2))),
        pd.Timestamp(NOON),
        pd.Timestamp("2026-11-30 14:00", tz="Europe/Helsinki"),
        np.datetime64("2026-11-30T12:00"),
    ],
)
def test_times_are_what_ingest_stores(when):
    assert columns_of([{"when": when}], DTYPES) == {"when": [MICROSECONDS]}
    assert columns_of(pd.DataFrame({"when": [when, pd.NaT]}), DTYPES)["when"] == [
        MICROSECONDS,
        None,
    ]


def test_a_day_is_its_first_moment_and_an_array_of_times_is_taken():
    day = MICROSECONDS - 12 * 3600 * 10**6
    assert columns_of({"when": [date(2026, 11, 30)]}, DTYPES) == {"when": [day]}
    times = np.array(["2026-11-30T12:00", "NaT"], "datetime64[s]")
    assert columns_of({"when": times}, DTYPES)["when"].tolist() == [MICROSECONDS, -(2**63)]


def test_what_pandas_makes_of_missing_values_is_missing():
    frame = pd.DataFrame({"count": [3, None], "word": ["a", None], "fare": [1.5, None]})
    assert frame["count"].dtype == "float64"
    expected = {"count": [3, None], "word": ["a", None], "fare": [1.5, None]}
    assert columns_of(frame, DTYPES) == expected
    found = columns_of(frame.to_dict("records"), DTYPES)
    assert found["count"] == [3, None] and found["word"] == ["a", None]
    assert np.isnan(found["fare"][1])
    nullable = frame.convert_dtypes()
    assert columns_of(nullable, DTYPES) == expected
    assert columns_of({"count": np.array([3.0, np.nan])}, DTYPES)["count"] == [3, None]
    assert columns_of({"count": [True, False]}, DTYPES)["count"] == [1, 0]


def test_an_address_is_fetched_and_its_damage_told_by_it(tmp_path):
    folder = bundle(tmp_path / "store" / "m" / "1", model(1))
    address = f"file://{folder}"
    with edgeline.load(address) as found:
        assert scores(found, ROWS[:1]) == [4]
    (folder / "model.tflite").write_bytes(model(2))
    for place in (address, folder):
        with pytest.raises(EdgelineError, match="damaged"):
            edgeline.load(place)
    with pytest.raises(UsageError, match="versions of m there are 1"):
        edgeline.load(f"file://{tmp_path}/store/m/7")


def test_a_signed_repository_needs_its_root_and_is_verified(publisher, web, tmp_path):
    with pytest.raises(UsageError, match="signed repository: give root"):
        edgeline.load(publisher.path)
    with edgeline.load(web.url, publisher.root) as found:
        assert scores(found, ROWS[:1]) == [4]
    other = tmp_path / "root.json"  # of other keys
    other.write_text(re.sub('("public": *")..', r"\g<1>00", publisher.root.read_text()))
    with pytest.raises(EdgelineError, match="brought no model"):
        edgeline.load(web.url, other)


def test_of_several_models_one_is_to_be_named(store):
    with pytest.raises(UsageError, match="holds the models mixed, mobilenet: give the folder"):
        edgeline.load(store)
    with edgeline.load(store / "mixed") as found:
        assert found.name == "mixed"


def test_a_closed_model_says_so_and_one_that_is_dropped_leaves_no_thread(tmp_path):
    program = f"""
        import gc, threading, time, edgeline
        before = threading.active_count()
        model = edgeline.load({str(bundle(tmp_path / "m", model(1)))!r})
        print(model.predict({ROWS!r})["score"].ravel().tolist())
        model.close()
        try:
            model.predict({ROWS!r})
        except edgeline.errors.EdgelineError as error:
            print(error)
        model = edgeline.load({str(tmp_path / "m")!r})
        del model
        gc.collect()
        end = time.monotonic() + 20
        while threading.active_count() > before and time.monotonic() < end:
            time.sleep(0.05)  # a worker of the pool ends by itself
        print(threading.active_count() - before, *threading.enumerate())
        model = edgeline.load({str(tmp_path / "m")!r})
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    first, second, third = done.stdout.splitlines()
    assert first.startswith("[4.0")
    assert "closed" in second
    assert third.startswith("0 "), third


def test_a_bundle_loads_without_pandas_and_pyarrow(tmp_path):
    folder = Path(bundle(tmp_path / "m", model(1)))
    program = f"""
        import sys, edgeline
        sys.modules.update(dict.fromkeys(("pandas", "pyarrow", "kfp", "tensorflow", "click")))
        print(edgeline.load({str(folder)!r}).predict({ROWS!r})["score"].shape)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout.strip()) == (0, "(2, 1)"), done.stderr
