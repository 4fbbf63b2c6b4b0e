"""A destination that is gone with the pod is refused in a cluster, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeline.errors import EdgelineError
from edgeline.stores import destinations
from edgeline.stores.destinations import (
    is_relative,
    is_unmounted,
    refuse_forgotten,
    refuse_lost,
    refuse_relative,
)
from edgeline.stores.store import open_store

# of a pod of KFP, with a claim at /mnt/models, a part of it in memory, and a folder of the node
MOUNTS = """\
1 0 0:1 / / rw,relatime master:1 - overlay overlay rw
2 1 0:2 / /proc rw - proc proc rw
3 1 0:3 / /dev rw - tmpfs tmpfs rw,size=65536k
4 1 8:1 /var/lib/kubelet/pods/1/volumes/kubernetes.io~empty-dir/s /minio rw - ext4 /dev/sda1 rw
5 1 8:2 / /mnt/models rw - ext4 /dev/sdb rw
6 5 0:6 / /mnt/models/passing rw - tmpfs tmpfs rw
7 1 0:7 / /mnt/a\\040b rw - nfs4 server:/share rw
8 1 8:1 /srv/models /srv/models rw - ext4 /dev/sda1 rw
"""


@pytest.fixture
def pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    monkeypatch.delenv(destinations.LOCAL_RUN, raising=False)
    (tmp_path / "mountinfo").write_text(MOUNTS)
    monkeypatch.setattr(destinations, "MOUNTS", tmp_path / "mountinfo")


RELATIVE = [
    "edgeline-models",
    "./models",
    "../models",
    ".",
    "~",
    "~/models",
    "file:models",
    "C:\\x",
]
PASSING = ["/models", "/minio/models", "/dev/shm", "/mnt/models/passing/x", "/mnt/models-2", "/"]
KEPT = ["/mnt/models", "/mnt/models/a/../b", "/mnt/a b/c", "/srv/models/x", "file:///mnt/a%20b"]
BUCKETS = [
    *("s3://models", "minio://models/fleet", "gs://models/x", "file://elsewhere/x", ""),
    *("abfs://models/x", "abfs://models@account.dfs.core.windows.net/x"),
]


@pytest.mark.usefixtures("pod")
@pytest.mark.parametrize("destination", RELATIVE)
def test_a_relative_one_is_refused_by_the_first_task_and_by_publish(destination: str) -> None:
    for refuse in (refuse_relative, refuse_lost):
        with pytest.raises(EdgelineError) as caught:
            refuse(destination)
        assert str(caught.value).startswith(
            f"The destination {destination} is a folder on the own disk of the task's pod, and "
            "what is published there is gone when the pod is: give s3://bucket/prefix or "
        )


@pytest.mark.usefixtures("pod")
@pytest.mark.parametrize("destination", PASSING)
def test_where_the_pod_has_no_volume_publish_refuses(destination: str) -> None:
    refuse_relative(destination)  # only the pod of publish knows what is mounted at it
    with pytest.raises(EdgelineError, match="or mount a volume there"):
        refuse_lost(destination)


@pytest.mark.usefixtures("pod")
@pytest.mark.parametrize("destination", [*KEPT, *BUCKETS])
def test_volumes_and_buckets_are_not_refused(destination: str) -> None:
    refuse_relative(destination)
    refuse_lost(destination)


@pytest.mark.usefixtures("pod")
def test_a_folder_that_is_to_outlive_the_pod_and_does_not_is_refused() -> None:
    for place in (*RELATIVE, *PASSING):
        with pytest.raises(
            EdgelineError, match="the task's pod, which is gone when the pod is: name one"
        ):
            refuse_forgotten("checkpoint_dir", place)
    for place in (*KEPT, *BUCKETS, ""):
        refuse_forgotten("checkpoint_dir", place)


@pytest.mark.usefixtures("pod")
def test_where_it_cannot_be_told_it_is_not_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for text in ("", "what is this\n"):
        (tmp_path / "mountinfo").write_text(text)
        refuse_lost("/models")
    monkeypatch.setattr(destinations, "MOUNTS", tmp_path / "absent")
    refuse_lost("/models")


def test_outside_of_a_cluster_and_in_a_local_run_in_a_notebook_s_pod_all_is_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    for destination in (*RELATIVE, *PASSING):
        refuse_lost(destination)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    monkeypatch.setenv(destinations.LOCAL_RUN, "1")
    for destination in (*RELATIVE, *PASSING):
        refuse_lost(destination)


def test_what_a_compiled_pipeline_tells() -> None:
    assert all(map(is_relative, RELATIVE))
    assert not any(map(is_relative, [*PASSING, *KEPT, *BUCKETS]))
    assert not is_unmounted("/mnt/models/x", ["/mnt/models/"])
    assert is_unmounted("/mnt/models/../x", ["/mnt/models"])
    assert not any(is_unmounted(place, []) for place in (*RELATIVE, *BUCKETS))


def test_this_machine_s_own_mounts_can_be_read() -> None:
    if destinations.MOUNTS.exists():
        assert [destinations._mount(line) for line in destinations.MOUNTS.read_text().splitlines()]
    assert isinstance(destinations._outlives_the_pod(Path.cwd()), bool)


@pytest.mark.parametrize(
    "destination",
    ["s3:/models/x", "S3:models", "minio:b/x", "file:x", "file://", "C:\\models", "~", "~/models",
     "  ", "\n", " s3://models", "s3://models/x ", "s3://mod\nels", "models\n", "a\0b",
     "s3://[models", "file://[x", "s3://models/x?y=1", "s3://models/x#y", "http://host/x",
     "s3:///models"],
)  # fmt: skip
def test_what_only_looks_like_a_destination_is_one_sentence(
    destination: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EdgelineError) as caught:
        open_store(destination)
    assert "\n" not in str(caught.value)
    for look in (is_relative, lambda text: is_unmounted(text, ())):
        assert look(destination) in (True, False)
    assert list(tmp_path.iterdir()) == []


def test_keys_in_a_malformed_destination_are_not_repeated() -> None:
    for destination in ("s3:/key:secret@models", "s3://key:secret@[models", " s3://k:secret@m"):
        with pytest.raises(EdgelineError) as caught:
            open_store(destination)
        assert "secret" not in str(caught.value)
