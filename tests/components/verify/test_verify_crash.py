"""A model that ends its runtime on one late row is not approved, in a sentence with the rows."""

from __future__ import annotations

import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from make_endless import VALUE, endless_at_value

from edgeline import artifacts
from edgeline.components.import_model.import_model import import_model
from edgeline.components.import_model.wanted import Wanted
from edgeline.components.ingest.ingest import ingest
from edgeline.components.model_card import model_card
from edgeline.components.publish.publish import publish
from edgeline.components.verify.findings import Limits
from edgeline.components.verify.verify import verify
from edgeline.errors import EdgelineError
from edgeline.runtimes import child, limits

pytestmark = pytest.mark.slow

ROWS, ENDLESS = 3000, 2990


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("endless")
    x = np.arange(ROWS, dtype=np.float32)
    x[ENDLESS] = VALUE
    pq.write_table(pa.table({"x": x}), folder / "rows.parquet")
    ingest(str(folder / "rows.parquet"), folder / "rows", split_ratios={"eval": 1})
    path = endless_at_value(folder / "endless.onnx")
    import_model(str(path), str(folder / "model"), wanted=Wanted(task="regression"))
    return folder


def test_the_verdict_names_model_limit_and_rows(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(child, "_tensorflow_runs", lambda: False)  # a fork is enough for this
    monkeypatch.setenv(limits.TIME_VARIABLE, "2")
    model, verification, page = folder / "model", tmp_path / "verification", tmp_path / "page.html"
    result = verify(model, model, folder / "rows", verification, page, Limits())
    assert not result.approved
    (reason,) = result.metadata["reasons"]
    assert re.fullmatch(
        rf"{model}/model\.onnx exceeded (2 s of a core|6 s) \(EDGELINE_MODEL_TIME allows more\) on "
        r"rows 2,048 to 2,999 \(from 0\) of split 'eval': convert or export it again\.",
        reason,
    )
    kept = artifacts.read(verification, "verification/v1")
    assert kept.metadata["reasons"] == [reason]
    assert json.loads((verification / "verification.json").read_text())["approved"] is False
    assert "2,048 to 2,999" in page.read_text()

    with pytest.raises(EdgelineError, match="not published because"):
        publish(
            edge_model_path=model,
            verification_path=verification,
            bundle_path=tmp_path / "bundle",
            name="endless",
            destination=str(tmp_path / "store"),
        )
    card = tmp_path / "card.html"
    model_card.model_card(
        card, edge_model_paths=[str(model)], verification_paths=[str(verification)]
    )
    assert "not approved" in card.read_text()
