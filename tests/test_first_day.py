"""What people get wrong on their first day: each is answered in a sentence, with the way out."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from cli_here import Edgeline, edgeline

__all__ = ["edgeline"]

ROWS = "".join(f"{n % 9},{n % 5},{'yes' if n % 3 else 'no'}\n" for n in range(60))
FILES = {
    "good.csv": "a,b,label\n" + ROWS,
    "empty.csv": "",
    "header.csv": "a,b,label\n",
    "same.csv": "a,b,label\n" + ROWS.replace("no", "yes"),
    "gap.csv": "a,b,label\n" + ROWS.replace("no", "").replace("yes", ""),
    "twice.csv": "a,a,label\n" + ROWS,
    "ids.csv": "id,label\n" + "".join(f"r{n},{'yes' if n % 3 else 'no'}\n" for n in range(60)),
    "unnamed.csv": "a,b,c\n" + ROWS,
    "ragged.csv": "a,b,label\n" + ROWS + "1,2\n",
    "headless.csv": ROWS,
    "page.csv": "<!doctype html><html><body>404 not found</body></html>\n",
    "unique.csv": "text,label\n" + "".join(f"words {n},{n}x\n" for n in range(60)),
    "book.xlsx": "PK",
    "typo.py": "def preprocessing_fn(inputs):\n    return {'label': inputs['lable']}\n"
    "def build_model(features, hyperparameters):\n    return None\n",
    "syntax.py": "def preprocessing_fn(inputs)\n    return {}\n",
    "half.py": "def build_model(features, hyperparameters):\n    return None\n",
    "imports.py": "import not_to_be_found\n"
    "def preprocessing_fn(inputs):\n    return {'label': inputs['label']}\n"
    "def build_model(features, hyperparameters):\n    return None\n",
}
INIT = "init new --data "
RUN = "run tabular --set label=label --set model_name=m --set destination=models --set steps=9 "


@pytest.mark.parametrize(
    ("command", "way_out"),
    [
        (INIT + "nowhere.csv", "nowhere.csv names no file: check the path"),
        (INIT + "empty.csv", "is empty: give a CSV file with a header and rows"),
        (INIT + "header.csv", "has no row: give data with at least one"),
        (INIT + "same.csv", "'label' has the same value in each row: name another label"),
        (INIT + "gap.csv", "'label' is missing in 60 of 60 rows, row 1 of the data first: leave"),
        (INIT + "twice.csv", "columns 1 and 2 are both named 'a': rename one"),
        (INIT + "ids.csv", "no column that is a feature beside 'label'; id: its texts differ"),
        (INIT + "unnamed.csv", "Name the column to predict with --label; of unnamed.csv it could"),
        (INIT + "ragged.csv", "row 62: the row has 2 cells, but the header has 3: fix the row"),
        (INIT + "headless.csv", "put a row of names above"),
        (INIT + "page.csv", "is a page of HTML, such as a login: fetch the file itself"),
        (INIT + "unique.csv", "Add a column with what is to be predicted"),
        (INIT + "book.xlsx", "is a workbook: save its sheet as CSV"),
        (INIT + "good.csv --label lable", "no column 'lable'. Did you mean label?"),
        (INIT + "good.csv --leave-out z", "no column 'z' to leave out. There are a, b, label"),
        (INIT + "good.csv --task regression", "holds words, and a regression predicts a number"),
        (INIT + "s3://", "names no bucket: write s3://bucket/key"),
        ("init good.csv", "good.csv exists already: give a new name, or remove it first"),
        (RUN + "--set data=good.csv --module typo.py", "reads 'lable', which good.csv lacks. Did"),
        (RUN + "--set data=good.csv --module syntax.py", "syntax.py, line 1 is not Python"),
        (RUN + "--set data=good.csv --module half.py", "no function preprocessing_fn: add it"),
        (RUN + "--set data=good.csv --module imports.py", "not installed here and does not lie"),
        (RUN + "--set data=good.csv --set epochs=3", "counted in steps: set steps"),
        (RUN + "--set data=good.csv --set lr=3", """hyperparameters='{"lr": ...}'"""),
        ("run taxi --target edgetpu", "set so: --set target=VALUE"),
        ("serve nowhere", "nowhere does not exist"),
        ("serve good.csv", "is not a model: give a bundle, a store or a .tflite file"),
        ("serve bundle --port {port}", "choose another with --port"),
        ("verify good.csv", "is not a bundle: it has no manifest.json"),
        ("compile-model good.csv --target litert", "give a SavedModel folder, or a file that ends"),
        ("check good.csv", "give a file that the TensorFlow Lite converter wrote"),
        ("submit taxi", "Give its address (--host), or set KF_PIPELINES_ENDPOINT"),
        ("runs show 5", "There is no run '5' in edgeline-runs."),
        ("open", "edgeline run"),
        ("site push bundle --images x", "name a registry and a path, for example ghcr.io/"),
    ],
)
def test_a_mistake_is_told_with_the_way_out(
    command: str, way_out: str, edgeline: Edgeline, tmp_path: Path
) -> None:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, said = edgeline(*command.format(port=taken.getsockname()[1]).split())
    assert code in (1, 2), said
    assert way_out in said
    assert "Traceback" not in said and said.count("rror: ") == 1
    assert not (tmp_path / "new").exists()
