"""Each kind of mistake is told before any task, with its name and the way out; all at once."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import edgeline
from edgeline import preflight
from edgeline.client.compiling import compile_pipeline
from edgeline.components.settings.fields import defaults_of
from edgeline.components.settings.objects import FORMS
from edgeline.errors import UsageError
from edgeline.pipelines import catalogue
from edgeline.pipelines.parameters import check, parameters_of
from edgeline.preflight.given import GivenRun
from edgeline.starter import make_example

DEVICE = {"site": "git+https://git.acme.dev/a/b.git//press", "form": "compose"}
DEFAULTS = {
    name: value
    for fields in defaults_of(FORMS["tabular"]).values()
    for name, value in fields.items()
}


@pytest.fixture(scope="module")
def wine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("preflight")
    make_example(folder / "wine", "wine")
    return folder


@pytest.fixture
def faults(wine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The mistakes of a run of the wine, with some parameters changed."""
    monkeypatch.chdir(wine)

    def ask(**changed: Any) -> list[str]:
        given = {
            **DEFAULTS,
            "data": "wine/wine.csv",
            "module": "wine/wine.py",
            "label": "kind",
            "label_vocabulary": "kind",
            "model_name": "wine",
            "destination": str(tmp_path),
        }
        run = GivenRun(
            {**given, **changed}, frozenset(changed), here=True, in_images=False, root=tmp_path
        )
        return preflight.faults(run)

    return ask


def metrics(*specs: dict[str, Any]) -> dict[str, Any]:
    return {"metrics_specs": [{"metrics": list(specs)}]}


def test_a_run_without_mistakes_is_not_refused(faults: Any) -> None:
    assert faults() == []
    assert faults(data="s3://bucket/wine.csv", module="s3://bucket/wine.py") == []
    assert (
        faults(eval_config=metrics({"className": "AUC"}, {"class_name": "X", "module": "m"})) == []
    )


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"a.csv": ""}, "Parameter data: a.csv is empty: give data with at least one row."),
        (
            {"a.csv": "\ufeff\n\n"},
            "Parameter data: a.csv is empty: give data with at least one row.",
        ),
        (
            {"a.csv": "x,y\n1,2\n", "b.csv": "", "c.csv": ""},
            "Parameter data: b.csv and 1 more are empty: replace what is empty, or leave it out.",
        ),
        ({"a.jsonl": "", "b.jsonl": ""}, "a.jsonl and 1 more are empty: give data with at least"),
        ({"a.csv": "x,y\n"}, "Parameter data: a.csv has no row: give data with at least one."),
    ],
)
def test_data_without_a_row_is_told(
    faults: Any, tmp_path: Path, files: dict[str, str], said: str
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text, "utf-8")
    told = faults(data=",".join(str(tmp_path / name) for name in files), batch_size=1)
    assert [sentence for sentence in told if said in sentence]


def test_a_part_without_a_row_may_be_empty(faults: Any, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"x": 1}\n')
    (tmp_path / "b.jsonl").write_text("")
    told = faults(data=f"{tmp_path}/a.jsonl,{tmp_path}/b.jsonl")
    assert not [sentence for sentence in told if "empty" in sentence]


@pytest.mark.parametrize("name", ["taxi", "digits"])
def test_the_pipelines_that_come_with_edgeline_have_none(name: str) -> None:
    parameters = parameters_of(catalogue.load(name))
    run = preflight.of_parameters(parameters, {}, here=True, in_images=False)
    assert run is not None and run.module is not None and run.header is not None
    assert preflight.faults(run) == []


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        (
            {"label": "knd"},
            "label: preprocessing_fn of wine/wine.py returns no 'knd'. Did you mean",
        ),
        ({"label_vocabulary": "knd"}, "makes no vocabulary 'knd'. Did you mean kind?"),
        (
            {"windows": {"size": 3, "time": "proline", "columns": ["alcohol"]}},
            "a hash of each window would put windows that share rows into several splits",
        ),
        (
            {
                "windows": {"size": 3, "time": "prolin", "columns": ["alcohol"]},
                "split_by": {"time": "proline"},
            },
            "windows['time'] names a column 'prolin', which wine.csv lacks. Did you mean",
        ),
        ({"split_key": "Id"}, "split_key names a column 'Id', which wine.csv lacks."),
        ({"column_types": {"Kind": "string"}}, "column_types names 'Kind', which wine.csv lacks"),
        ({"images": {"picture": [8, 8, 1]}}, "images names a column 'picture', which wine.csv"),
        ({"never_missing": ["color"]}, "never_missing lists 'color', which wine.csv lacks. Did"),
        ({"workers": 3}, "'batch_size' is 40, which 3 workers cannot share equally: give a mult"),
        ({"workers": 2, "jit_compile": True}, "'jit_compile' is set with 2 workers, but XLA"),
        ({"batch_size": 179}, "batch_size is 179, but the data has at most 178 rows"),
        ({"split_ratios": {"train": 1}}, "split_ratios has no eval: give that split a weight"),
        ({"data": "wine/none.csv"}, "Parameter data: wine/none.csv names no file: check the path"),
        ({"data": "wine/wine.py"}, "Parameter data: wine.py has an ending that tells no format"),
        (
            {"data": "wine/wine.csv#sha256=12"},
            "'12' after wine/wine.csv#sha256= is no sha256 of 64",
        ),
        (
            {"module": "wine/wine.py#sha-256=12"},
            "'#sha-256=' in wine/wine.py#sha-256=12 is not a pin",
        ),
        ({"module": "wine/none.py"}, "Parameter module: wine/none.py names no file"),
        ({"module": "wine.none"}, "Parameter module: Module 'wine.none' cannot be found: give"),
        ({"baseline_model_uri": "none"}, "baseline_model_uri: none does not exist: check the path"),
        ({"destination": "wine/wine.csv"}, "wine/wine.csv is a file: name another folder"),
        ({"targets": ["edgtpu"]}, "targets: 'edgtpu' is not one of litert"),
        ({"sites": [{"site": "cluster://edge"}]}, "sites are given, but no models_repository"),
        (
            {
                "sites": [{**DEVICE, "accelerator": "coral-usb"}],
                "models_repository": "ghcr.io/acme/models",
            },
            "deploy the published bundle for edgetpu with `edgeline site commit` or `apply`",
        ),
        (
            {
                "sites": [{**DEVICE, "port": 0}],
                "models_repository": "ghcr.io/acme/models",
            },
            "sites, entry 1: The port 0 is not one: give an integer from 1 to 65535",
        ),
        (
            {
                "sites": [{"site": "cluster://edge", "form": "kserve"}],
                "models_repository": "ghcr.io/acme/models",
                "model_name": "a" * 49,
            },
            "-predictor-edge has 64 characters, and 63 are allowed: shorten model_name",
        ),
        (
            {"decision_goal": "recall=0.9", "task": "binary_classification"},
            "decision_goal is 'recall=0.9', which is not a goal: give f1, recall>=0.9",
        ),
        (
            {"decision_goal": "f1", "task": "multiclass_classification"},
            "decision_goal is 'f1', but the model's task is multiclass_classification, which has",
        ),
        (
            {"weight_column": "weight"},
            "weight_column names a column 'weight', which wine.csv lacks",
        ),
        (
            {"weight_column": "proline"},
            "preprocessing_fn reads 'proline', which is weight_column, so no model gets it: leave",
        ),
        (
            {"eval_config": {"modelSpecs": [{"exampleWeightKey": "weight"}]}},
            "eval_config.model_specs[0].exampleWeightKey names a column 'weight', which wine.csv",
        ),
        (
            {"eval_config": {"model_specs": [{"example_weight_keys": {"tips": "proline"}}]}},
            "model_specs[0].example_weight_keys weighs an output 'tips', but a model has one, 'pre",
        ),
        (
            {"eval_config": {"slicing_specs": [{"feature_keys": ["color"]}]}},
            "eval_config.slicing_specs[0] names a column 'color', which wine.csv lacks. Did you",
        ),
        (
            {
                "eval_config": metrics(
                    {
                        "class_name": "AUC",
                        "per_slice_thresholds": [
                            {"slicing_specs": [{"feature_values": {"no": "1"}}]}
                        ],
                    }
                )
            },
            "metrics[0].per_slice_thresholds[0].slicing_specs[0] names a column 'no', which wine",
        ),
        (
            {"eval_config": {"slicing_spec": []}},
            "eval_config.slicing_spec: there is no such field. Did you mean slicing_specs?",
        ),
        ({"card": {"data": "x" * 1201}}, "card has 1201 characters, and a run's workflow has room"),
        (
            {"eval_config": metrics({"class_name": "Bleu"})},
            "eval_config.metrics_specs[0].metrics[0].class_name 'Bleu' is not computed. Those that",
        ),
        (
            {"eval_config": metrics({"class_name": "Precision", "config": '"top_k": 1'})},
            "metrics[0].config.top_k of Precision is computed by TFMA on Beam only: remove it",
        ),
        (
            {"eval_config": {"metrics_specs": [{"binarize": {"class_ids": {"values": [1]}}}]}},
            "eval_config.metrics_specs[0].binarize is computed by TFMA on Beam only: remove it",
        ),
    ],
)
def test_a_mistake_in_a_parameter(faults: Any, changed: dict[str, Any], sentence: str) -> None:
    found, *others = faults(**changed)
    assert sentence in found
    assert not others or "is not a pin" in sentence  # that a pin is part of the name follows


def test_a_pull_request_that_could_not_be_opened_is_told_before_the_training(
    faults: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = {"site": "git+https://git.acme.dev/a/b.git//north?pull_request=gitea"}
    given = {"sites": [site], "models_repository": "ghcr.io/acme/models"}
    monkeypatch.delenv("GIT_TOKEN", raising=False)
    (fault,) = faults(**given)
    assert fault == "sites, entry 1: a pull request is opened with a token: set GIT_TOKEN to it."
    monkeypatch.setenv("GIT_TOKEN", "secret")
    assert faults(**given) == []


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ('"proline"', '"prolin"', ":12: preprocessing_fn reads 'prolin', which wine.csv lacks"),
        ("def build_model(", "def make_model(", "has no function build_model: add it"),
        ("import keras\n", "import kras\n", "imports kras, which is not installed here"),
        ("from edgeline.", "from .edgeline.", "is for a module in a package: give the folder"),
        ("return model", "return model)", "line 33 is not Python (unmatched ')'): fix it"),
        (
            "    hidden = keras.layers.Dense(h",
            '    features["kind"]\n    hidden = keras.layers.Dense(h',
            "build_model reads the feature 'kind', which preprocessing_fn does not return beside",
        ),
        ('.get("units", 16)', '["units"]', "build_model reads the hyperparameter 'units'"),
        (
            "(features, hyperparameters)",
            "(features)",
            ":20: build_model cannot be called as build_model(features, hyperparameters)",
        ),
        (
            "(inputs)",
            "(inputs, *, scale)",
            ":6: preprocessing_fn cannot be called as preprocessing_fn(inputs)",
        ),
        ("    return outputs", "    outputs", ":6: preprocessing_fn returns nothing: return"),
        ("import fill_missing", "import fill_mising, fill_missing", "imports fill_mising from"),
    ],
)
def test_a_mistake_in_the_module(
    faults: Any, wine: Path, tmp_path: Path, before: str, after: str, sentence: str
) -> None:
    source = (wine / "wine" / "wine.py").read_text()
    assert before in source
    (tmp_path / "mine.py").write_text(source.replace(before, after, 1))
    (found,) = faults(module=str(tmp_path / "mine.py"))
    assert sentence in found and "mine.py" in found


def test_a_name_that_a_module_beside_it_does_not_have(
    faults: Any, wine: Path, tmp_path: Path
) -> None:
    source = (wine / "wine" / "wine.py").read_text()
    (tmp_path / "mine.py").write_text(f"from helper import low, HIGH\n{source}")
    (tmp_path / "helper.py").write_text("if True:\n    HIGH = 3\n\ndef lower(): ...\n")
    (found,) = faults(module=str(tmp_path / "mine.py"))
    assert found.endswith(
        "mine.py:1 imports low from helper, which does not have it: correct the name."
    )
    (tmp_path / "helper.py").write_text("HIGH = 3\n\ndef __getattr__(name): ...\n")
    assert faults(module=str(tmp_path / "mine.py")) == []


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (
            metrics({"class_name": "AUC"}),
            "eval_config.metrics_specs[0].metrics[0].class_name 'AUC' is not for "
            "multiclass_classification, whose metrics are ExampleCount, WeightedExampleCount,",
        ),
        (
            metrics(
                {
                    "class_name": "SparseCategoricalAccuracy",
                    "threshold": {"valueThreshold": {"lower_bnd": 0.5}},
                }
            ),
            "value_threshold.lower_bnd: there is no such field. Did you mean lower_bound?",
        ),
        (
            'metrics_specs { metrics { class_name: "AUCC" } }',
            "eval_config: class_name 'AUCC' is not computed. Did you mean AUC?",
        ),
    ],
)
def test_a_mistake_in_eval_config(faults: Any, config: Any, sentence: str) -> None:
    (found,) = faults(eval_config=config, task="multiclass_classification")
    assert sentence in found


def test_a_compiler_that_is_not_installed(faults: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    (found,) = faults(targets=["edgetpu"])
    assert "Target edgetpu: edgetpu_compiler is not on the PATH" in found


def test_a_destination_whose_devices_see_signed_bundles_alone(faults: Any, tmp_path: Path) -> None:
    (tmp_path / "metadata").mkdir()
    (tmp_path / "metadata" / "1.root.json").write_text("{}")
    (found,) = faults()
    assert "is a signed repository" in found and "give signing_keys" in found
    assert faults(signing_keys="env:KEY") == []


def test_a_disk_that_is_too_small(faults: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10}))
    (found,) = faults()
    assert "0.0 GB free, and the examples of this data take at least" in found


def test_parquet_by_its_footer(faults: Any, tmp_path: Path) -> None:
    import pyarrow.csv
    import pyarrow.parquet as pq

    pq.write_table(pyarrow.csv.read_csv("wine/wine.csv"), tmp_path / "wine.parquet")
    data = str(tmp_path / "wine.parquet")
    assert faults(data=data) == []
    found = faults(data=data, split_key="Id", batch_size=179)
    assert [sentence.partition(" ")[0] for sentence in found] == ["split_key", "batch_size"]


def test_folders_of_a_table_are_columns(faults: Any, wine: Path, tmp_path: Path) -> None:
    place = tmp_path / "table" / "year=2024"
    place.mkdir(parents=True)
    (place / "wine.csv").write_bytes((wine / "wine" / "wine.csv").read_bytes())
    assert faults(data=str(tmp_path / "table"), split_key="year") == []


def test_all_mistakes_are_told_at_once_and_nothing_runs(
    wine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(wine)
    client = edgeline.Client(root=str(tmp_path / "runs"), console=Console(file=io.StringIO()))
    with pytest.raises(UsageError, match=r"2 mistakes, and nothing has run:\n- .*knd.*\n- batch"):
        client.submit(
            "tabular",
            {"data": "wine/wine.csv", "module": "wine/wine.py", "label": "knd", "batch_size": 1000},
            model_name="wine",
            destination="models",
        )
    assert not (tmp_path / "runs").exists()


def test_compiling_tells_what_is_known_there(tmp_path: Path) -> None:
    output = str(tmp_path / "p.yaml")
    with pytest.raises(UsageError, match=r"class_name 'Bleu' is not computed.*AUC, "):
        setting = 'eval_config={"metrics_specs": [{"metrics": [{"class_name": "Bleu"}]}]}'
        compile_pipeline("tabular", output, settings=(setting,))
    with pytest.raises(UsageError, match="returns no 'knd'"):
        compile_pipeline("taxi", output, settings=("label=knd",))
    elsewhere = ("data=/mnt/none.csv", "module=/mnt/none.py", "hyperparameters={}")
    compile_pipeline("tabular", output, settings=elsewhere)


def test_a_server_is_not_asked_for_a_run_that_cannot_succeed() -> None:
    from edgeline.client.server import Server

    client = edgeline.Client()
    client.backend = Server(None, "", Console(file=io.StringIO()))
    with pytest.raises(UsageError, match="returns no 'knd'"):
        client.submit("taxi", label="knd")


def test_neither_tensorflow_nor_kfp_is_imported() -> None:
    source = (
        "import sys\nfrom edgeline import preflight\n"
        "from edgeline.preflight.given import GivenRun\n"
        "values = {'data': 'package://edgeline.pipelines.taxi/taxi.csv', 'label': 'big_tip',\n"
        "  'module': 'edgeline.pipelines.taxi.module', 'batch_size': 40, 'destination': 'models'}\n"
        "assert preflight.faults(GivenRun(values, here=True, in_images=False)) == []\n"
        "print({'tensorflow', 'kfp', 'pyarrow', 'numpy'} & set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr


def given(folder: Path, data: Path, made: str) -> dict[str, Any]:
    """Some data, and a module whose features are an expression of the inputs."""
    module = folder / "own.py"
    module.write_text(
        f"def preprocessing_fn(inputs):\n    return {made}\n"
        "def build_model(features, hyperparameters):\n    return features\n"
    )
    own = {"data": str(data), "module": str(module)}
    return {**own, "batch_size": 1, "label_vocabulary": ""}


def test_columns_are_those_that_ingest_gives(faults: Any, tmp_path: Path) -> None:
    table = tmp_path / "table.tsv"
    table.write_text("alcohol (%)\t colour \tkind\n1.5\tred\tclass_0\n")
    own = given(
        tmp_path, table, "{'a': inputs['alcohol'], 'kind': inputs['kind'], 'c': inputs['colour']}"
    )
    assert faults(**own, rename={"alcohol (%)": "alcohol"}) == []
    (missing,) = faults(**own)
    assert "reads 'alcohol', which table.tsv lacks" in missing
    (left_out,) = faults(**own, rename={"alcohol (%)": "alcohol"}, columns={"colour": False})
    assert "reads 'colour', which table.tsv lacks" in left_out
    unknown = faults(**own, rename={"alcohol (%)": "alcohol", "kin": "kind"})
    assert "rename names a column 'kin', which table.tsv lacks" in unknown[0]


def test_data_of_another_module_is_said_in_one_line(faults: Any, tmp_path: Path) -> None:
    table = tmp_path / "other.csv"
    table.write_text("a,b\n1,2\n")
    (other,) = [each for each in faults(data=str(table)) if "preprocessing_fn reads" in each]
    assert "which other.csv lacks: is this the data that the module is for?" in other


def test_what_a_pretrained_model_takes_is_no_column() -> None:
    parameters = parameters_of(catalogue.load("pretrained"))
    picture = Path(__file__).parents[1] / "data" / "coral" / "parrot.jpg"
    values = {"source": "m.tflite", "data": str(picture), "rename": {"input": "image"}}
    given = check(values, parameters)
    run = preflight.of_parameters(parameters, given, here=True, in_images=False)
    assert run is not None and run.header is not None
    assert not [each for each in preflight.faults(run) if "rename" in each]


def test_the_folders_above_one_file_are_columns(faults: Any, tmp_path: Path) -> None:
    table = tmp_path / "kind=class_0" / "part.csv"
    table.parent.mkdir()
    table.write_bytes("\ufeffa,a.b\n1,2\n".encode())
    own = given(tmp_path, table, "{'b': inputs['a.b'], 'kind': inputs['kind']}")
    assert faults(**own) == []
    assert faults(**own, columns={"a": False}, encoding="u8") == []


def test_a_struct_of_a_parquet_file_is_its_fields(faults: Any, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    place = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"place": [{"zone": 1, "row": 2}], "kind": ["class_0"]}), place)
    own = given(tmp_path, place, "{'zone': inputs['place.zone'], 'kind': inputs['kind']}")
    assert faults(**own) == []
    (left_out,) = faults(**own, columns={"place": False})
    assert "reads 'place.zone', which rows.parquet lacks" in left_out


def test_a_fixed_schema_is_read_for_columns_and_environments(faults: Any, tmp_path: Path) -> None:
    place = tmp_path / "schema.pbtxt"
    place.write_text(
        """default_environment: "TRAINING"
        feature {name: "alcohol" type: FLOAT presence {min_count: 1}}
        feature {name: "price" type: FLOAT}
        feature {name: "age" type: INT lifecycle_stage: PLANNED presence {min_count: 1}}
        feature {name: "shop" type: BYTES presence {min_count: 1} not_in_environment: "TRAINING"}"""
    )
    uri = str(place)
    assert faults(schema_uri=uri, environment="TRAINING") == []
    (absent,) = faults(schema_uri=uri)
    assert absent.startswith("The schema of schema_uri asks for a column 'shop', which wine.csv")
    (unknown,) = faults(schema_uri=uri, environment="TRANING")
    assert "'TRANING', which the schema does not know. Did you mean TRAINING?" in unknown
    (alone,) = faults(environment="TRAINING")
    assert "an inferred schema has no environments" in alone
    place.write_text("feature {")
    (damaged,) = faults(schema_uri=uri)
    assert "is not a readable tensorflow_metadata Schema" in damaged


def test_a_json_object_is_its_fields(faults: Any, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"at": null, "n": 1}\n{"at": {"lon": 8, "to": {"x": 1}}}\n')
    asked = {"data": str(tmp_path / "a.jsonl"), "module": "s3://bucket/m.py", "batch_size": 1}
    assert faults(**asked, split_key="at.to.x", columns={"at": False}) == []
    assert any("'at'" in each for each in faults(**asked, split_key="at"))


def test_a_database_needs_a_query(faults: Any, tmp_path: Path) -> None:
    (tmp_path / "shop.db").touch()
    module = "s3://bucket/m.py"
    for data in (str(tmp_path / "shop.db"), "postgresql://me@db/shop"):
        (said,) = faults(data=data, module=module)
        assert said.startswith("Parameter query: data is a database: say which rows")
        assert faults(data=data, module=module, query="SELECT 1") == []


def test_a_password_never_reaches_a_server(faults: Any) -> None:
    (said,) = faults(data="postgresql://me:hidden@db/shop", query="SELECT 1")
    assert "has the password of postgresql://db/shop" in said
    assert "hidden" not in said


def test_columns_whose_lists_differ_in_length(faults: Any) -> None:
    assert any("lengths names a column 'nothing'" in s for s in faults(lengths={"nothing": 3}))


def test_each_candidate_is_asked_for_what_is_its_own(faults: Any, wine: Path) -> None:
    (wine / "asks.py").write_text(
        (wine / "wine" / "wine.py").read_text().replace('.get("units", 16)', '["units"]')
    )
    (wine / "half.py").write_text("def preprocessing_fn(inputs):\n    return inputs\n")
    tried: list[dict[str, Any]] = [{"name": "small"}, {"name": "ripe"}]
    tried[1]["rows"] = {"column": "alcohol", "from": 12}
    given = {"choose_by": "", "direction": "", "tie": "first", "tie_within": 0.0}
    assert faults(candidates=tried, **given) == []
    # the run's own hyperparameters count only where a candidate has none
    good = [{"name": "wide", "hyperparameters": {"units": 3}}]
    assert faults(candidates=good, module="asks.py", **given) == []
    tried[1]["rows"]["column"] = "alcohole"
    wrong = [
        *tried,
        {"name": "half", "module": "half.py"},
        {"name": "gone", "module": "gone.py"},
        {"name": "asks", "module": "asks.py"},
        {"name": "pinned", "module": "half.py#sha256=12"},
    ]
    said = "\n".join(faults(candidates=wrong, **given))
    for part in (
        "Candidate ripe: rows names the column 'alcohole', which the data do not have. Did you",
        "Candidate half: half.py has no function build_model",
        "Candidate gone: Parameter module: ",
        "Candidate asks: asks.py:",
        "Candidate pinned: Parameter module: '12' after half.py#sha256= is no sha256",
    ):
        assert part in said, said
    assert "small" not in said
    [one] = faults(candidates=[{"name": "a", "step": 3}], **given)
    assert one.startswith("Parameter training.candidates[0].step: there is no such field")


TUNED = {
    name: value for fields in defaults_of(FORMS["tuned"]).values() for name, value in fields.items()
}
SEARCHED = """
from wine import preprocessing_fn

def build_model(features, hyperparameters):
    return hyperparameters["units"]
"""


def test_a_search_that_cannot_succeed_is_told_before_it(faults: Any, tmp_path: Path) -> None:
    space = {"units": {"choices": [8, 16]}}
    task = "multiclass_classification"
    asked = {**TUNED, "task": task, "search_space": space}
    assert faults(**asked) == []
    [sentence] = faults(**{**asked, "objectives": ["auc"]})
    assert sentence.startswith("Parameter training.objectives[0] is 'auc', which nothing measures")
    [sentence] = faults(
        **{**asked, "objectives": ["tflite-micro.arena_bytes"]} | {"quantisation": "dynamic"}
    )
    assert "set quantisation=int8" in sentence
    [sentence] = faults(**{**asked, "search_space": {}})
    assert "has no function search_space, and search_space is not given" in sentence
    own = tmp_path / "own.py"
    own.write_text(
        SEARCHED.replace(
            "from wine import preprocessing_fn",
            "def preprocessing_fn(inputs):\n    return {**inputs}",
        )
    )
    known = {**asked, "module": str(own), "label_vocabulary": ""}
    assert faults(**known) == []
    missing, unread = faults(**{**known, "search_space": {"unit": {"low": 1, "high": 4}}})
    assert "build_model reads the hyperparameter 'units'" in missing
    assert unread.startswith("search_space has the hyperparameter 'unit', which build_model of ")
    assert unread.endswith(
        "own.py never reads: correct the name, or leave it out. Did you mean units?"
    )
    own.write_text(own.read_text() + "def search_space(trial, more):\n    pass\n")
    [sentence] = faults(**{**known, "search_space": {}})
    assert "search_space cannot be called as search_space(trial)" in sentence


def test_packages_that_the_training_lacks_are_told_with_their_extra_or_where_they_are_to_be_had(
    faults: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lacking = {"tensorflow_transform", "ai_edge_litert"}
    monkeypatch.setattr(
        "edgeline.preflight.packages.find_spec", lambda name: None if name in lacking else sys
    )
    assert faults() == [
        "Training needs tensorflow_transform, ai_edge_litert, which are not installed: pip install "
        "'edgeline[compile]'."
    ]
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    [said] = faults()
    assert said.startswith("Training needs Linux on x86-64, as tfx-bsl has no wheel")
    lacking.clear()
    assert faults() == []
