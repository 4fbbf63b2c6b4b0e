"""What a browser is told of pages of other sites."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from running import MIXED, Running

pytestmark = pytest.mark.slow

PAGE, OTHER = "https://app.example", "https://evil.example"
ROW = {"instances": [{"amount": [1, 2], "count": [1], "name": ["a"]}]}
ASKED = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}


@pytest.fixture(scope="module")
def listing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    path: Path = tmp_path_factory.mktemp("cors") / "m.tflite"
    path.write_bytes(MIXED.read_bytes())
    running = Running(path, f"--cors={PAGE},http://localhost:3000", "--access-log=1")
    yield running
    code, log = running.stop()
    assert code == 0
    assert "Traceback" not in log


@pytest.mark.parametrize("origin", [PAGE, "http://localhost:3000"])
def test_a_listed_page_predicts_and_reads_the_answer(listing: Running, origin: str) -> None:
    status, _, told = listing.ask(
        "OPTIONS", "/v1/models/m:predict", None, ASKED | {"Origin": origin}
    )
    assert status == 200
    assert told["access-control-allow-origin"] == origin
    assert told["access-control-allow-methods"] == "POST"
    assert "content-type" in told["access-control-allow-headers"]
    status, answer, told = listing.ask("POST", "/v1/models/m:predict", ROW, {"Origin": origin})
    assert status == 200
    assert told["access-control-allow-origin"] == origin
    assert told["vary"] == "Origin"
    assert answer["predictions"]


def test_a_refusal_can_be_read_too(listing: Running) -> None:
    status, _, told = listing.ask("POST", "/v1/models/m:predict", {}, {"Origin": PAGE})
    assert (status, told["access-control-allow-origin"]) == (400, PAGE)
    status, _, told = listing.ask("OPTIONS", "/nothing", None, ASKED | {"Origin": PAGE})
    assert (status, told["access-control-allow-origin"]) == (404, PAGE)
    status, _, told = listing.ask("GET", "/v2/models/m", headers={"Origin": PAGE})
    assert (status, told["access-control-allow-origin"]) == (403, PAGE)  # for that, a token


@pytest.mark.parametrize("origin", [OTHER, "null", f"{PAGE}.evil.example", f"{PAGE}:444", ""])
def test_no_other_page_reads_anything(listing: Running, origin: str) -> None:
    headers = {"Origin": origin} if origin else {}
    status, _, told = listing.ask("OPTIONS", "/v1/models/m:predict", None, ASKED | headers)
    assert status == 405
    assert "access-control-allow-origin" not in told
    _, _, told = listing.ask("POST", "/v1/models/m:predict", ROW, headers)
    assert "access-control-allow-origin" not in told
    assert told["vary"] == "Origin"


def test_without_the_option_nobody_does(server: Running) -> None:
    status, _, told = server.ask(
        "OPTIONS", "/v2/models/mixed/infer", None, ASKED | {"Origin": PAGE}
    )
    assert status == 405
    assert not {name for name in told if name.startswith("access-control")} | {"vary"} & told.keys()
