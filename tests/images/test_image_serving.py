"""The edge server in a container as closed as a site may want it."""

from __future__ import annotations

import json

from containers import built, bundle, docker, score, until

CLOSED = (
    "--network=none",
    "--read-only",
    "--tmpfs=/tmp",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--memory=128m",
)
OPEN = ("/models", "--tokens", "none")


def test_it_serves_without_network_and_with_a_read_only_root(started, tmp_path):
    folder = bundle(tmp_path / "m", 2.0)
    container = started(*CLOSED, f"--volume={folder}:/models:ro", built("edge-server"), *OPEN)
    until(lambda: score(container), 7.0)

    def health() -> str:
        return docker("inspect", "--format", "{{.State.Health.Status}}", container)

    until(health, "healthy")
    docker("stop", container)
    [state] = json.loads(docker("inspect", "--format", "[{{json .State}}]", container))
    assert (state["ExitCode"], state["OOMKilled"]) == (0, False)


def test_without_a_model_it_ends_with_a_sentence():
    said = docker("run", "--rm", *CLOSED, built("edge-server"), *OPEN, check=False)
    assert "/models does not exist" in said
    assert "Traceback" not in said


def test_the_command_line_is_there_too():
    said = docker("run", "--rm", "--entrypoint=edgeline", built("edge-server"), "--version")
    assert said.startswith("edgeline, version ")
