"""Each model feature before and after, on the rows that were analysed."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from edgeline import artifacts
from edgeline.artifacts import examples
from edgeline.artifacts.features import Feature
from edgeline.components.transform.report import write_report


def written(folder: Path, schema: str, **splits: dict[str, list[Any]]) -> artifacts.Artifact:
    with artifacts.writing(folder, schema) as draft:
        for name, columns in splits.items():
            (draft.path / name).mkdir()
            pq.write_table(pa.table(columns), draft.path / name / "part-00000.parquet")
        rows = {name: {"rows": len(next(iter(c.values())))} for name, c in splits.items()}
        draft.metadata["splits"] = rows
    return artifacts.read(folder, schema)


def test_each_feature_is_told_before_and_after_of_the_split_that_was_analysed(tmp_path):
    fare = [[None] if n % 10 == 0 else [float(n)] for n in range(100)]
    words = [["<b>cash"] if n % 4 else ["card"] for n in range(100)]
    source = written(
        tmp_path / "raw", examples.SCHEMA,
        eval={"fare": [[9e9]], "way": [["none"]]}, train={"fare": fare, "way": words},
    )  # fmt: skip
    after = [[n / 50 - 1] for n in range(100)]
    made = written(
        tmp_path / "made", examples.TRANSFORMED_SCHEMA,
        eval={"scaled": [[7.0]]}, train={"scaled": pa.array(after, pa.list_(pa.float32()))},
    )  # fmt: skip
    raw = [Feature("fare", "float32", (1,)), Feature("way", "string", (1,))]
    metadata = {
        "features": [feature.to_json() for feature in raw],
        "transformed": [Feature("scaled", "float32", (1,)).to_json()],
        "dependencies": {"scaled": ["fare", "way"]},
        "rows_analyzed": 100,
    }
    write_report(tmp_path / "page.html", tmp_path, metadata, made, source, "train")
    page = (tmp_path / "page.html").read_text()
    cells = re.findall("<td.*?</td>", page.split("<tbody>")[1].split("</tbody>")[0])
    told = [" ".join(html.unescape(re.sub("<[^>]*>", " ", cell)).split()) for cell in cells]
    assert told[0] == "scaled float32 [batch, 1]"
    assert told[1] == "fare, way"
    assert told[2].startswith("fare") and "1 to 99 missing 10.0%" in told[2]
    assert told[2].endswith("way 2 values <b>cash")
    assert told[-3:] == ["-1", "-0.01", "0.98"]
    assert "first 100 rows of split train" in page
