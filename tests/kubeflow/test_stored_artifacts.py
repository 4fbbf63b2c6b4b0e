"""A run's numbers and reports, from a real S3 server with files as KFP's launcher laid them.

The places are those of a recorded run of taxi (recorded/taxi_runs.json). What the metadata store
answers was written by ml-metadata 1.17 itself (recorded/metadata_store.json).
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from recorded_server import RecordedServer, message
from rich.console import Console

from edgeline.client import cached_inputs, lineage
from edgeline.client.remote import RemoteRun
from edgeline.errors import EdgelineError
from edgeline.kubeflow.api import connect
from edgeline.local.plan import PlannedTask

pytestmark = pytest.mark.slow

OLD = "8f25205d-43ca-411b-983b-e9abef61dd73"
CACHED = "b19e4602-58ff-4bf1-a40c-754d8cb7b57d"  # took all but three tasks from the cache
SLICES = {"slices": [{"metrics": {"auc": {"value": 0.95}, "matrix": {"value": {}}}}]}
CONTENT = {
    "evaluation": ("/metrics.json", json.dumps(SLICES)),
    "verification": ("/verification.json", json.dumps({"max_difference": 0.5, "approved": True})),
    "report": ("", "<!doctype html><title>PLACE</title>"),
    "bundle": (
        "/artifact.json",
        json.dumps(
            {
                "edgeline_schema": "bundle/v1",
                "metadata": {"name": "taxi", "version": 1, "uri": "s3://mlpipeline/models/taxi/1"},
                "files": {},
            }
        ),
    ),
}
NUMBERS = {"analyze": {"auc": 0.95}, "verify": {"max_difference": 0.5}}
WITH_REPORT = {
    "analyze", "convert", "ingest", "model-card", "train", "transform", "validate", "verify",
}  # fmt: skip


@pytest.fixture
def bucket(s3_server: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts texts by their keys into the bucket `mlpipeline`, for s3:// and minio://."""
    client = s3_server.client
    if client.bucket_exists("mlpipeline"):
        for found in list(client.list_objects("mlpipeline", recursive=True)):
            client.remove_object("mlpipeline", found.object_name)
    else:
        client.make_bucket("mlpipeline")
    variables = {
        **s3_server.environment,
        "AWS_ENDPOINT_URL": f"http://{s3_server.address}",
        "AWS_ACCESS_KEY_ID": s3_server.access_key,
        "AWS_SECRET_ACCESS_KEY": s3_server.secret_key,
        "AWS_REGION": "us-east-1",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    def put(key: str, text: str) -> None:
        content = text.encode()
        client.put_object("mlpipeline", key, io.BytesIO(content), len(content))

    return put


def lay(put: Any, below: str = "pipelines/taxi", run: str = OLD, tasks: Any = None) -> None:
    """The outputs of the recorded run, as of a run and below a prefix."""
    for task, places in message("taxi_runs")["outputs"].items():
        for place in places:
            _, path = place.split(f"/{OLD}/")
            if tasks and path.partition("/")[0] not in tasks:
                continue
            end, text = CONTENT.get(path.rpartition("/")[2], ("", task))
            put(f"{below}/{run}/{path}{end}", text.replace("PLACE", f"{below} {path}"))


def run_of(server: RecordedServer, key: str, root: str = "s3://mlpipeline/pipelines") -> RemoteRun:
    names = [task.replace("_", "-") for task in message("taxi_runs")["outputs"]]
    planned = [PlannedTask(name, name, ()) for name in names]
    server.answer(f"GET runs/{key}", {**message("taxi_runs")["run"], "run_id": key})
    client = connect(server.address)
    return RemoteRun(client, key, "taxi", planned, root, Console(file=io.StringIO()))


@pytest.mark.parametrize(
    ("root", "below"),
    [
        ("s3://mlpipeline/pipelines", "pipelines/taxi"),
        ("s3://mlpipeline/pipelines/?endpoint=minio:9000&region=x", "pipelines/taxi"),
        ("minio://mlpipeline/v2/artifacts", "v2/artifacts/taxi"),
        (
            "minio://mlpipeline/private-artifacts/team-a/v2/artifacts",
            "private-artifacts/team-a/v2/artifacts/taxi",
        ),
    ],
)
def test_numbers_and_reports_are_told_by_task(
    root: str, below: str, recorded: RecordedServer, bucket: Any
) -> None:
    lay(bucket, below)
    other = below.replace("team-a", "team-b")
    bucket(f"{other}-not/{OLD}/analyze/x/report", "of another place")
    run = run_of(recorded, OLD, root)
    assert run.metrics == NUMBERS
    assert run.reports.keys() == WITH_REPORT
    assert "analyze/" in run.reports["analyze"].content
    shown = run.reports._repr_html_()  # a notebook's, closed, in frames that run no script
    assert (
        shown.count("<details><summary>") == shown.count('<iframe sandbox=""') == len(run.reports)
    )
    assert run.bundle == "s3://mlpipeline/models/taxi/1"
    bucket(f"{below}/{OLD}/publish-2/x/bundle/artifact.json", "{}")  # of another component
    assert run.bundles == {"taxi": "s3://mlpipeline/models/taxi/1"}
    bucket(
        f"{below}/{OLD}/publish-3/x/bundle/artifact.json", CONTENT["bundle"][1].replace("taxi", "u")
    )
    with pytest.raises(EdgelineError, match="has published taxi, u: take one of `bundles`"):
        _ = run.bundle


def test_a_run_that_published_nothing_says_so(recorded: RecordedServer, bucket: Any) -> None:
    lay(bucket, tasks=["analyze"])
    run = run_of(recorded, OLD)
    with pytest.raises(EdgelineError, match=r"has published no bundle. See its tasks at http"):
        _ = run.bundle


def test_what_came_from_the_cache_is_read_where_an_older_run_put_it(
    recorded: RecordedServer, bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lineage, "PAGE", 20)  # as was asked; the run has two pages
    recorded.keep_metadata()
    lay(bucket)
    lay(bucket, run=CACHED, tasks=["model-card"])
    for number, execution in enumerate(
        ("7c5a4f1e-0d4d-4b5e-9a57-0d2f6a1b9f10", "1f0b7c1c-93a4-4a0e-8f43-6a8a4b1f7d22")
    ):
        below = f"pipelines/taxi/{CACHED}/validate-2/{execution}"
        bucket(f"{below}/report", f"<!doctype html>round {number}")
    bucket("models/taxi/1/report", "of an imported artifact, beside which others' files may lie")
    run = run_of(recorded, CACHED, root="")  # told by the store, so nobody has to give it
    assert run.metrics == NUMBERS
    reports = run.reports
    assert reports.keys() == {"analyze", "verify", "model-card", "validate-2[0]", "validate-2[1]"}
    assert reports["validate-2[1]"].content == "<!doctype html>round 1"  # in the loop's order
    folders = {
        artifact.uri.split("/")[5] for artifact in lineage.artifacts_of(run.server, CACHED) or []
    }
    assert folders >= {OLD, CACHED}


def test_files_that_the_server_does_not_tell_are_said_to_be_missing(
    recorded: RecordedServer, bucket: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """The API server alone: its address has no metadata store beside it."""
    lay(bucket)
    run = run_of(recorded, CACHED)
    with pytest.raises(EdgelineError, match=r"No files of .*analyze.* are in the folder of run"):
        _ = run.metrics
    lay(bucket, run=CACHED, tasks=["model-card"])
    assert run.reports.keys() == {"model-card"}
    said = capsys.readouterr().err
    assert "No files of analyze" in said
    assert "model-card" not in said.partition(" are in the folder")[0]
    assert "Client(host=...)" in said


def test_a_root_that_nobody_tells_is_asked_for(recorded: RecordedServer) -> None:
    with pytest.raises(EdgelineError, match=r"--root \(Client\(root=...\)\) the pipeline root"):
        _ = run_of(recorded, OLD, root="").reports


@pytest.mark.parametrize("answer", [b"", b"\xff\xff\xff", b"\x0a\x7f", b"\x0f\x00", b"<html>"])
def test_what_is_no_metadata_store_is_not_taken_for_one(
    answer: bytes, recorded: RecordedServer
) -> None:
    recorded.keep_metadata()
    for key in recorded.metadata:
        recorded.metadata[key] = answer
    assert lineage.artifacts_of(connect(recorded.address), CACHED) is None


def odd(content: bytes, depth: int = 0) -> Iterator[bytes]:
    """A message with one field gone, or of the other kind, at each place of it."""
    fields = list(lineage._fields(content))

    def encoded(changed: list[tuple[int, Any]]) -> bytes:
        return b"".join(
            lineage._number(number, value)
            if isinstance(value, int)
            else lineage._bytes(number, value)
            for number, value in changed
        )

    for place, (number, value) in enumerate(fields[:6]):
        before, after = fields[:place], fields[place + 1 :]
        yield encoded(before + after)
        if isinstance(value, int):
            yield encoded([*before, (number, b"text"), *after])
            continue
        yield encoded([*before, (number, 7), *after])
        try:
            inner = list(odd(value, depth + 1)) if depth < 4 else []
        except (IndexError, KeyError, TypeError):
            continue  # a text
        for each in inner:
            yield encoded([*before, (number, each), *after])


@pytest.mark.parametrize("place", range(5))
def test_an_answer_with_a_field_gone_or_of_another_kind_is_no_exception(
    place: int, recorded: RecordedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lineage, "PAGE", 20)  # as was asked
    recorded.keep_metadata()
    server = connect(recorded.address)
    key = [*recorded.metadata][place]
    told = lineage.artifacts_of(server, CACHED)
    changed = list(odd(recorded.metadata[key]))
    assert told and changed
    for answer in changed:
        recorded.metadata[key] = answer
        found = lineage.artifacts_of(server, CACHED)
        assert found is None or len(found) <= len(told)


def test_pages_without_end_are_not_turned_for_ever(recorded: RecordedServer) -> None:
    recorded.keep_metadata()
    (key,) = [key for key in recorded.metadata if key[0] == "GetExecutionsByContext"][-1:]
    answer = recorded.metadata[key] + lineage._text(2, "more")
    context = lineage._first(key[1], 1, 0)
    for token in (b"", lineage._bytes(3, b"more")):
        options = lineage._bytes(2, lineage._number(1, lineage.PAGE) + token)
        recorded.metadata["GetExecutionsByContext", lineage._number(1, context) + options] = answer
    assert lineage.artifacts_of(connect(recorded.address), CACHED) is None
    asked = [line for line in recorded.asked if "GetExecutionsByContext" in line]
    assert len(asked) == 2


def test_numbers_of_other_components_are_no_fault(recorded: RecordedServer, bucket: Any) -> None:
    below = f"pipelines/taxi/{OLD}"
    bucket(f"{below}/mine/1/scores/metrics.json", '{"f1": 0.5, "name": "x", "good": true}')
    bucket(f"{below}/list/1/scores/metrics.json", "[1, 2]")
    assert run_of(recorded, OLD).metrics == {"mine": {"f1": 0.5}}
    bucket(f"{below}/cut/1/scores/metrics.json", '{"f1": 0.')
    with pytest.raises(EdgelineError, match=r"cut/1/scores/metrics\.json is not JSON"):
        _ = run_of(recorded, OLD).metrics


def test_a_run_whose_cached_inputs_the_launcher_cannot_read_is_refused(
    recorded: RecordedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recorded run, whose artifacts lie under s3://, comes before one under another root."""
    monkeypatch.setattr(lineage, "PAGE", 20)  # as was asked
    recorded.keep_metadata()
    run = message("taxi_runs")["run"]
    version = {"pipeline_id": "p", "pipeline_version_id": "v"}
    other = {
        **run,
        "run_id": "other",
        "pipeline_version_reference": {**version, "pipeline_id": "q"},
    }
    ours = {**run, "run_id": CACHED, "pipeline_version_reference": version}
    recorded.answer("GET runs", {"runs": [other, ours]})
    server = connect(recorded.address)
    for root in ("s3://elsewhere/pipelines", ""):
        cached_inputs.check(server, "p", "taxi", root)
    cached_inputs.check(server, None, "taxi", "minio://mlpipeline/v2/artifacts")
    cached_inputs.check(server, "new", "taxi", "minio://mlpipeline/v2/artifacts")
    with pytest.raises(EdgelineError) as caught:
        cached_inputs.check(server, "p", "taxi", "minio://mlpipeline/v2/artifacts")
    said = str(caught.value)
    assert said.startswith("Earlier results of taxi lie at s3://mlpipeline/pipelines/taxi/")
    assert "run without the cache" in said


@pytest.mark.parametrize(
    ("root_of_other", "from_cache", "is_refused"),
    [({}, False, True), ({"defaultPipelineRoot": "s3://b"}, False, False), ({}, True, False)],
)
def test_a_change_of_the_server_s_root_is_seen_where_a_later_run_shows_it(
    root_of_other: dict[str, str],
    from_cache: bool,
    is_refused: bool,
    recorded: RecordedServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The pipeline and the other name no root; one that names its own shows nothing."""
    run = message("taxi_runs")["run"]
    runs = [
        {
            **run,
            "run_id": name,
            "pipeline_version_reference": {"pipeline_id": name, "pipeline_version_id": "v"},
        }
        for name in ("other", "ours")
    ]
    recorded.answer("GET runs", {"runs": runs})
    for name, spec in (("other", root_of_other), ("ours", {})):
        version = {"pipeline_id": name, "pipeline_version_id": "v"}
        kept = {"pipeline_spec": {"root": {}, **spec}, "platform_spec": {}}
        recorded.answer(f"GET pipelines/{name}/versions/v", {**version, "pipeline_spec": kept})
    execution = "922052fe-a56e-447a-a154-1366edd52782"
    places = {
        "other": f"s3://b/p/q/{'older' if from_cache else 'other'}/ingest/{execution}/examples",
        "ours": f"minio://b/p/taxi/ours/ingest/{execution}/examples",
    }
    monkeypatch.setattr(
        cached_inputs,
        "artifacts_of",
        lambda _, run: [lineage.TaskArtifact("ingest", 1, "examples", places[run])],
    )
    server = connect(recorded.address)
    if not is_refused:
        cached_inputs.check(server, "ours", "taxi", "")
        return
    with pytest.raises(EdgelineError, match=r"later runs put s3://b/p/q/other/.*nothing from min"):
        cached_inputs.check(server, "ours", "taxi", "")


def test_where_no_metadata_store_answers_the_earlier_version_tells_its_root(
    recorded: RecordedServer,
) -> None:
    run = message("taxi_runs")["run"]
    version = {"pipeline_id": "p", "pipeline_version_id": "v"}
    recorded.answer("GET runs", {"runs": [{**run, "pipeline_version_reference": version}]})
    server = connect(recorded.address)
    cached_inputs.check(server, "p", "taxi", "gs://b")  # nothing is told, and nothing refused
    spec = {"pipeline_spec": {"defaultPipelineRoot": "s3://old/root"}, "platform_spec": {}}
    recorded.answer("GET pipelines/p/versions/v", {**version, "pipeline_spec": spec})
    with pytest.raises(EdgelineError, match=r"lie at s3://old/root, and with the root gs://b "):
        cached_inputs.check(server, "p", "taxi", "gs://b")
