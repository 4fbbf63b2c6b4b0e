"""The whole step: what it writes, how it fails, and that it is light."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from edgeline import artifacts
from edgeline.components.validate import schema as schemas
from edgeline.components.validate import statistics as stats
from edgeline.components.validate.validate import ANOMALIES_SCHEMA
from edgeline.errors import EdgelineError


def test_taxi_is_valid_and_everything_is_written(taxi_examples, run, tmp_path):
    result = run(taxi_examples, on_anomalies="fail")
    assert result.valid
    assert result.schema == {"edgeline_schema": "schema/v1", "features": 18, "inferred": True}
    assert result.statistics["splits"] == {"eval": {"rows": 5001}, "train": {"rows": 10001}}
    computed = stats.read(str(tmp_path / "statistics"))
    assert [data.num_examples for data in computed.datasets] == [5001, 10001]
    short = json.loads((tmp_path / "statistics" / "statistics.json").read_text())
    assert short["train"]["features"]["fare"]["median"] == pytest.approx(7.85, abs=0.5)
    folder = artifacts.read(tmp_path / "anomalies", ANOMALIES_SCHEMA)
    assert set(folder.files) == {
        "anomalies.json",
        "train/anomalies.pbtxt",
        "eval/anomalies.pbtxt",
    }
    page = (tmp_path / "validation_report").read_text()
    assert page.count("<svg") >= 17
    assert not re.search(r'(src|href)="?http', page)


def test_a_second_run_writes_the_same_bytes(taxi_examples, run, tmp_path):
    def content():
        files = sorted(file for file in tmp_path.rglob("*") if file.is_file())
        return {str(file.relative_to(tmp_path)): file.read_bytes() for file in files}

    run(taxi_examples)
    first = content()
    run(taxi_examples)
    assert content() == first


def test_the_written_schema_and_statistics_serve_the_next_run(taxi, write_examples, run, tmp_path):
    train = write_examples(train=taxi)
    run(train)
    kept = (tmp_path / "schema").rename(tmp_path / "frozen")
    baseline = (tmp_path / "statistics").rename(tmp_path / "baseline")
    inputs = {"schema_uri": str(kept), "baseline_uri": str(baseline)}
    assert run(train, **inputs).valid
    fare = taxi.schema.get_field_index("fare")
    doubled = taxi.set_column(fare, "fare", pa.array([2 * x for x in taxi["fare"].to_pylist()]))
    result = run(write_examples(train=doubled), **inputs)
    assert not result.valid
    assert {a.feature for a in result.found if a.severity == "ERROR"} == {"fare"}
    assert "the baseline's train" in result.found[0].sentence


def test_fail_names_the_first_anomalies_after_all_is_written(write_examples, run, tmp_path):
    table = pa.table({"x": list(range(10)), "y": list(range(10))})
    extra = {name: list(range(10)) for name in "abcde"}
    data = write_examples(train=table, eval=pa.table({"x": list(range(10)), **extra}))
    with pytest.raises(EdgelineError) as raised:
        run(data, on_anomalies="fail")
    sentence = str(raised.value)
    assert "'a'" in sentence
    assert "and 3 more" in sentence
    assert "\n" not in sentence
    for name in ("statistics", "schema", "anomalies"):
        assert (tmp_path / name / "artifact.json").is_file()
    assert "SCHEMA_MISSING_COLUMN" in (tmp_path / "validation_report").read_text()
    assert not run(data, on_anomalies="flag").valid


def test_skew_between_the_splits(write_examples, run):
    train, other = pa.table({"s": ["a", "b"] * 500}), pa.table({"s": ["a", "a", "a", "b"] * 250})
    (found,) = run(write_examples(train=train, eval=other)).found
    assert (found.split, found.kind) == ("eval", "COMPARATOR_L_INFTY_HIGH")
    assert "from train by L-infinity 0.25" in found.sentence
    assert run(write_examples(train=train, eval=other), skew_threshold=0.25).valid


def test_an_empty_split_and_one_without_files(write_examples, run):
    table = pa.table({"x": list(range(1000))})
    (found,) = run(write_examples(train=table, eval=table.slice(0, 0))).found
    assert (found.split, found.kind) == ("eval", "DATASET_LOW_NUM_EXAMPLES")
    (found,) = run(write_examples(train=table, eval=[])).found
    assert (found.split, found.kind) == ("eval", "DATASET_LOW_NUM_EXAMPLES")
    with pytest.raises(EdgelineError, match=r"'train'.*no rows"):
        run(write_examples(train=table.slice(0, 0)))


def test_odd_columns_pass_through_the_report(write_examples, run, tmp_path):
    table = pa.table(
        {
            "<b>&": ["東京", "<script>"] * 5,
            "a.b": [[1.5, 2.5]] * 10,
            "null": pa.nulls(10),
            "nan": [float("nan")] * 10,
            "huge": [2**63 - 1, -(2**63)] * 5,
        }
    )
    result = run(write_examples(only=table))
    assert result.valid
    assert {(a.feature, a.kind) for a in result.found} == {
        ("null", "FEATURE_TYPE_NO_VALUES"),
        ("nan", "FLOAT_TYPE_HAS_NAN"),
    }
    page = (tmp_path / "validation_report").read_text()
    assert page.count("<script>") == 1  # its own
    assert "東京" in page
    names = [feature.name for feature in schemas.read_features(tmp_path / "schema")]
    assert names == ["<b>&", "a.b", "nan", "huge"]


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"on_anomalies": "ignore"}, "on_anomalies is 'ignore': give 'fail' or 'flag'"),
        ({"skew_threshold": 1.5}, "skew_threshold is 1.5"),
        ({"drift_threshold": float("nan")}, "drift_threshold is nan"),
        ({"schema_uri": "nowhere.pbtxt"}, "schema nowhere.pbtxt cannot be read"),
        ({"baseline_uri": "nowhere.pb"}, "statistics nowhere.pb cannot be read"),
    ],
)
def test_wrong_parameters_write_nothing(parameters, sentence, taxi_examples, run, tmp_path):
    with pytest.raises(EdgelineError, match=sentence):
        run(taxi_examples, **parameters)
    assert not list(tmp_path.iterdir())


def test_a_baseline_of_other_splits(write_examples, run, tmp_path):
    table = pa.table({"x": list(range(10))})
    run(write_examples(train=table))
    baseline = (tmp_path / "statistics").rename(tmp_path / "baseline")
    with pytest.raises(EdgelineError, match="has the splits train, the examples have all"):
        run(write_examples(all=table), baseline_uri=str(baseline))


def test_dates_are_refused_by_name(write_examples, run):
    dates = pa.table({"when": pa.array([1], pa.date32())})
    with pytest.raises(EdgelineError, match="'when' has type date32"):
        run(write_examples(train=dates))


def test_neither_tensorflow_nor_pandas_is_imported(taxi_examples, tmp_path):
    code = (
        "import sys\n"
        "from edgeline.components.validate.validate import validate\n"
        "data, out = sys.argv[1:]\n"
        "outputs = [out + '/' + n for n in ('statistics', 'schema', 'anomalies', 'report')]\n"
        "validate(data, *outputs)\n"
        "print(sorted({'tensorflow', 'pandas', 'matplotlib', 'kfp'} & set(sys.modules)))\n"
    )
    arguments = [sys.executable, "-c", code, str(taxi_examples.path), str(tmp_path)]
    result = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_the_face_runs_as_a_pipeline(taxi_examples, tmp_path):
    from kfp import dsl, local

    from edgeline.components.validate.component import validate

    uri = str(taxi_examples.path)

    @dsl.pipeline(name="validate-only")
    def pipeline():
        data = dsl.importer(artifact_uri=uri, artifact_class=dsl.Dataset, reimport=False)
        validate(examples=data.output)

    local.init(
        runner=local.SubprocessRunner(use_venv=False),
        pipeline_root=str(tmp_path / "root"),
        workspace_root=str(tmp_path / "workspace"),
    )
    pipeline()
    (report,) = (tmp_path / "root").rglob("validation_report")
    assert "Data validation" in report.read_text()
    assert Path(report.parent / "schema" / "features.json").is_file()
