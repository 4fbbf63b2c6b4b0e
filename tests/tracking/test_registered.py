"""Published versions in a double of Kubeflow's registry: each once, also when it was down."""

from __future__ import annotations

import http.server
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hub_double import HubDouble
from published_bundle import publish
from tiny_pipeline import Tiny, tiny

from edgeline.cli.main import cli
from edgeline.errors import EdgelineError, UsageError
from edgeline.kubeflow import tracked
from edgeline.local import registering
from edgeline.tracking import entries, registry
from edgeline.tracking.registry import RegistryAddress, RegistryError

__all__ = ["tiny"]
pytestmark = pytest.mark.slow  # each registration is a process that imports the client
ROOT = Path(__file__).parents[2]

PUBLISHING = """
from kfp import dsl


@dsl.component(base_image="python", install_kfp_package=False)
def publish(word: str, bundle: dsl.Output[dsl.Artifact]):
    import shutil

    shutil.copytree("bundle", bundle.path)
    bundle.metadata["edgeline_schema"] = "bundle/v1"


@dsl.pipeline(name="tiny")
def pipeline(word: str = "ab", hub_token: str = ""):
    publish(word=word).set_caching_options(False)
"""


def state(folder: Path) -> registering.RegistryState:
    found = registering.read(folder)
    assert found is not None
    return found


def numbers(hub: HubDouble, name: str) -> list[str]:
    return sorted(str(each.name) for each in hub.client.list_model_versions(name))


def test_with_a_double_a_version_is_registered_once_with_its_artifact_and_lineage(
    hub: HubDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = entries.version_of(str(publish(tmp_path, "once")))
    place = RegistryAddress(hub.start().url)
    registry.register(place, [version])
    registry.register(place, [version])  # an answer was lost
    assert numbers(hub, "once") == ["1"]
    told = hub.client.get_model_version("once", "1")
    assert told.custom_properties == dict(version.tags)
    assert told.custom_properties["edgeline.data_digest"] == "d" * 64
    artifact = hub.client.get_model_artifact("once", "1")
    assert re.fullmatch(r"file://[^/]+/.*/models/once/1", artifact.uri)
    assert (artifact.model_format_name, artifact.model_source_id) == ("tflite", "run-9")

    # what the guide shows
    text = (ROOT / "docs" / "registry.md").read_text("utf-8")
    [code] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    monkeypatch.setenv("MODEL_REGISTRY_URL", hub.url)
    monkeypatch.setenv("MODEL_REGISTRY_TOKEN", "none")
    found: dict[str, Any] = {}
    exec(code.replace('"taxi"', '"once"'), found)
    assert found["digest"] == version.tags["edgeline.bundle_digest"]


def test_with_a_double_half_a_registration_is_completed(
    hub: HubDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mr_openapi import ModelRegistryServiceApi

    async def gone(*_: Any, **__: Any) -> None:
        raise OSError("the line is cut")

    version = entries.version_of(str(publish(tmp_path, "half")))
    place = RegistryAddress(hub.start().url)
    with monkeypatch.context() as cut:
        cut.setattr(ModelRegistryServiceApi, "upsert_model_version_artifact", gone)
        with pytest.raises(RegistryError, match="does not answer: the line is cut"):
            registry.register(place, [version])
    assert numbers(hub, "half") == ["1"]
    registry.register(place, [version])
    assert numbers(hub, "half") == ["1"]
    assert hub.client.get_model_artifact("half", "1").uri.endswith("models/half/1")


def test_with_a_double_another_content_with_the_same_number_is_another_version(
    hub: HubDouble, tmp_path: Path
) -> None:
    place = RegistryAddress(hub.start().url)
    both = [
        entries.version_of(str(publish(tmp_path / task, "twice", task)))
        for task in ("regression", "binary_classification")
    ]
    registry.register(place, both)
    registry.register(place, both)
    first, second = numbers(hub, "twice")
    assert first == "1" and re.fullmatch("1-[0-9a-f]{12}", second)
    wanted = both[1].tags["edgeline.bundle_digest"]
    told = hub.client.get_model_version("twice", second)
    assert told.custom_properties["edgeline.bundle_digest"] == wanted


@pytest.fixture
def publishing(tiny: Tiny) -> Tiny:
    (tiny.folder / "tiny.py").write_text(PUBLISHING)
    publish(tiny.folder, "late")
    return tiny


def test_with_a_double_a_run_whose_registry_was_down_is_green_and_registered_later_once(
    publishing: Tiny,
    hub: HubDouble,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    token = publishing.folder / "token"
    token.write_text("s3cret-token\n")
    monkeypatch.setenv("MODEL_REGISTRY_URL", hub.url)
    monkeypatch.setenv("MODEL_REGISTRY_TOKEN_FILE", str(token))
    assert publishing.run() == ""
    said = publishing.shown
    [folder] = publishing.runs
    assert f"The registry at {hub.url} does not answer: " in said
    assert f"`edgeline runs register {folder.name}`" in said
    assert not state(folder).complete

    hub.start()
    assert publishing.run("word=cd") == ""  # the next run registers both
    said = publishing.shown
    assert said.count(f"Registered: late 1 at {hub.url}") == 2
    assert state(folder).complete
    assert numbers(hub, "late") == ["1"]  # one content at one place
    told = hub.client.get_model_version("late", "1").custom_properties
    assert told["edgeline.code"] and told["edgeline.git_commit"] == "c0ffee"
    assert registering.register_pending(publishing.root, print) == 0
    assert "Bearer s3cret-token" in hub.tokens
    assert "s3cret" not in said + "".join(capfd.readouterr())
    for file in folder.rglob("*"):
        assert not file.is_file() or b"s3cret" not in file.read_bytes(), file


def test_what_a_run_on_a_sample_publishes_is_not_registered(
    tiny: Tiny, hub: HubDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tiny.folder / "tiny.py").write_text(PUBLISHING)
    publish(tiny.folder, "part", destination="edgeline-runs/samples")
    monkeypatch.setenv("MODEL_REGISTRY_URL", hub.start().url)
    assert tiny.run() == ""
    [folder] = tiny.runs
    assert state(folder).complete and "Registered" not in tiny.shown
    assert not hub.kept["versions"]


def test_a_run_that_is_not_registered_is_not_pruned_and_is_by_name(
    publishing: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgeline.local import pruning
    from edgeline.local.runs import named

    assert publishing.run() == "" and publishing.run("word=cd") == ""
    first, _ = publishing.runs
    assert registering.read(first) is None
    with pytest.raises(UsageError, match="Name a registry in MODEL_REGISTRY_URL, such as http://"):
        registering.register_one(named(publishing.root, first.name))
    monkeypatch.setenv("MODEL_REGISTRY_URL", "http://127.0.0.1:1")
    command = ["runs", "register", first.name, "--root", str(publishing.root)]
    done = CliRunner().invoke(cli, command)
    assert isinstance(done.exception, EdgelineError)
    assert "The registry at http://127.0.0.1:1 does not answer: " in str(done.exception)
    planned = pruning.plan(publishing.root, limit=0)
    assert planned.stays[first.name] == "its registry has not got what it published"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"URL": "hub:8080"}, "MODEL_REGISTRY_URL is not an address: give one such as http://host"),
        ({"URL": "http://ada:s3cret@hub"}, "MODEL_REGISTRY_URL has a user, a query or a fragment"),
        ({"TOKEN_FILE": "none"}, "MODEL_REGISTRY_TOKEN_FILE names none, which cannot be read (No "),
        ({"TOKEN_FILE": "/dev/null"}, "MODEL_REGISTRY_TOKEN_FILE names /dev/null, which is empty"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_a_run(
    publishing: Tiny, monkeypatch: pytest.MonkeyPatch, given: dict[str, str], said: str
) -> None:
    for name, value in {"URL": "http://hub", **given}.items():
        monkeypatch.setenv(f"MODEL_REGISTRY_{name}", value)
    refused = publishing.run()
    assert said in refused and "s3cret" not in refused
    assert not publishing.runs


class Refusing(http.server.BaseHTTPRequestHandler):
    """What stands where a registry should, or in front of it. No registry: it only refuses."""

    answer = (404, b"<!doctype html>")

    def do_GET(self) -> None:
        status, body = self.answer
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def refusing() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((404, b"<!doctype html>"), "is no registry of models that speaks Kubeflow's API v1 (404)"),
        ((401, b"who are you"), "refuses (401 Unauthorized): the token of MODEL_REGISTRY_TOKEN is"),
        ((503, b"down"), "refuses: 503 Service Unavailable"),
        ((200, b"<!doctype html>"), "answers in another form than Kubeflow's"),
        ((200, b'{"items": 3}'), "answers in another form than Kubeflow's"),
    ],
)
def test_what_refuses_is_told_without_the_token(
    refusing: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: tuple[int, bytes],
    said: str,
) -> None:
    monkeypatch.setattr(Refusing, "answer", answer)
    version = entries.version_of(str(publish(tmp_path, "refused")))
    with pytest.raises(RegistryError) as refused:
        registry.register(RegistryAddress(refusing, "s3cret-token"), [version])
    assert said in str(refused.value) and "s3cret" not in str(refused.value)
    assert "s3cret" not in repr(RegistryAddress(refusing, "s3cret-token"))


def test_with_a_double_a_task_in_a_pod_registers_what_it_published_and_stays_as_it_ended(
    hub: HubDouble,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    place = publish(tmp_path, "pod")
    artifact = {"name": "bundle", "uri": str(place), "type": {"schemaTitle": "system.Artifact"}}
    given = {"outputs": {"artifacts": {"bundle": {"artifacts": [artifact]}}}}
    tracked.register(given)  # nobody asked for it
    monkeypatch.setenv("MODEL_REGISTRY_URL", "http://127.0.0.1:1")
    tracked.register(given)
    said = capsys.readouterr().out
    assert "Kubeflow's registry has not got what this task published: The registry at" in said
    assert "`edgeline runs register RUN --host URL`" in said
    monkeypatch.setenv("MODEL_REGISTRY_URL", hub.start().url)
    tracked.register(given)
    assert capsys.readouterr().out == ""
    assert numbers(hub, "pod") == ["1"]
