"""Which runner options name, what is refused before any work, and where workers share files."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path

import pytest

from edgeline.beam import exchange as exchanges
from edgeline.beam import runner as runners
from edgeline.beam.exchange import Exchange
from edgeline.errors import EdgelineError
from edgeline.stores.shared_folder import SharedFolder

pytestmark = pytest.mark.slow  # for the import of Beam


def test_an_endpoint_is_enough() -> None:
    runner = runners.read(["--job_endpoint=beam.kubeflow:8099"])
    assert (runner.name, runner.endpoint, runner.here) == (
        "PortableRunner",
        "beam.kubeflow:8099",
        False,
    )
    assert "--environment_type=EXTERNAL" in runner.given
    assert "--environment_config=localhost:50000" in runner.given
    assert "--job_server_timeout=60" in runner.given


@pytest.mark.parametrize(
    ("options", "endpoint"),
    [
        (["--job_endpoint=beam"], "beam:8099"),
        (["--job_endpoint=http://beam:1/"], "beam:1"),
        (["--runner=PortableRunner", "--job_endpoint=[::1]:8099"], "[::1]:8099"),
        ([*("--runner=FlinkRunner", "--flink_master=flink"), *("--flink_submit_uber_jar",),
          "--flink_job_server_jar=x.jar"], "flink:8081"),
        (["--runner=DataflowRunner"], ""),
        ([], ""),
    ],
)  # fmt: skip
def test_where_a_runner_is_asked(options: Sequence[str], endpoint: str) -> None:
    assert runners.read(options).endpoint == endpoint


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--runner=FlinkRunner"], "FlinkRunner, whose job server is a Java program"),
        (["--runner=SparkRunner"], "SparkRunner, whose job server is a Java program"),
        (["--runner=PrismRunner"], "PrismRunner, which Beam would download: give"),
        (["--runner=PortableRunner"], "PortableRunner without a runner's address: give"),
        (["--runner=PortableRunner", "--job_endpoint=embed"], "without a runner's address"),
    ],
)
def test_nothing_is_downloaded(options: Sequence[str], sentence: str) -> None:
    with pytest.raises(EdgelineError, match=sentence):
        runners.read(options)


def test_a_runner_that_cannot_be_reached_is_a_sentence_before_anything_is_read(
    tmp_path: Path,
) -> None:
    from edgeline.components.analyze.analyze import analyze
    from edgeline.components.transform.transform import transform
    from edgeline.components.validate.validate import validate

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        options = [f"--job_endpoint={address}"]
        sentence = (
            rf"^PortableRunner cannot be reached at {address} \(connection refused\): start it"
        )
        nothing = str(tmp_path / "nothing")
        with pytest.raises(EdgelineError, match=sentence):
            transform(nothing, nothing, "m.py", *[nothing] * 3, beam_options=options)
        with pytest.raises(EdgelineError, match=sentence):
            analyze(nothing, nothing, nothing, nothing, beam_options=options)
        with pytest.raises(EdgelineError, match=sentence):
            validate(nothing, nothing, nothing, nothing, nothing, beam_options=options)
    with pytest.raises(EdgelineError, match=r"beam\.invalid:8099 \(no such host\)"):
        runners.read(["--job_endpoint=beam.invalid:8099"]).reach()


@pytest.mark.parametrize(
    ("given", "artifact", "place"),
    [
        ((), "s3://b/run/made?region=x", "s3://b/run/made-beam/edgeline-transform-"),
        (("--temp_location=gs://b/beam/",), "s3://b/run", "gs://b/beam/edgeline-transform-"),
    ],
)
def test_workers_share_what_lies_beside_the_artifact_or_where_it_is_said(
    given: Sequence[str], artifact: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SharedFolder, "write", lambda *_: None)
    monkeypatch.setattr(SharedFolder, "remove", lambda _: None)
    runner = runners.read(["--job_endpoint=beam:8099", *given])
    with exchanges.opened(runner, artifact, "transform") as found:
        assert found.folder.uri.startswith(place)


def test_a_folder_of_this_machine_alone_is_refused_for_workers_elsewhere(tmp_path: Path) -> None:
    runner = runners.read(["--job_endpoint=beam:8099"])
    sentence = "workers of PortableRunner at beam:8099 do not have the task's disk: give a folder"
    with (
        pytest.raises(EdgelineError, match=sentence),
        exchanges.opened(runner, str(tmp_path), "transform"),
    ):
        pass


def test_a_volume_is_written_whole_and_left_empty(tmp_path: Path) -> None:
    runner = runners.read(["--job_endpoint=beam:8099", f"--temp_location=file://{tmp_path}/a%20b"])
    with exchanges.opened(runner, "", "transform") as made:
        made.put("one/two", b"content")
        assert made.get("one/two") == b"content"
        assert made.names("one") == ["one/two"]
        assert list((tmp_path / "a b").rglob("two"))
        with pytest.raises(EdgelineError, match="one/three is not there"):
            made.get("one/three")
        other = Exchange(made.folder, b"another key")
        with pytest.raises(EdgelineError, match="damaged, or written by somebody else"):
            other.get("one/two")
    assert not list((tmp_path / "a b").iterdir())
