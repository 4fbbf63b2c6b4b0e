"""A model that takes transformed features says so, by feature and operator, wherever it is met."""

from __future__ import annotations

import html
import json
import sys
from pathlib import Path

import pytest
from command import Finished, edgeline

from edgeline.artifacts import bundle
from edgeline.artifacts.folder import facts_of

sys.path.insert(0, str(Path(__file__).parents[1] / "server"))
from running import Running

MODULE = Path(__file__).with_name("hour_module.py")
SENTENCE = (
    "The model takes feature 'hour' transformed and all others raw, because LiteRT lacks "
    "DecodePaddedRaw, which the transform applies to feature 'pickup': whoever asks for a "
    "prediction has to transform these first."
)
CAUSES = [{"features": ["pickup"], "operator": "DecodePaddedRaw", "reason": "", "makes": ["hour"]}]


@pytest.fixture(scope="module")
def hours(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A run whose transform reads the hour out of a timestamp in a column of text."""
    folder = tmp_path_factory.mktemp("hours")
    rows = [
        f"2024-03-{day:02} {hour:02}:{day:02}:00 h,{(7 * day + hour) % 9}.5,"
        f"{'yes' if 6 < hour < 15 else 'no'}"
        for day in range(1, 25)
        for hour in range(24)
    ]
    (folder / "trips.csv").write_text("\n".join(["pickup,miles,late", *rows]) + "\n")
    return edgeline(
        folder,
        *("run", "tabular", "--module", str(MODULE)),
        *("--set", "data=trips.csv", "--set", "label=late", "--set", "model_name=trips"),
        *("--set", "task=binary_classification", "--set", "destination=models"),
        *("--set", "steps=40", "--set", "batch_size=16", "--set", "require_raw=false"),
    )


@pytest.fixture(scope="module")
def published(hours: Finished) -> Path:
    assert hours.code == 0, hours.output
    return hours.folder / "models" / "trips" / "1"


def test_the_table_and_the_page_of_the_run(hours: Finished, published: Path) -> None:
    assert published.is_dir()
    assert SENTENCE in " ".join(hours.output.split())
    assert SENTENCE in html.unescape(hours.page.read_text())


def test_the_edge_model_and_the_manifest_have_it_as_fields(
    hours: Finished, published: Path
) -> None:
    edge = facts_of(hours.record["tasks"]["convert"]["outputs"]["edge_model"]["uri"])
    assert edge["takes"] == "mixed"
    assert edge["transformed_because"] == CAUSES
    manifest = bundle.read(published)
    assert manifest.provenance["transformed_because"] == CAUSES
    assert [(each.name, each.transformed) for each in manifest.features] == [
        ("hour", "hour"),
        ("miles", ""),
    ]


def test_verify_says_it(hours: Finished, published: Path) -> None:
    told = edgeline(hours.folder, "verify", str(published))
    assert told.code == 0, told.output
    assert SENTENCE in " ".join(told.output.split())
    told = edgeline(hours.folder, "verify", str(published), "--json")
    found, _ = json.JSONDecoder().raw_decode(told.output)  # before what stderr holds
    assert found["takes"] == "mixed"
    assert found["transformed"] == SENTENCE
    assert found["transformed_because"] == CAUSES


def test_the_model_card_says_it(hours: Finished, published: Path) -> None:
    assert published.is_dir()
    page = Path(hours.record["tasks"]["model-card"]["outputs"]["model_card"]["uri"]).read_text()
    assert "Takes transformed features" in page
    assert SENTENCE in html.unescape(page)


def test_the_server_says_it_at_load_and_in_its_metadata(published: Path) -> None:
    server = Running(published.parents[1], "--poll=0")
    try:
        assert server.ask("GET", "/v2/models/trips")[1]["properties"] == {
            "transformed_features": SENTENCE
        }
        parameters = server.ask("GET", "/v2/models/trips/config")[1]["parameters"]
        assert parameters["transformed_features"] == {"string_value": SENTENCE}
        (entry,) = server.ask("GET", "/overview")[1]["models"][0]["versions"]
        assert entry["transformed"] == SENTENCE
    finally:
        _, log = server.stop()
    assert log.count(SENTENCE) == 1
    assert "trips 1: The model takes feature 'hour' transformed" in log


def test_a_raw_feature_beside_the_transformed_one_may_be_missing(published: Path) -> None:
    server = Running(published.parents[1], "--poll=0")
    try:
        missing, filled = (
            server.ask(
                "POST",
                "/v1/models/trips:predict",
                {"instances": [{"hour": [0.5], "miles": [miles]}]},
            )
            for miles in (None, 0.0)
        )
        assert missing[0] == filled[0] == 200
        assert missing[1]["predictions"] == filled[1]["predictions"]
    finally:
        server.stop()
