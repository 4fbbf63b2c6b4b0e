"""What people get wrong once the first command works: files of other programs, the wrong file or
folder, parameters as other tools call them. Each is answered in a sentence, with the way out."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from cli_here import Edgeline, edgeline

__all__ = ["edgeline"]

ROWS = "".join(f"{n % 9},{n % 5},{'yes' if n % 3 else 'no'}\n" for n in range(60))
MODULE = (
    "def preprocessing_fn(inputs):\n    return {'a': inputs['a'], 'label': inputs['label']}\n"
    "def build_model(features, hyperparameters):\n    return None\n"
)
FILES: dict[str, str | bytes] = {
    "good.csv": "a,b,label\n" + ROWS,
    "other.csv": "a,c,label\n" + ROWS,
    "blanks.txt": "a b label\n" + ROWS.replace(",", " "),
    "nameless.csv": "a,,label\n" + ROWS,
    "few.csv": "a,b,label\n" + "".join(ROWS.splitlines(True)[:12]),
    "fractions.csv": "a,b,label\n" + "".join(f"{n % 9},{n},{n * 37 % 11 / 7}\n" for n in range(60)),
    "quote.csv": 'a,b,label\n1,2,"yes\n' + ROWS,
    "cut.csv.gz": gzip.compress(("a,b,label\n" + ROWS).encode())[:60],
    "list.json": '[{"a": 1, "label": "x"}]',
    "good.zip": b"PK\x03\x04",
    "frame.pkl": b"\x80\x04}.",
    "study.sav": b"$FL2",
    "good.py": MODULE,
    "unlabelled.py": MODULE.replace("'label': ", "'other': "),
    "weights.pt": b"PK\x03\x04",
    "project/pipeline.py": "pipeline = None\n",
    "project/module.py": MODULE,
    "project/models/m/2/manifest.json": "{}",
    "project/models/m/10/manifest.json": "{}",
}
INIT = "init new --data "
GIVEN = "--set data=good.csv --set label=label --set model_name=m --set destination=models "
RUN = f"run tabular --module good.py {GIVEN}"


@pytest.mark.parametrize(
    ("command", "way_out"),
    [
        ("init Loans --data good.csv", "use at most 63 of a-z, 0-9 and -"),
        ("init new --example wines", "There is no example 'wines'. Did you mean wine?"),
        (INIT + "good.csv --task classification", "'binary', 'multiclass', 'regression'"),
        (INIT + "taken", "snapshot.pem has an ending that tells no format: let its name end in"),
        (INIT + "good.csv,other.csv", "good.csv has 'b': give files with the same header"),
        (INIT + "list.json", "write one object per line, and call the file .jsonl"),
        (INIT + "good.zip", "good.zip is an archive: unpack it, and give the file"),
        (INIT + "frame.pkl", "write it with pandas' to_parquet, and give that"),
        (INIT + "study.sav", "is a table of another program: export it as CSV"),
        (INIT + "blanks.txt", "has one column, 'a b label': separate the cells by a comma"),
        (INIT + "nameless.csv", "row 1: column 2 has no name: name it"),
        (INIT + "few.csv", "has 12 rows, too few to train and to evaluate a model: give at least"),
        (INIT + "quote.csv", "row 2: a quote is opened and not closed"),
        (INIT + "cut.csv.gz", "is a damaged gzip file"),
        (INIT + "good.csv --label LABEL", "no column 'LABEL'. Did you mean label?"),
        (INIT + "fractions.csv --task multiclass", "holds fractions, which are not classes: name"),
        (INIT + "good.csv --leave-out a --leave-out b", "no column that is a feature beside"),
        ("run", "Missing argument 'PIPELINE': a pipeline.py, or a name that `edgeline pipelines`"),
        ("run pipeline.py", "does not exist: check the path, or change to the folder that it lies"),
        ("run project", "project is a folder: give its pipeline, project/pipeline.py"),
        ("run good.csv", "For data make a project: edgeline init NAME --data good.csv"),
        ("run good.py", "A module is run by a pipeline: edgeline run tabular --module good.py"),
        ("run project/module.py", "Give project/pipeline.py, which lies beside it."),
        ("run taxi --steps 300", "A parameter of the pipeline is set so: --set steps=VALUE."),
        ("run --resume yesterday", "There is no run 'yesterday' in edgeline-runs."),
        (f"run tabular --module unlabelled.py {GIVEN}", "returns no 'label'. It returns a, other."),
        (RUN + '--set targets=["coral"]', "compile its model.tflite with edgeline compile-model"),
        (RUN + '--set split_ratios={"train":8,"test":2}', "has no eval: give that split a weight"),
        (RUN + "--set columns={id:false}", 'is not a JSON object, for example {"a": 1}'),
        (RUN + "--set batch_size=1000", "the data has at most 60 rows, and the split train fewer"),
        (RUN + "--set baseline=last", "'last' is not latest, approved or the number of a version"),
        ("serve project", "holds no model: give a bundle, a store or a .tflite file. Did you mean"),
        ("verify project/models", "Give one that lies in it, such as project/models/m/10."),
        ("compile-model weights.pt --target litert", "export the model as ONNX or a SavedModel"),
        ("components trian", "There is no component 'trian'. Did you mean train?"),
        ("submit taxi --host localhost:8080", "begin it with https:// or http://"),
    ],
)
def test_a_mistake_is_told_with_the_way_out(
    command: str, way_out: str, edgeline: Edgeline, tmp_path: Path
) -> None:
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    code, said = edgeline(*command.split())
    assert code in (1, 2), said
    assert way_out in said
    assert "Traceback" not in said and said.count("rror: ") == 1
    assert not (tmp_path / "new").exists()
