"""The process that explains: of which files, with what at hand, and how it ends."""

from __future__ import annotations

import os
import shutil
import signal

import pytest
from running import eventually
from test_explanations import ROW, children, explain, recorded

pytestmark = pytest.mark.slow


def test_the_model_that_answers_is_explained_or_none(start, tmp_path):
    folder = recorded(tmp_path / "store" / "m" / "1", 2.0)
    server = start(tmp_path / "store", "--poll=0", "--explain=30", "--explain-rows=200")
    first = explain(server, ROW)
    assert first[0] == 200
    shutil.rmtree(folder)
    recorded(tmp_path / "new", 7.0).rename(folder)
    assert explain(server, ROW) == first  # what the process holds still is what answers
    (child,) = children(server)
    os.kill(child, signal.SIGKILL)
    eventually(lambda: not children(server))
    status, answer = explain(server, ROW)
    assert status == 503
    assert "is being replaced: its files are not those of the model that answers" in answer["error"]
    assert server.ask("POST", "/v2/repository/models/m/load")[0] == 200
    status, answer = explain(server, ROW)
    assert status == 200
    assert answer["explanations"][0]["score"] == answer["predictions"][0]["score"][0]
    predicted = explain(server, ROW, path="/v1/models/m:predict")[1]
    assert answer["predictions"] == predicted["predictions"] != first[1]["predictions"]
