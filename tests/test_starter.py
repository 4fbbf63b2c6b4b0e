"""`edgeline init`: the project is made whole or not at all, and its pipeline compiles.

`tests/end_to_end/test_readme.py` runs it.
"""

from __future__ import annotations

import ast
import contextlib
import csv
import gzip
import hashlib
import math
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import CliRunner

from edgeline.cli.init import _asked
from edgeline.cli.main import cli
from edgeline.client.compiling import compile_pipeline
from edgeline.errors import EdgelineError, UsageError
from edgeline.starter import PROBLEMS, make_example, make_project, make_project_of
from edgeline.starter.facts import read_table
from edgeline.starter.own_data import propose


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("work") / "cold-rooms"
    make_project(folder)
    return folder


def test_the_project_has_its_files_and_nothing_else_is_left(project):
    assert sorted(file.name for file in project.iterdir()) == [
        "README.md",
        "data.csv",
        "module.py",
        "pipeline.py",
        "requirements.yaml",
    ]
    assert [file.name for file in project.parent.iterdir()] == ["cold-rooms"]
    assert (project / "README.md").read_text().startswith("# cold-rooms\n")


def test_the_data_are_the_same_each_time_with_gaps_words_and_both_answers(project, tmp_path):
    make_project(tmp_path / "another")
    digests = {
        hashlib.sha256((folder / "data.csv").read_bytes()).hexdigest()
        for folder in (project, tmp_path / "another")
    }
    assert len(digests) == 1
    rows = list(csv.DictReader((project / "data.csv").open()))
    assert len(rows) == 600
    assert {row["compressor"] for row in rows} == {"scroll", "piston", "screw", ""}
    assert all(any(row[name] == "" for row in rows) for name in rows[0] if name != "fault")
    assert 0.2 < sum(row["fault"] == "yes" for row in rows) / 600 < 0.5


def test_init_says_what_to_do_next(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli, ["init", "wind"])
    assert result.exit_code == 0
    assert "cd wind && edgeline run pipeline.py" in result.output


@pytest.mark.parametrize(
    ("example", "files"),
    [
        ("wine", {"wine.csv", "wine.py"}),
        ("pictures", {"digits.keras", "digits.tflite", "pictures"}),
        ("schedules", {"schedules.yaml"}),
    ],
)
def test_an_example_has_its_files(tmp_path, example, files):
    make_example(tmp_path / "mine", example)
    assert {file.name for file in (tmp_path / "mine").iterdir()} == files
    assert [entry.name for entry in tmp_path.iterdir()] == ["mine"]
    if example == "pictures":
        assert len(list(tmp_path.glob("mine/pictures/[0-9]/*.png"))) == 100


@pytest.mark.parametrize(
    "file", ["edgeline/starter/pictures/digits.keras", "tests/data/small.keras"]
)
def test_a_keras_file_has_no_setting_that_the_keras_for_python_3_10_refuses(file):
    with zipfile.ZipFile(Path(__file__).parents[1] / file) as archive:
        config = archive.read("config.json").decode()
    assert not re.findall("input_axes|output_axes|quantization_config", config)


def made_of(folder, rows, label):
    """A project of CSV that compiles: what was said, its module's and its pipeline's text."""
    (folder / "rows.csv").write_text(rows)
    proposal = propose(read_table(str(folder / "rows.csv")), label)
    told = list(proposal.told())
    make_project_of(folder / "mine", proposal)
    module, pipeline = ((folder / "mine" / f"{n}.py").read_text() for n in ("module", "pipeline"))
    compile_pipeline(str(folder / "mine" / "pipeline.py"), str(folder / "mine.yaml"))
    return told, module, pipeline


def test_a_project_of_own_data_has_features_and_thresholds_that_fit_the_label(tmp_path):
    lines = [f"{n},{n % 7}.5,{'ab'[n % 2]},same,{'yes' if n % 4 == 0 else 'no'}" for n in range(80)]
    told, module, pipeline = made_of(
        tmp_path, "\n".join(["id,sepal length (cm),kind/a,c,fault", *lines]), "fault"
    )
    assert told[0] == "fault is 'yes' in 25.0% of 80 rows."
    assert "id is left out: it has another whole number in each row, as an id has." in told
    assert "c is left out: it has the same value in each row." in told
    assert 'NUMBERS = {\n    "sepal length (cm)": ' in module and '"kind/a"' in module
    assert 'POSITIVE = "yes"' in module and "# left out: 'id'" in module
    found = {}
    exec(pipeline.partition("pipeline = ")[0], {"__file__": str(tmp_path)}, found)
    [spec] = found["EVALUATION"]["metrics_specs"]
    bounds = {m["class_name"]: m["threshold"] for m in spec["metrics"] if "threshold" in m}
    assert {n: b["value_threshold"] for n, b in bounds.items()} == {
        "AUC": {"lower_bound": 0.6},
        "BinaryAccuracy": {"lower_bound": 0.75},  # as always saying no has
    }
    assert "Proposals of `edgeline init`" in pipeline


@pytest.mark.parametrize(
    ("labels", "said", "proposed"),
    [
        (
            ["1"] + ["0"] * 39,
            "1 in 2.5% of 40 rows",
            "Proposed: AUCPrecisionRecall, a score at random",
        ),
        (["a", "b", "c", "c"] * 10, "one of 3 classes, the commonest 50.0%", "commonest class has"),
        ([f"{n}.25" for n in range(40)], "a number, 19.75 on average with a", "the mean has 11.54"),
    ],
)
def test_thresholds_are_no_more_than_a_constant_answer_has(tmp_path, labels, said, proposed):
    rows = "\n".join(["x,y", *(f"{n % 9},{label}" for n, label in enumerate(labels))])
    told, _, _ = made_of(tmp_path, rows, "y")
    assert said in told[0]
    assert any(proposed in sentence for sentence in told)


@pytest.mark.parametrize("label", ["y", "kind"])
def test_what_the_data_are_called_and_hold_is_no_code_in_what_is_written(tmp_path, label):
    """A quoted header, a value and a file's name may hold lines of Python."""
    written = {}
    for code in ("", '\nimport os; os.ran = True\n"""\\\u202e'):
        folder = tmp_path / f"of {len(code)}"
        folder.mkdir()
        data = folder / f"rows{code.replace('/', '')}.csv"
        header = [f"{name}{code}" for name in ("y", "copy", "same", "word", "x", "kind")]
        with data.open("w", newline="") as stream:
            rows = csv.writer(stream)
            rows.writerow(header)
            for n in range(60):
                words = f"w{n % 3}{code}", n * 37 % 11 / 4, f"{'ny'[n % 4 == 0]}{code}"
                rows.writerow([n * n + 0.5, 3 * n * n + 1.5, f"one{code}", *words])
        proposal = propose(read_table(str(data)), f"{label}{code}")
        make_project_of(folder / "mine", proposal)
        for name in ("module.py", "pipeline.py"):
            text = (folder / "mine" / name).read_text()
            tree = ast.parse(text)
            kinds = [type(each).__name__ for each in ast.walk(tree) if isinstance(each, ast.stmt)]
            assert kinds == written.setdefault(name, kinds)
            assert "\u202e" not in text
            if name == "module.py":
                assert f"from the columns of {data.name}: a" in (
                    ast.get_docstring(tree, False) or ""
                )
                assert f"LABEL = {f'{label}{code}'!r}" == ast.unparse(tree.body[2])
        lines = (folder / "mine" / "README.md").read_text().splitlines()
        assert len(lines) == written.setdefault("README.md", len(lines))


def test_of_many_columns_those_of_a_kind_are_packed(tmp_path):
    names = [f"x{n}" for n in range(60)] + [f"n{n}" for n in range(50)] + ["kind", "y"]
    lines = [
        [f"{row % 7 + n / 8}" for n in range(60)] + [str((row * n) % 9) for n in range(1, 51)]
        for row in range(40)
    ]
    rows = [
        ",".join([*cells, "ab"[row % 2], "ny"[row % 3 == 0]]) for row, cells in enumerate(lines)
    ]
    _, module, _ = made_of(tmp_path, "\n".join([",".join(names), *rows]), "y")
    told = {}
    exec(compile(module, "module.py", "exec"), told)
    assert list(told["NUMBERS"]) == names[:60] and told["NUMBERS"]["x8"] == pytest.approx(3.875)
    assert set(told["WHOLE_NUMBERS"]) < set(names[60:110]) and told["WORDS"] == ["kind"]
    assert sorted(file.name for file in (tmp_path / "mine").iterdir()) == [
        "README.md",
        "module.py",
        "pipeline.py",
        "requirements.yaml",
    ]


@pytest.mark.parametrize(
    ("rows", "label", "said"),
    [
        ("x,y\n1,2\n3,4\n", "z", "has no column 'z'. There are x, y"),
        ("x,y\n1,a\n3,\n", "y", "Column 'y' is missing in 1 of 2 rows, row 2 of the data first"),
        ("x,y\n1,a\n3,a\n", "y", "Column 'y' has the same value in each row"),
        ("x,y\n" + "".join(f"1,a{n}\n" for n in range(101)), "y", "too many to be classes"),
        ("y\na\nb\n", "y", "has no column that is a feature beside 'y'"),
    ],
)
def test_data_that_make_no_project_are_refused(tmp_path, rows, label, said):
    with pytest.raises(EdgelineError) as raised:
        made_of(tmp_path, rows, label)
    assert said in str(raised.value)
    assert [entry.name for entry in tmp_path.iterdir()] == ["rows.csv"]


def rows_of(*columns):
    """Lines of CSV, each column its name and what gives a row's cell."""
    lines = [",".join(name for name, _ in columns)]
    return "\n".join([*lines, *(",".join(str(of(n)) for _, of in columns) for n in range(120))])


X = ("x", lambda n: (n * 37) % 11 / 4)
CLASS = ("kind", lambda n: "abc"[(n * 53) % 17 % 3])


def init(folder, monkeypatch, *given, data="rows.csv"):
    """What `edgeline init wind` says, and its pipeline's text; "" where it makes none."""
    monkeypatch.chdir(folder)
    result = CliRunner().invoke(cli, ["init", "wind", "--data", data, *given])
    said = result.output + (str(result.exception) if result.exception else "")
    pipeline = folder / "wind" / "pipeline.py"
    return said, pipeline.read_text() if pipeline.exists() else ""


def test_options_of_data_ask_for_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for given in (["--label", "y"], ["--task", "binary"], ["--leave-out", "id"]):
        result = CliRunner().invoke(cli, ["init", "wind", *given])
        assert "are about --data: give it, too" in str(result.exception)
    result = CliRunner().invoke(cli, ["init", "wind", "--data", "a", "--example", "wine"])
    assert "Give --data or --example, not both" in str(result.exception)


@pytest.mark.parametrize(
    ("text", "told", "setting"),
    [
        ("x;kind\n" + "1,5;a\n2,5;b\n" * 30, "Numbers have a comma", '"decimal": ","'),
        ("x;kind\n" + "1.234,5;a\n2,5;b\n?;b\n" * 30, "have points between", '"thousands": "."'),
        ("x;kind\n" + "1,234;a\n2,567;b\n" * 30, "Numbers have a comma", '"decimal": ","'),
        ('x,kind\n' + '"1,234",a\n12,b\n' * 30, "have commas between", '"thousands": ","'),
        ("x\tkind\n" + "1,234,567\ta\n2,567\tb\n" * 30, "have commas", '"thousands": ","'),
        ("x\tkind\n" + "1\ta\n2\tb\n" * 30, "separated by tabs", '"delimiter": "\\t"'),
        ("x,kind\n" + "1,a\nNA,b\n2,b\n" * 30, "count as missing: NA", '"null_values": ["", "NA"]'),
        (",x,kind\n" + "".join(f"{n},{n % 7},{'ab'[n % 2]}\n" for n in range(60)),
         "without a name counts the rows", '"columns": {"": False}'),
        ("x,share,kind\n" + "1,12%,a\n2,7.5%,b\n" * 30, "share (percent)", '"share": "percent"'),
    ],
)  # fmt: skip
def test_how_a_csv_file_is_written_is_told_and_stands_in_the_pipeline(
    tmp_path, monkeypatch, text, told, setting
):
    (tmp_path / "rows.csv").write_text(text)
    said, pipeline = init(tmp_path, monkeypatch, "--label", "kind")
    assert told in said and setting in pipeline


def test_a_comma_that_may_stand_before_a_fraction_or_thousands_is_not_guessed(
    tmp_path, monkeypatch
):
    (tmp_path / "rows.csv").write_text("x\tkind\n" + "1,234\ta\n2,567\tb\n" * 30)
    said, pipeline = init(tmp_path, monkeypatch, "--label", "kind")
    assert "60 of 60 cells are numbers with a comma" in said
    assert "decimal" not in pipeline and "thousands" not in pipeline


@pytest.mark.parametrize("form", ["utf-8-sig", "utf-16", "cp1252", "gz", "parquet"])
def test_files_of_other_encodings_and_forms_make_a_project(tmp_path, monkeypatch, form):
    text = 'größe,"two\nlines",kind\n' + '1,"a\nb",ä\n2,c,b\n' * 30
    if form == "parquet":
        table = pa.table({"größe": [1, 2] * 30, "kind": ["ä", "b"] * 30})
        pq.write_table(table, tmp_path / "rows.parquet")
    elif form == "gz":
        (tmp_path / "rows.csv").write_bytes(gzip.compress(text.encode()))
    else:
        (tmp_path / "rows.csv").write_text(text, form)
    data = "rows.parquet" if form == "parquet" else "rows.csv"
    said, pipeline = init(tmp_path, monkeypatch, "--label", "kind", data=data)
    assert "größe" in (tmp_path / "wind" / "module.py").read_text() and pipeline, said


def test_a_label_is_taken_by_its_name_or_asked_for(tmp_path, monkeypatch):
    (tmp_path / "rows.csv").write_text(rows_of(X, CLASS))
    said, pipeline = init(tmp_path, monkeypatch)
    assert "Name the column to predict with --label; of rows.csv it could be" in said
    assert "kind (3 classes), x (a number)" in said and not pipeline
    (tmp_path / "rows.csv").write_text(rows_of(("target", CLASS[1]), X))
    assert 'label="target"' in init(tmp_path, monkeypatch)[1]


def test_yes_takes_the_likeliest_label(tmp_path, monkeypatch):
    (tmp_path / "rows.csv").write_text(rows_of(X, CLASS))
    said, pipeline = init(tmp_path, monkeypatch, "--yes")
    assert "kind is one of 3 classes" in said and 'label="kind"' in pipeline


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ([("id", str), ("name", lambda n: f"n{n}")], "id has another value in each row; name has"),
        ([("when", lambda n: f"2026-01-{n % 28 + 1:02d}")], "when has dates or times"),
        ([("a", lambda _: 1)], "a has the same value in each row"),
    ],
)
def test_where_nothing_can_be_predicted_it_is_told_column_by_column(
    tmp_path, monkeypatch, columns, said
):
    (tmp_path / "rows.csv").write_text(rows_of(*columns))
    found, pipeline = init(tmp_path, monkeypatch, "--yes")
    assert "can be predicted" in found and said in found and not pipeline


def test_what_gives_the_label_away_is_named_and_left_out(tmp_path, monkeypatch):
    price = ("price", lambda n: 1.5 * n + n % 7)
    log = ("logprice", lambda n: math.log(1.5 * n + n % 7 + 1))
    (tmp_path / "rows.csv").write_text(rows_of(X, log, price))
    said, _ = init(tmp_path, monkeypatch, "--label", "price")
    assert "logprice is left out: it always rises with price in all of the 120 rows" in said
    module = (tmp_path / "wind" / "module.py").read_text()
    assert "MEAN, DEVIATION = " in module and "Rescaling(DEVIATION, MEAN)" in module


def test_rows_of_one_person_stay_together_and_rows_in_order_of_time_are_split_by_it(
    tmp_path, monkeypatch
):
    person = ("patient_id", lambda n: n // 4 + 1000)
    (tmp_path / "rows.csv").write_text(rows_of(person, X, CLASS))
    said, pipeline = init(tmp_path, monkeypatch, "--label", "kind")
    assert 'splits={"split_key": "patient_id"}' in pipeline
    assert "Rows with an equal patient_id are in one split" in said
    shutil.rmtree(tmp_path / "wind")
    hours = [f"2026-01-{n // 24 + 1:02d} {n % 24:02d}:00" for n in range(120)]
    for written in (hours, hours[::-1]):  # the latest last, and first
        when = ("when", written.__getitem__)
        (tmp_path / "rows.csv").write_text(rows_of(when, X, CLASS))
        said, pipeline = init(tmp_path, monkeypatch, "--label", "kind")
        assert 'splits={"split_by": {"time": "when"}}' in pipeline and "the latest third" in said
        assert 'TIMES = [\n    "when"' in (tmp_path / "wind" / "module.py").read_text()
        shutil.rmtree(tmp_path / "wind")


def test_an_index_and_a_name_that_rows_share_are_features(tmp_path, monkeypatch):
    air = ("air_quality_index", lambda n: 20 + n * 37 % 30)
    name = ("name", lambda n: f"n{n * 7 % 30}")
    row = ("row", lambda n: n * 7919 % 100_003)
    (tmp_path / "rows.csv").write_text(rows_of(air, name, row, X, CLASS))
    said, pipeline = init(tmp_path, monkeypatch, "--label", "kind")
    assert "split_key" not in pipeline and said.count("is left out") == 1
    assert "name is a feature, though its values repeat: if it says whose a row is" in said
    assert "row is left out: it has another whole number in each row, as an id has" in said


@pytest.mark.parametrize("step", [900, -900])
def test_a_quantity_by_which_rows_are_sorted_is_a_feature_and_numbers_in_turn_are_not(
    step, tmp_path, monkeypatch
):
    salary = ("salary", lambda n: 200_000 + n * step + n % 7)
    turn = ("turn", lambda n: 5_000 + n * 3 + n % 2)
    (tmp_path / "rows.csv").write_text(rows_of(salary, turn, X, CLASS))
    said, _ = init(tmp_path, monkeypatch, "--label", "kind")
    assert said.count("is left out") == 1 and "turn is left out: it has another whole" in said


def test_numbers_that_no_model_computes_with_are_left_out_or_refused(tmp_path, monkeypatch):
    for largest in (1e25, 1e200, 1.7e308):
        huge = ("huge", lambda n, size=largest: size * ((n % 7 + 1) / 7))
        (tmp_path / "rows.csv").write_text(rows_of(huge, X, CLASS))
        said, _ = init(tmp_path, monkeypatch, "--label", "kind")
        assert f"huge is left out: it has numbers as large as {largest:.3g}" in said
        shutil.rmtree(tmp_path / "wind")
        said, pipeline = init(tmp_path, monkeypatch, "--label", "huge", "--task", "regression")
        assert "scale it, or name another label" in said and not pipeline


def test_names_in_the_data_do_not_move_the_cursor(tmp_path, monkeypatch):
    names = [("a\x1b]0;owned\x07\x1b[2J", "same".format), ("b\u202e", "same".format)]
    (tmp_path / "rows.csv").write_text(rows_of(*names, X, CLASS))
    said, _ = init(tmp_path, monkeypatch, "--label", "kind")
    assert "\x1b" not in said and "\u202e" not in said
    assert r"a\x1b]0;owned\x07\x1b[2J is left out" in said and r"b\u202e is left out" in said


def test_a_column_called_as_what_is_made_loses_nothing(tmp_path, monkeypatch):
    hours = [f"2026-01-{n // 24 + 1:02d} {n % 24:02d}:00" for n in range(120)]
    made = ("when_hour_sin", lambda n: n * 31 % 17)
    (tmp_path / "rows.csv").write_text(rows_of(("when", hours.__getitem__), made, X, CLASS))
    said, pipeline = init(tmp_path, monkeypatch, "--label", "kind")
    assert "a column 'when_hour_sin', as a feature made of 'when'" in said and not pipeline
    many = [(f"x{at}", lambda n, at=at: n * (at + 3) % 17 / 4) for at in range(120)]
    label = ("numbers", CLASS[1])
    (tmp_path / "rows.csv").write_text(rows_of(*many, label))
    init(tmp_path, monkeypatch, "--label", "numbers")
    module = (tmp_path / "wind" / "module.py").read_text()
    assert 'PACKED = PACKED_NUMBERS, PACKED_WORDS = "numbers_", "words"' in module


def test_a_file_with_a_comma_in_its_name_is_refused(tmp_path, monkeypatch):
    (tmp_path / "x, y.csv").write_text(rows_of(X, CLASS))
    said, _ = init(tmp_path, monkeypatch, "--label", "kind", data="x, y.csv")
    assert "x, y.csv has a comma in its name" in said


def test_a_task_and_columns_can_be_said(tmp_path, monkeypatch):
    stars = ("stars", lambda n: (n * 37) % 11 % 5 + 1)
    (tmp_path / "rows.csv").write_text(rows_of(X, ("z", lambda n: n % 13), stars))
    given = ("--label", "stars", "--task", "regression", "--leave-out", "z")
    said, pipeline = init(tmp_path, monkeypatch, *given)
    assert '"task": "regression"' in pipeline and "z is left out: as you said." in said
    shutil.rmtree(tmp_path / "wind")
    said, _ = init(tmp_path, monkeypatch, "--label", "stars", "--task", "binary")
    assert "'stars' has 5 different values, and a binary classification has two" in said


def test_in_a_terminal_it_asks_and_takes_enter_for_what_it_proposes(tmp_path):
    (tmp_path / "rows.csv").write_text(rows_of(X, ("z", lambda n: n % 13), CLASS))
    terminal, there = os.openpty()
    command = [sys.executable, "-m", "edgeline", "init", "wind"]
    answers = {"begin with)": "~/rows.csv", "predicted? [kind]": "knid", "Did you mean kind?": ""}
    answers |= {"its task?": "", "between them": "z"}
    shown = ""
    home = {**os.environ, "HOME": str(tmp_path)}
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), there)
    with subprocess.Popen(command, cwd=tmp_path, env=home, **streams) as made:
        os.close(there)
        for prompt, answer in answers.items():
            while prompt not in shown or not shown.endswith(": "):
                shown += os.read(terminal, 4096).decode()
            os.write(terminal, f"{answer}\n".encode())
            shown = shown[shown.rfind(prompt) + len(prompt) :]
        with contextlib.suppress(OSError):  # it has ended
            while piece := os.read(terminal, 4096):
                shown += piece.decode()
    os.close(terminal)
    assert made.returncode == 0, shown
    assert "z is left out: as you said." in shown
    assert 'label="kind"' in (tmp_path / "wind" / "pipeline.py").read_text()


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("x,y\n" + "1,a\n3,b\n" * 4, "has 8 rows, too few to train and to evaluate"),
        ("x,y\n" + "1,a\n1,b\n" * 40, "has no column that is a feature beside 'y'"),
    ],
)
def test_where_no_answer_makes_a_project_nothing_is_asked(tmp_path, monkeypatch, rows, said):
    monkeypatch.setattr("click.prompt", lambda *_, **__: pytest.fail("it asks"))
    (tmp_path / "rows.csv").write_text(rows)
    with pytest.raises(EdgelineError, match=said):
        _asked(read_table(str(tmp_path / "rows.csv")))


def test_an_example_that_is_not_there_names_the_nearest(tmp_path):
    with pytest.raises(UsageError, match=r"no example 'whine'. Did you mean wine\?"):
        make_example(tmp_path / "mine", "whine")


def test_a_folder_that_exists_is_refused_and_kept(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(EdgelineError, match=r"mine exists already: give a new name"):
        make_project(tmp_path / "mine")
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("name", ["My Project", "Wind", "-x", "x-", "a" * 64, "a_b"])
def test_a_name_that_no_pipeline_can_have_is_refused(tmp_path, name):
    with pytest.raises(EdgelineError, match="cannot name a pipeline"):
        make_project(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_place_that_is_no_folder_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(EdgelineError, match=r"cannot be made .*choose another place"):
        make_project(tmp_path / "file" / "project")


def test_nothing_is_left_when_writing_fails(tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("edgeline.starter.write_readings", full)
    with pytest.raises(EdgelineError, match="No space left on device"):
        make_project(tmp_path / "wind")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("place", ["project", "above"])
def test_the_pipeline_compiles_with_data_beside_it(project, monkeypatch, tmp_path, place):
    inside = place == "project"
    monkeypatch.chdir(project if inside else project.parent)
    folder = "" if inside else "cold-rooms/"
    output = str(tmp_path / "compiled.yaml")
    result = CliRunner().invoke(cli, ["compile", f"{folder}pipeline.py", "-o", output])
    assert result.exit_code == 0, result.output
    spec = next(yaml.load_all((tmp_path / "compiled.yaml").read_text(), yaml.CSafeLoader))
    parameters = spec["root"]["inputDefinitions"]["parameters"]
    assert spec["pipelineInfo"]["name"] == "cold-rooms"
    assert parameters["data"]["defaultValue"] == f"{folder}data.csv"
    assert parameters["module"]["defaultValue"] == f"{folder}module.py"
    assert not [name for name, entry in parameters.items() if "defaultValue" not in entry]


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_ready_made_problem_compiles_and_its_data_are_the_same_each_time(tmp_path, name):
    for place in ("one", "two"):
        make_example(tmp_path / place, name)
    one, two = (
        {
            str(file.relative_to(tmp_path / place)): file.read_bytes()
            for file in (tmp_path / place).rglob("*")
            if file.is_file()
        }
        for place in ("one", "two")
    )
    assert one == two and {"pipeline.py", "module.py"} < one.keys()
    assert 10_000 < sum(map(len, one.values())) < 400_000
    compiled = compile_pipeline(str(tmp_path / "one" / "pipeline.py"), str(tmp_path / "p.yaml"))
    assert Path(compiled).is_file()
