"""The page at `/`, its data, and a real browser that shows both."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import shutil
import subprocess
from importlib import resources

import pytest
from publishing import ROW, bundle, model
from running import MIXED, eventually
from test_reload import put
from test_rollouts import ask, changed, declare

from edgeline import artifacts
from edgeline.artifacts import bundle as bundles
from edgeline.artifacts import ranges
from edgeline.server.metrics import BUCKETS
from edgeline.server.models import loading
from edgeline.server.watching.recent import percentile

pytestmark = pytest.mark.slow


def browse(server, folder, *options: str) -> str:
    """The document after the page has run for a while in Chromium."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("NO CHROMIUM: the page was not opened in a real browser")
    done = subprocess.run(
        [
            chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
            "--no-first-run", "--disable-background-networking", "--disable-component-update",
            "--disable-sync", f"--user-data-dir={folder}", "--virtual-time-budget=3000",
            *options, "--dump-dom", f"http://127.0.0.1:{server.http}/",
        ],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    return done.stdout


def test_a_browser_gets_the_page_and_a_probe_its_json(server):
    status, body, headers = server.ask("GET", "/", headers={"Accept": "text/html,*/*"})
    assert status == 200
    assert headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in headers["content-security-policy"]
    assert b"<!doctype html>" in body
    assert server.ask("GET", "/")[1] == {"status": "alive"}


def test_the_page_takes_nothing_from_outside():
    text = resources.files("edgeline.server.protocols").joinpath("page.html").read_text()
    assert not re.findall(r"""(?:src|href)=["'](?!data:|overview|metrics|openapi)[^"']+""", text)
    assert not re.findall(r"innerHTML|insertAdjacentHTML|document\.write|eval\(", text)


def test_the_page_in_a_browser(start, tmp_path):
    store = tmp_path / "store"
    put(store, 1, MIXED.read_bytes())
    put(store, 2, changed())
    server = start(store, "--poll=0", declare(tmp_path, weight=0.25, automatic=False))
    eventually(lambda: ask(server) and all(any(s[1] for s in v) for v in _samples(server)))
    shown = browse(server, tmp_path / "profile")
    assert ">ready<" in shown
    assert ">canary<" in shown
    assert "Version 2 is a canary beside version 1, with 25 % of the requests." in shown
    assert re.search(r'class="split"[^>]*><i [^>]*width: ?75%', shown)
    assert shown.count("<svg") == 4
    assert re.search(r'class="stroke[^"]*" d="M[0-9. L]+', shown)
    assert ">start<" in shown
    assert 'id="login" class="card" hidden' in shown


def test_rows_out_of_range_and_what_is_sent_are_on_the_page(start, tmp_path):
    made = bundle(tmp_path / "m", model(2.0))
    (made / ranges.FILE).write_bytes(ranges.dumps({"amount": ranges.FeatureRange(0.0, 1.0)}))
    files = artifacts.list_files(made)
    files.pop(bundles.MANIFEST)
    read = bundles.read_manifest(made)
    bundles.write_manifest(made, dataclasses.replace(read, files=files))
    server = start(made, "--poll=0", "--mqtt=mqtt://127.0.0.1:1/site-4")
    for _ in range(2):
        assert server.ask("POST", "/v1/models/m:predict", ROW)[0] == 200
    shown = browse(server, tmp_path / "profile")
    assert ">out of range<" in shown
    assert "Rows out of range: amount 2." in shown
    assert ">no broker<" in shown and "mqtt://127.0.0.1:1/site-4 · 0 messages sent" in shown
    assert "<td>m</td><td>0 B</td><td>0 B</td><td>0 B</td><td>0 B</td><td>34 B</td>" in shown


def test_a_recorded_row_can_be_tried(start, tmp_path):
    made = bundle(tmp_path / "m", MIXED.read_bytes(), recorded=7.0)
    server = start(made, "--poll=0")
    status, request, _ = server.ask("GET", "/example/m")
    assert status == 200
    assert request == {"instances": [{"amount": [1.0, 2.0], "count": 1, "name": "a"}]}
    answer = server.ask("POST", "/v1/models/m:predict", request)
    assert answer[0] == 200
    assert answer[1]["predictions"][0]["score"] == [pytest.approx(7.0)]
    shown = browse(server, tmp_path / "profile")
    assert '<option value="m">m</option>' in shown
    assert server.ask("GET", "/example/other")[0] == 404


def test_a_missing_value_of_a_recorded_row_is_null_for_those_who_try_it(tmp_path):
    """The number that stands for it is not one of JavaScript's: the page would send another."""
    file = tmp_path / "vectors.json"
    file.write_text('{"inputs": {"count": [[-9223372036854775808]], "amount": [[null]]}}')
    assert loading._example(file) == {"count": None, "amount": None}


def test_a_model_without_recorded_rows_has_none_to_try(start, tmp_path):
    server = start(bundle(tmp_path / "m", MIXED.read_bytes()), "--poll=0")
    status, found, _ = server.ask("GET", "/example/m")
    assert (status, found["error"]) == (
        404,
        "Model 'm' has no recorded row that is small enough to show.",
    )


def test_the_data_needs_a_token_where_there_are_some(start, tmp_path):
    scopes = {"reader": ["read"], "camera": ["predict"], "boss": ["admin"]}
    entries = [
        {"name": name, "sha256": hashlib.sha256(name.encode()).hexdigest(), "scopes": allowed}
        for name, allowed in scopes.items()
    ]
    tokens = tmp_path / "tokens.json"
    tokens.write_text(json.dumps({"tokens": entries}))
    put(tmp_path / "store", 1, MIXED.read_bytes())
    server = start(tmp_path / "store", "--poll=0", f"--tokens={tokens}")

    def status(method: str, path: str, token: str) -> int:
        return server.ask(method, path, headers={"Authorization": f"Bearer {token}"})[0]

    assert server.ask("GET", "/", headers={"Accept": "text/html"})[0] == 200
    assert server.ask("GET", "/overview")[0] == 401
    assert [status("GET", "/overview", t) for t in scopes] == [200, 403, 200]
    assert [status("GET", "/drift", t) for t in scopes] == [200, 403, 200]
    assert [status("POST", "/rollouts/m", t) for t in scopes] == [403, 403, 200]
    assert status("POST", "/v2/models/m/infer", "reader") == 403
    shown = browse(server, tmp_path / "profile")
    assert 'id="login" class="card">' in shown
    assert "Version 1" not in shown


def test_percentiles():
    counts = [0] * (len(BUCKETS) + 1)
    assert percentile(counts, 0.5) is None
    counts[3], counts[4] = 50, 50  # 0.5 to 1 ms, 1 to 2.5 ms
    assert percentile(counts, 0.5) == pytest.approx(0.001)
    assert percentile(counts, 0.75) == pytest.approx(0.00175)
    counts[-1] = 100
    assert percentile(counts, 0.99) == BUCKETS[-1]


def _samples(server) -> list[list[list[float]]]:
    """Of each version of the only model."""
    (model,) = server.ask("GET", "/overview")[1]["models"]
    return [version["samples"] for version in model["versions"]]
