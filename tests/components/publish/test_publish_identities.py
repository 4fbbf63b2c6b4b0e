"""No static key anywhere: a pod's identity from `repository init` to a device and back."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import threading
import time

import clouds
import pytest
import s3_server

from edgeline.components.plan.plan import plan
from edgeline.components.publish.publish import publish
from edgeline.errors import EdgelineError
from edgeline.repository import actions, keys
from edgeline.repository.place import open_place
from edgeline.server.updates.order import UpdateOrder
from edgeline.server.updates.synchronise import synchronise
from edgeline.server.watching.payload_files import PayloadFiles
from edgeline.stores import storage
from edgeline.stores.again import again
from edgeline.stores.buckets import open_bucket
from edgeline.stores.identity import aws as aws_identity
from edgeline.stores.identity import azure as azure_identity
from edgeline.stores.identity import google as google_identity

pytestmark = pytest.mark.slow
BUILD = "stores/build_emulators.sh"
SHORT = 3  # seconds that a token counts which ends during an upload


@pytest.fixture(scope="module", params=["aws", "google", "azure"])
def running_cloud(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    with contextlib.ExitStack() as stack:
        if request.param == "aws":
            yield stack.enter_context(clouds.aws(folder, s3_server.built()))
        elif request.param == "google":
            clouds.built(clouds.GOOGLE, BUILD)
            yield stack.enter_context(clouds.google(folder))
        else:
            clouds.built(clouds.AZURITE, BUILD)
            yield stack.enter_context(clouds.azure(folder))


@pytest.fixture
def cloud(running_cloud, monkeypatch):
    """A pod with the identity, and nothing else."""
    for name in list(os.environ):
        if name.startswith(("MINIO_", "AWS_", "AZURE_", "GOOGLE_", "GCE_", "STORAGE_")):
            monkeypatch.delenv(name)
    for name, value in running_cloud.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv(keys.PASSPHRASE, "a passphrase of the tests")
    running_cloud.life, running_cloud.refused = clouds.LIFE, False
    running_cloud.rotate()
    running_cloud.issued.clear()
    for identity in (aws_identity, google_identity, azure_identity):
        identity._renewed.cache_clear()  # as in a new process
    return running_cloud


def arguments(inputs, tmp_path, destination, **more):
    output = str(tmp_path / "outputs" / os.urandom(6).hex())
    return {**inputs, "bundle_path": output, "name": "taxi", "destination": destination, **more}


def test_from_the_publisher_to_a_device_and_back(cloud, inputs, tmp_path):
    fleet = f"{cloud.place}/fleet"
    actions.init(fleet, {}, tmp_path / "keys")
    (tmp_path / "root.json").write_bytes(open_place(fleet).read("metadata/1.root.json"))
    for content in (b"one", b"two"):
        publish(**arguments(inputs(content), tmp_path, fleet, signing_keys=str(tmp_path / "keys")))
    result = synchronise(UpdateOrder(fleet, str(tmp_path / "root.json"), str(tmp_path / "state")))
    assert (result.outcome, sorted(result.models["taxi"])) == ("ok", [2]), result.sentence
    model = tmp_path / "state/models/taxi/2/model.tflite"
    assert model.read_bytes().endswith(b"two")
    with pytest.raises(EdgelineError, match="is a signed repository"):
        publish(**arguments(inputs(b"three"), tmp_path, fleet))

    payloads = PayloadFiles(f"{cloud.place}/payloads", 1, 1 << 20, 300.0)
    payloads.write("taxi", 2, [{"fare": 1.5}])
    payloads.close(30)
    (found,) = storage.fetch(storage.resolve(f"{cloud.place}/payloads/**/*.gz"), tmp_path)
    assert found.size > 0
    assert len(storage.resolve(f"{cloud.place}/payloads")) == 1
    assert len(cloud.issued) == 1  # for all of this


def test_without_a_signature_two_publishers_get_two_numbers(cloud, inputs, tmp_path):
    place = f"{cloud.place}/plain"
    for content in (b"one", b"two"):
        publish(**arguments(inputs(content), tmp_path, place))
    assert publish(**arguments(inputs(b"two"), tmp_path, place)).version == 2
    with pytest.raises(EdgelineError, match="taxi/1 is taken"):
        publish(**arguments(inputs(b"three"), tmp_path, place, version=1))


def test_a_token_that_ends_during_an_upload_is_renewed(cloud, tmp_path, monkeypatch):
    """The upload stops half-way until the first token has ended, which each store checks.

    Parts go on with another token. A request that was signed before and arrives after it is made
    once more, as publish does.
    """
    data = tmp_path / "model"
    data.write_bytes(os.urandom(1 << 20) * 64)
    cloud.life = SHORT
    cloud.rotate()
    with Pause(cloud.address, cloud) as pause:
        for name, value in cloud.environment.items():
            monkeypatch.setenv(name, value.replace(cloud.address, pause.address))
        scheme, _, path = cloud.place.partition("://")
        bucket, _, prefix = path.partition("/")
        objects = open_bucket(scheme, bucket)
        again(lambda: objects.upload(f"{prefix}/big", data))
        assert pause.paused.is_set()
        assert len(cloud.issued) > 1
        (found,) = storage.fetch(storage.resolve(f"{cloud.place}/big"), tmp_path)
    assert found.sha256 == hashlib.sha256(data.read_bytes()).hexdigest()


def test_the_first_task_refuses_an_identity_that_is_none(cloud, monkeypatch):
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    plan(destination=cloud.place)
    for identity in (aws_identity, google_identity, azure_identity):
        identity._renewed.cache_clear()
    cloud.refused = True
    cloud.rotate()
    with pytest.raises(EdgelineError, match=r"gives no identity \(status 40\d, \w") as caught:
        plan(destination=cloud.place)
    assert "cluster's token" not in str(caught.value)
    for name in cloud.environment:
        if name.startswith(("AWS_ROLE", "AWS_WEB", "AZURE_C", "AZURE_F", "GCE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", "")
    plan(destination=cloud.place)  # publish alone may have keys
    monkeypatch.setenv("EDGELINE_IDENTITY_ONLY", "true")
    with pytest.raises(EdgelineError, match=r"needs (keys or )?an identity: "):
        plan(destination=cloud.place)


def test_a_store_that_has_no_such_bucket(cloud, inputs, tmp_path):
    scheme = cloud.place.partition("://")[0]
    with pytest.raises(EdgelineError, match=r"nowhere at .* does not exist"):
        publish(**arguments(inputs(), tmp_path, f"{scheme}://nowhere/x"))
    assert not list((tmp_path / "outputs").iterdir())


class Pause:
    """A TCP proxy before a store that lets nothing through, once a third of an upload went up,
    until the first token has ended."""

    def __init__(self, upstream: str, cloud: clouds.Cloud) -> None:
        host, port = upstream.split(":")
        self._upstream, self._cloud, self._sent = (host, int(port)), cloud, 0
        self.paused, self._until = threading.Event(), 0.0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Pause:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                down, _ = self._listener.accept()
            except OSError:
                return
            up = socket.create_connection(self._upstream)
            for source, target, counts in ((down, up, True), (up, down, False)):
                threading.Thread(target=self._pump, args=(source, target, counts)).start()

    def _pump(self, source: socket.socket, target: socket.socket, counts: bool) -> None:
        with contextlib.suppress(OSError), source, target:
            while data := source.recv(1 << 16):
                self._sent += len(data) * counts
                if self._sent > 20 << 20 and not self.paused.is_set():
                    self._until = self._cloud.issued[0]
                    self.paused.set()
                while counts and time.time() < self._until:
                    time.sleep(0.02)
                target.sendall(data)
