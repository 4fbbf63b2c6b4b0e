"""What a user may get wrong in preprocessing_fn, data and options: one sentence each."""

from __future__ import annotations

import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from edgeline import artifacts
from edgeline.artifacts import examples
from edgeline.artifacts.features import Feature
from edgeline.beam import runner as runners
from edgeline.components.transform.transform import transform
from edgeline.errors import EdgelineError

pytestmark = pytest.mark.slow

TRIPS = {"miles": [1.0, 2.0, None, 4.0], "kind": ["a", None, "b", "a"], "hour": [1, None, 3, 4]}
FEATURES = [Feature("miles", "float32"), Feature("kind", "string"), Feature("hour", "int64")]
HEAD = (
    "import tensorflow as tf\nimport tensorflow_transform as tft\ndef preprocessing_fn(inputs):\n"
)


@pytest.fixture
def run(tmp_path):
    """Run the worker on the body of a preprocessing_fn; gives the transformed artifact."""

    def work(body, table=None, features=FEATURES, module=None, **parameters):
        # made here: pyarrow imports pandas to make a table of Python's values
        rows = pa.table(TRIPS) if table is None else table
        with artifacts.writing(tmp_path / "examples", examples.SCHEMA) as draft:
            (draft.path / "train").mkdir()
            (draft.path / "empty").mkdir()
            pq.write_table(rows, draft.path / "train" / "part-00000.parquet")
            draft.metadata["splits"] = {"train": {"rows": len(rows)}, "empty": {"rows": 0}}
        with artifacts.writing(tmp_path / "schema", "schema/v1") as draft:
            text = json.dumps([feature.to_json() for feature in features])
            (draft.path / "features.json").write_text(text)
        source = tmp_path / "components" / "functions.py"
        source.parent.mkdir(exist_ok=True)
        source.write_text(HEAD + "".join(f"    {line}\n" for line in body.splitlines()))
        names = ("examples", "schema", "graph", "transformed", "report.html")
        data, schema, *outputs = (str(tmp_path / name) for name in names)
        transform(data, schema, str(source) if module is None else module, *outputs, **parameters)
        return artifacts.read(tmp_path / "transformed", examples.TRANSFORMED_SCHEMA)

    return work


def test_weights_go_beside_the_features_and_preprocessing_does_not_get_them(run):
    body = "return {name: tf.identity(value) for name, value in inputs.items()}"
    weighted = pa.table({**TRIPS, "w": [1, 0, 2, 5]})
    features = [*FEATURES, Feature("w", "int64")]
    found = run(body, weighted, features, weight_column="w")
    assert found.metadata["weight_column"] == "w"
    assert {feature["name"] for feature in found.metadata["features"]} == {*TRIPS}
    [batch] = examples.read_batches(found, "train")
    assert batch.column("w").to_pylist() == [1.0, 0.0, 2.0, 5.0]
    with pytest.raises(EdgelineError, match=r"Column 'w' is .* but is -1 in row 3 of train/part"):
        run(body, pa.table({**TRIPS, "w": [1, 0, 2, -1]}), features, weight_column="w")


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (
            "x = 1\nraise ValueError('no\\n good')",
            r"functions\.py:5 \(raise ValueError\('no\\n good'\)\): ValueError: no good$",
        ),
        ("return {'x': inputs['mile']}", r":4 .*KeyError: 'mile'; the raw features are hour, "),
        ("return {'x': tf.sparse.from_dense(inputs['hour'])}", "'x' is a SparseTensor.*dense"),
        ("return {'x': tf.cast(inputs['miles'], tf.float64)}", "'x' is float64: cast it to "),
        ("return {'x': inputs['miles'] > 1.0}", "'x' is bool: cast it to float32 or int64"),
        ("return {'x': inputs['miles'][:, 0]}", r"'x' has shape \[batch\]: .* \[batch, n\]"),
        ("return {'x': inputs['miles'][:1]}", "'x' has 1 rows for the 4 of a batch of train/part-"),
        ("return {'x': tf.strings.to_number(inputs['kind'])}", "could not correctly convert .*: a"),
        (
            "return {'x': tft.scale_to_0_1(tf.strings.to_number(inputs['kind']))}",
            "fails on the data: .*could not correctly convert string: a",
        ),
        ("return inputs['miles']", "must return a dictionary of tensors"),
        ("return {'x': 3}", "'x' is a int"),
        ("return", "must return a dictionary of tensors"),
    ],
)
def test_preprocessing_fn(run, tmp_path, capfd, body, sentence):
    with pytest.raises(EdgelineError, match=sentence) as caught:
        run(body)
    assert "\n" not in str(caught.value)
    assert "while running" not in str(caught.value)
    assert "Traceback" not in capfd.readouterr().err
    assert not (tmp_path / "transformed").exists()
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"analyze_split": "test"}, "has no split 'test': it has empty, train"),
        ({"analyze_split": "empty"}, "'empty' has no rows to learn from"),
        ({"module": "no_such_module"}, "'no_such_module' cannot be imported"),
        ({"module": "no_such_file.py"}, "no_such_file.py"),
        ({"module": "edgeline.errors"}, r"errors\.py has no function preprocessing_fn"),
        ({"module": ""}, "'module' is empty"),
        ({"label": "tip"}, "'label' is 'tip', but preprocessing_fn gives x: name the output"),
        ({"features": [Feature("fare", "float32")]}, "Column 'fare' is missing"),
        ({"features": [Feature("miles", "int64")]}, "'miles' holds float32, .* says int64"),
        (
            {"features": [Feature("miles", "float32", (-1,))]},
            "'miles' does not have the same number",
        ),
    ],
)
def test_parameters_and_schema(run, parameters, sentence):
    with pytest.raises(EdgelineError, match=sentence):
        run("return {'x': next(iter(inputs.values()))}", **parameters)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--direct_running_mode=multi_threading"], "which loses rows without an error: use in_me"),
        (["--direct_running_mode", "multi_threading"], "which loses rows without an error"),
        (["--direct_runing_mode=in_memory"], "has --direct_runing_mode, which Beam does not know"),
        (["--direct_num_workers=two"], "invalid int value: 'two'"),
        (["--runner=FlickRunner"], "Unexpected pipeline runner: FlickRunner"),
    ],
)
def test_beam_options(options, sentence):
    with pytest.raises(EdgelineError, match=sentence) as caught:
        runners.read(options).pipeline()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("options", [[], ["--runner=DirectRunner"], ["--direct_num_workers=2"]])
def test_the_local_runner_is_the_one_in_memory(options):
    assert type(runners.read(options).pipeline().runner).__name__ == "FnApiRunner"


def test_other_runners_get_their_options():
    uber = ["--flink_submit_uber_jar", "--flink_job_server_jar=/opt/flink.jar"]
    options = ["--runner=FlinkRunner", "--flink_master=host:8081", "--new=1", *uber]
    pipeline = runners.read(options).pipeline()
    assert type(pipeline.runner).__name__ == "FlinkRunner"
    assert pipeline.options.get_all_options()["flink_master"] == "host:8081"


def test_a_damaged_input_is_refused_and_an_earlier_output_stays(run, tmp_path):
    made = run("return {'x': inputs['miles']}")
    part = tmp_path / "examples" / "train" / "part-00000.parquet"
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(content)
    outputs = (str(tmp_path / name) for name in ("graph", "transformed", "report.html"))
    with pytest.raises(EdgelineError, match=r"part-00000\.parquet is damaged"):
        transform(str(tmp_path / "examples"), str(tmp_path / "schema"), "m.py", *outputs)
    assert artifacts.read(made.path, examples.TRANSFORMED_SCHEMA) == made


def test_missing_values_lists_and_bytes_pass_through(run):
    table = pa.table(
        {
            "miles": [1.5, None, float("nan")],
            "hour": [None, 7, -(2**62)],
            "paid": [True, None, False],
            "kind": ["ä", None, ""],
            "image": pa.array([b"\xff\x00\n", None, b"\x89PNG"], pa.binary()),
            "history": pa.array([[1.0, 2.0], [3.0, None], None], pa.list_(pa.float64())),
            "codes": pa.array([[1, 2], None, [3, None]], pa.list_(pa.int16())),
        }
    )
    features = [
        Feature("miles", "float32"),
        Feature("hour", "int64"),
        Feature("paid", "int64"),
        Feature("kind", "string"),
        Feature("image", "string"),
        Feature("history", "float32", (2,)),
        Feature("codes", "int64", (2,)),
    ]
    made = run("return dict(inputs)", table, features)
    assert [Feature.from_json(value) for value in made.metadata["features"]] == sorted(
        features, key=lambda feature: feature.name
    )
    found = pq.read_table(made.path / "train" / "part-00000.parquet").to_pydict()
    assert repr(found) == repr(
        {
            "codes": [[1, 2], [-(2**63), -(2**63)], [3, -(2**63)]],
            "history": [[1.0, 2.0], [3.0, float("nan")], [float("nan"), float("nan")]],
            "hour": [-(2**63), 7, -(2**62)],
            "image": [b"\xff\x00\n", b"", b"\x89PNG"],
            "kind": ["ä".encode(), b"", b""],
            "miles": [1.5, float("nan"), float("nan")],
            "paid": [1, -(2**63), 0],
        }
    )


def test_fill_missing_fills_every_dtype(run):
    made = run(
        "from edgeline.preprocessing import fill_missing\n"
        "defaults = {'miles': 0.5, 'kind': '?', 'hour': 24}\n"
        "return {name: fill_missing(inputs[name], value) for name, value in defaults.items()}"
    )
    assert pq.read_table(made.path / "train" / "part-00000.parquet").to_pydict() == {
        "hour": [1, 24, 3, 4],
        "kind": [b"a", b"?", b"b", b"a"],
        "miles": [1.0, 2.0, 0.5, 4.0],
    }


def test_vocabulary_entries_are_lines_whatever_their_bytes(run, tmp_path):
    from edgeline.components.transform.saved_graph import vocabulary

    kinds = pa.array([b"a\x0bb\xe2\x80\xa8c", b"a\x0bb\xe2\x80\xa8c", b"\xff", b"z z"], pa.binary())
    body = "return {'k': tft.compute_and_apply_vocabulary(inputs['k'], vocab_filename='k')}"
    made = run(body, pa.table({"k": kinds}), [Feature("k", "string")])
    column = pq.read_table(made.path / "train" / "part-00000.parquet")["k"].to_pylist()
    entries = vocabulary(tmp_path / "graph", "k")
    assert len(entries) == 3
    assert [entries[index] for index in column] == [
        "a\x0bb\u2028c",
        "a\x0bb\u2028c",
        "\\xff",
        "z z",
    ]
    assert r"\xff" in (tmp_path / "report.html").read_text()
    with pytest.raises(EdgelineError, match="no vocabulary 'label', only k"):
        vocabulary(tmp_path / "graph", "label")


def test_a_cache_in_a_store_is_refused(run):
    with pytest.raises(EdgelineError, match="s3://bucket/cache, and the cache is a folder: give"):
        run("return {'x': inputs['hour']}", analyzer_cache="s3://bucket/cache")


def test_a_damaged_cache_is_learnt_anew(run, tmp_path):
    cache = tmp_path / "cache"
    body = "return {'x': tft.scale_to_0_1(inputs['hour'])}"
    first = run(body, analyzer_cache=str(cache))
    stored = [file for file in cache.rglob("*") if file.is_file() and file.suffix == ".gz"]
    assert stored
    stored[0].write_bytes(stored[0].read_bytes()[:-9])
    shutil.rmtree(tmp_path / "graph")
    again = run(body, analyzer_cache=str(cache))
    assert again.digest == first.digest
    graph = artifacts.read(tmp_path / "graph", "transform_graph/v1")
    assert graph.metadata["rows_analyzed"] == len(TRIPS["miles"])
