"""What must hold for every kind of store."""

import errno
import os
import shutil
import threading
from pathlib import Path

import pytest

from edgeline import artifacts
from edgeline.artifacts import bundle
from edgeline.artifacts.windows import Windows
from edgeline.components.publish.publish import publish
from edgeline.errors import EdgelineError
from edgeline.stores.store import fetch, open_store


@pytest.fixture
def send(inputs, tmp_path, destination):
    """publish(...) with a model of the given content, to a new output folder."""

    def call(content=b"model one", version=0, run_id="run-1", **facts):
        output = tmp_path / "outputs" / os.urandom(6).hex()
        return publish(
            **inputs(content, **facts),
            bundle_path=output,
            name="taxi",
            destination=destination,
            version=version,
            pipeline_name="taxi-pipeline",
            run_id=run_id,
            git_commit="0123abc",
        )

    return call


def test_a_bundle_says_all_about_the_model(send, destination, tmp_path):
    published = send()
    assert published.version == 1
    assert published.uri == f"{destination}/taxi/1"
    fetched = fetch(published.uri, tmp_path / "fetched")
    assert fetched == bundle.read(tmp_path / "fetched")
    assert (fetched.name, fetched.version, fetched.target) == ("taxi", 1, "litert")
    assert (fetched.task, fetched.quantisation, fetched.takes) == (
        "binary_classification",
        "none",
        "raw",
    )
    assert fetched.labels == ("small", "big")
    assert fetched.signature.inputs == (bundle.Tensor("miles", "float32", (-1, 1)),)
    assert fetched.features[0].name == "miles"
    listed = {"model.tflite", "labels.txt", "test_vectors.json", "bom.cdx.json"}
    assert set(fetched.files) == listed
    assert fetched.evaluation["metrics"] == {"auc": 0.9}
    assert fetched.verification["latency_ms"] == 1.0
    assert fetched.provenance["pipeline"] == "taxi-pipeline"
    assert fetched.provenance["run"] == "run-1"
    assert fetched.provenance["git_commit"] == "0123abc"
    assert fetched.provenance["data_digest"] == "d1"
    assert (tmp_path / "fetched/model.tflite").read_bytes().endswith(b"TFL3model one")


def test_the_output_is_a_copy_of_what_was_published(inputs, destination, tmp_path):
    published = publish(
        **inputs(), bundle_path=tmp_path / "output", name="taxi", destination=destination
    )
    fetched = fetch(published.uri, tmp_path / "fetched")
    assert bundle.read(tmp_path / "output") == fetched
    listed = artifacts.read(tmp_path / "output", "bundle/v1").metadata
    assert {"edgeline_schema": "bundle/v1", **listed} == published.metadata
    assert published.metadata.keys() == {"edgeline_schema", "name", "version", "uri", "digest"}


def test_what_is_not_proven_missing_is_in_the_manifest(inputs, tmp_path):
    given = inputs()
    with artifacts.writing(tmp_path / "probed", "verification/v1") as draft:
        of = artifacts.read(given["verification_path"], "verification/v1").metadata
        draft.metadata.update(of, probes={"asked": 7, "not_proven_missing": ["miles"]})
    store = str(tmp_path / "store")
    before = publish(**given, bundle_path=tmp_path / "1", name="taxi", destination=store)
    given["verification_path"] = str(tmp_path / "probed")
    after = publish(**given, bundle_path=tmp_path / "2", name="taxi", destination=store)
    assert (before.version, after.version) == (1, 2)
    assert bundle.read(tmp_path / "1").not_proven_missing is None
    assert bundle.read(tmp_path / "2").not_proven_missing == ("miles",)
    assert bundle.read(tmp_path / "2").verification["probes"]["asked"] == 7


def test_the_same_content_is_published_once(send, destination, tmp_path):
    first = send(run_id="run-1", latency=1.0)
    again = send(run_id="run-2", latency=1.1)
    assert again == first
    assert open_store(destination).versions("taxi") == [1]
    assert fetch(first.uri, tmp_path / "fetched").provenance["run"] == "run-1"


def test_new_content_is_the_next_version_and_the_old_stays(send, destination, tmp_path):
    assert [send(b"one").version, send(b"two").version, send(b"one").version] == [1, 2, 3]
    assert open_store(destination).versions("taxi") == [1, 2, 3]
    for number, content in ((1, b"one"), (2, b"two"), (3, b"one")):
        fetch(f"{destination}/taxi/{number}", tmp_path / str(number))
        assert (tmp_path / str(number) / "model.tflite").read_bytes().endswith(content)


def test_a_given_version_is_taken_or_free(send, destination, tmp_path):
    assert send(b"one", version=7).version == 7
    assert send(b"one", version=7).version == 7
    with pytest.raises(EdgelineError, match="taxi/7 is taken by other content: give another"):
        send(b"two", version=7)
    assert send(b"two").version == 8
    assert send(b"three", version=3).version == 3
    assert open_store(destination).versions("taxi") == [3, 7, 8]
    fetch(f"{destination}/taxi/7", tmp_path / "seven")
    assert (tmp_path / "seven/model.tflite").read_bytes().endswith(b"one")


def test_publishers_that_race_get_different_versions(send, destination, tmp_path):
    contents = [b"one", b"two", b"three", b"four"]
    barrier = threading.Barrier(len(contents))
    published = {}

    def race(content):
        barrier.wait()
        published[content] = send(content)

    threads = [threading.Thread(target=race, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    versions = sorted(result.version for result in published.values())
    assert len(set(versions)) == len(contents)
    assert open_store(destination).versions("taxi") == versions
    for content, result in published.items():
        fetch(result.uri, tmp_path / str(result.version))
        assert (tmp_path / str(result.version) / "model.tflite").read_bytes().endswith(content)


def test_publishers_of_the_same_content_that_race_share_a_version(send, destination, tmp_path):
    barrier = threading.Barrier(3)
    published = []

    def race(run_id):
        barrier.wait()
        published.append(send(b"same", run_id=run_id))

    threads = [threading.Thread(target=race, args=(f"run-{i}",)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {result.uri for result in published} == {f"{destination}/taxi/1"}
    assert open_store(destination).versions("taxi") == [1]
    fetch(f"{destination}/taxi/1", tmp_path / "fetched")


def test_a_model_that_is_not_approved_is_refused(send, destination):
    with pytest.raises(EdgelineError, match="verify did not approve it"):
        send(approved=False)
    with pytest.raises(EdgelineError, match="analyze did not bless it"):
        send(blessed=False)
    assert open_store(destination).versions("taxi") == []


def test_the_approval_of_another_model_is_refused(inputs, tmp_path):
    mixed = {**inputs(b"one"), "verification_path": inputs(b"two")["verification_path"]}
    with pytest.raises(EdgelineError, match="approves another: verify this one"):
        publish(
            **mixed, bundle_path=tmp_path / "output", name="taxi", destination=str(tmp_path / "x")
        )


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"name": "Taxi/../x"}, "The name 'Taxi/../x' is impossible"),
        ({"target": "Lite RT"}, "The target 'Lite RT' is impossible"),
        ({"version": -1}, "The version -1 is negative"),
        ({"destination": ""}, "The destination is empty"),
        ({"destination": "ftp://host/x"}, "ftp://host/x is not a destination"),
        ({"destination": "gs://b/p"}, "gs://b needs an identity: Workload Identity"),
        ({"destination": "abfs://c/p"}, "names no storage account: set AZURE_STORAGE_ACCOUNT"),
    ],
)
def test_impossible_parameters(inputs, tmp_path, change, sentence):
    arguments = {"name": "taxi", "destination": str(tmp_path / "store"), **change}
    with pytest.raises(EdgelineError, match="(?s)" + sentence.replace(".", r"\.")):
        publish(**inputs(), bundle_path=tmp_path / "output", **arguments)
    assert not (tmp_path / "output").exists()
    assert not (tmp_path / "store").exists()


def test_keys_in_the_destination_are_refused_and_not_repeated(inputs, tmp_path):
    with pytest.raises(EdgelineError, match="holds keys") as caught:
        publish(
            **inputs(),
            bundle_path=tmp_path / "output",
            name="taxi",
            destination="s3://someone:sesame@bucket/x",
        )
    assert "sesame" not in str(caught.value)


def test_a_damaged_input_is_refused(inputs, tmp_path):
    damaged = inputs()
    with open(Path(damaged["edge_model_path"]) / "model.tflite", "ab") as stream:
        stream.write(b"!")
    with pytest.raises(EdgelineError, match=r"model\.tflite is damaged"):
        publish(
            **damaged,
            bundle_path=tmp_path / "output",
            name="taxi",
            destination=str(tmp_path / "store"),
        )


def test_fetch_refuses_what_is_not_there(destination, tmp_path, send):
    send()
    with pytest.raises(EdgelineError, match=r"taxi/2 is not published: the versions .* are 1"):
        fetch(f"{destination}/taxi/2", tmp_path / "fetched")
    with pytest.raises(EdgelineError, match="is not a bundle: its URI ends in /NAME/VERSION"):
        fetch(f"{destination}/taxi", tmp_path / "fetched")
    (tmp_path / "mine").mkdir()
    with pytest.raises(EdgelineError, match="mine exists"):
        fetch(f"{destination}/taxi/1", tmp_path / "mine")
    assert not (tmp_path / "fetched").exists()


def test_a_folder_that_cannot_be_written(send, tmp_path, monkeypatch):
    """A full disk: the fetch leaves nothing."""
    uri = send().uri

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(shutil, "copyfile", full)
    monkeypatch.setattr("minio.api.Minio.fget_object", full)
    with pytest.raises(EdgelineError, match=r"fetched cannot be written \(No space left"):
        fetch(uri, tmp_path / "fetched")
    assert not list(tmp_path.glob("fetched*"))


@pytest.mark.parametrize(
    ("chosen", "verified", "carried"),
    [(0.3, 0.3, 0.3), (None, 0.3, 0.3), (None, 0.5, None), (0.5, 0.5, None), (None, None, None)],
)
def test_the_decision_threshold_of_verify_goes_along(send, tmp_path, chosen, verified, carried):
    made = fetch(send(chosen=chosen, verified=verified).uri, tmp_path / "fetched")
    assert made.decision_threshold == carried
    assert made.format == ("bundle/v4" if carried else "bundle/v1")


@pytest.mark.parametrize("by", ["client", "server"])
def test_what_a_row_is_made_of_goes_along(send, tmp_path, by):
    """An older server takes windows that the client sends, and no others."""
    windows = {"size": 4, "time": "at", "columns": ["miles", "unused"], "kept_by": by}
    made = fetch(send(windows=windows).uri, tmp_path / "fetched")
    kept = made.windows or Windows.from_json(made.provenance["windows"])
    assert (kept.size, kept.columns, kept.kept_by) == (4, ("miles",), by)
    assert made.format == ("bundle/v5" if by == "server" else "bundle/v1")


@pytest.mark.parametrize(("verified", "said"), [(None, "0.5, as before"), (0.5, "0.5")])
def test_a_model_is_not_published_by_another_threshold_than_analyze_chose(send, verified, said):
    with pytest.raises(EdgelineError, match=f"threshold 0.3, but .* by {said}: give convert"):
        send(chosen=0.3, verified=verified)
