"""What a server says of a bundle that nobody evaluated."""

from __future__ import annotations

import dataclasses

from publishing import bundle, model

from edgeline.artifacts import bundle as bundles
from edgeline.artifacts.bundle import write_manifest


def test_metadata_configuration_and_page_say_it(start, tmp_path):
    folder = bundle(tmp_path / "store" / "m" / "1", model(2.0))
    server = start(tmp_path / "store", "--poll=0")
    assert server.ask("GET", "/v2/models/m")[1]["properties"] == {"evaluation": "not evaluated"}
    parameters = server.ask("GET", "/v2/models/m/config")[1]["parameters"]
    assert parameters["evaluation"] == {"string_value": "not evaluated"}
    (entry,) = server.ask("GET", "/overview")[1]["models"][0]["versions"]
    assert entry["evaluated"] is False
    judged = dataclasses.replace(bundles.read(folder), version=2, evaluation={"blessed": True})
    folder.rename(folder.with_name("2"))
    write_manifest(folder.with_name("2"), judged)
    server = start(tmp_path / "store", "--poll=0")
    assert "properties" not in server.ask("GET", "/v2/models/m")[1]
    assert "evaluation" not in server.ask("GET", "/v2/models/m/config")[1]["parameters"]
    (entry,) = server.ask("GET", "/overview")[1]["models"][0]["versions"]
    assert entry["evaluated"] is True


def test_a_bare_model_says_nothing(server):
    assert "properties" not in server.ask("GET", "/v2/models/mixed")[1]
