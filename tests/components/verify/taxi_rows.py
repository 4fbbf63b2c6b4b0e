"""Real taxi rows as examples."""

from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from edgeline import artifacts

COLUMNS = {
    "fare": pa.float32(),
    "tips": pa.float32(),
    "trip_miles": pa.float32(),
    "trip_start_hour": pa.int64(),
    "payment_type": pa.string(),
}
ROWS = 5000
TAXI = Path(__file__).parents[3] / "pipelines/taxi/taxi.csv"


def save_rows(folder, name="examples", rows=ROWS, listed=None):
    """The first taxi rows as an `examples/v1` folder with the split eval."""
    options = pyarrow.csv.ConvertOptions(
        column_types=COLUMNS, include_columns=list(COLUMNS), strings_can_be_null=True
    )
    table = pyarrow.csv.read_csv(TAXI, convert_options=options).slice(0, rows)
    with artifacts.writing(folder / name, "examples/v1") as draft:
        (draft.path / "eval").mkdir()
        pq.write_table(table, draft.path / "eval/part-00000.parquet")
        draft.metadata["splits"] = {"eval": {"rows": rows if listed is None else listed}}
    return folder / name
