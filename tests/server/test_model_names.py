"""Under which names a server's models answer."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import publishing
import pytest
from running import MIXED

pytestmark = pytest.mark.slow

NAMES = ("mixed", "north-taxi2")


@pytest.mark.parametrize("labels", [None, '{"stable": 1}'])
def test_a_model_s_own_folder_and_a_further_name_for_it(start, store, labels, tmp_path):
    folder = shutil.copytree(store / "mixed", tmp_path / "mixed")
    if labels:
        (folder / "labels.json").write_text(labels)
    server = start(folder, "--poll=0", "--model-name=north-taxi2", "--versions=0")
    metadata = []
    for name in NAMES:
        assert server.ask("GET", f"/v2/models/{name}/versions/1/ready")[0] == 200
        assert server.ask("GET", f"/v1/models/{name}")[0] == 200
        found = server.ask("GET", f"/v1/models/{name}/labels/stable/metadata")[0]
        assert found == (200 if labels else 404)
        status, answer, _ = server.ask("GET", f"/v2/models/{name}")
        assert (status, answer["name"]) == (200, "mixed")
        metadata.append(answer)
    assert metadata[0] == metadata[1]
    assert server.ask("GET", "/v2/models")[1] == {"models": ["mixed"]}
    assert server.ask("GET", "/v2/models/north-taxi/ready")[0] == 404


def test_a_further_name_is_none_where_there_are_several_models(start, store):
    server = start(store, "--poll=0", "--model-name=north-taxi2")
    assert server.ask("GET", "/v2/models/north-taxi2/ready")[0] == 404
    _, log = server.stop()
    assert "No model is called 'north-taxi2': --model-name is for one, and" in log


@pytest.mark.parametrize("name", ["", "a/b", "-a", "a" * 129])
def test_a_name_that_no_url_can_have_is_refused(start, store, name):
    with pytest.raises(RuntimeError, match="--model-name is"):
        start(store, f"--model-name={name}")


def test_the_versions_of_one_bundle_whatever_their_folder_is_called(start, tmp_path):
    for version in (1, 2):
        folder = publishing.bundle(tmp_path / "models" / str(version), MIXED.read_bytes())
        manifest = folder / "manifest.json"
        assert '"version": 1' in manifest.read_text()
        manifest.write_text(manifest.read_text().replace('"version": 1', f'"version": {version}'))
    server = start(tmp_path / "models", "--poll=0")
    assert server.ask("GET", "/v2/models/m")[1]["versions"] == ["2"]


def test_a_path_that_a_modelcar_brings_is_waited_for(tmp_path):
    """KServe's sidecar links its own root's folder there, when it has started."""
    path = tmp_path / "models"
    command = [sys.executable, "-m", "edgeline.server", str(path), "--port", "0", "--log", "text"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "MODEL_INIT_MODE": "async"},
    )
    assert f"Waiting for {path}, which comes later" in process.stderr.readline()
    path.symlink_to(publishing.bundle(tmp_path / "root" / "models", MIXED.read_bytes()))
    assert process.stdout.readline().startswith("READY")
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_a_server_that_waits_for_its_path_can_be_stopped(tmp_path):
    command = [sys.executable, "-m", "edgeline.server", str(tmp_path / "no"), "--port", "0"]
    environment = {**os.environ, "MODEL_INIT_MODE": "async"}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    assert "Waiting for" in process.stderr.readline()
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 0
