"""`gs://` for updates and payloads, against an emulator of Google Cloud Storage.

It takes any signature: that Google's store takes ours, made of an HMAC key, no test can say.
"""

from __future__ import annotations

import gzip
import json
import urllib.request
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from publishing import PASSPHRASE, Publisher, model

from edgeline.errors import EdgelineError
from edgeline.repository import keys
from edgeline.server.updates.fetching import MissingError, origin
from edgeline.server.updates.order import UpdateOrder
from edgeline.server.updates.synchronise import synchronise
from edgeline.server.watching.payload_files import PayloadFiles
from edgeline.stores.object_put import bucket

BUCKET = "fleet"


@pytest.fixture(scope="module")
def emulator() -> Iterator[str]:
    """The URL of an emulator with one bucket."""
    emulated = pytest.importorskip(
        "gcp_storage_emulator.server", reason="NOT TESTED: there is no gcp-storage-emulator here"
    )
    server = emulated.create_server("127.0.0.1", 0, in_memory=True, default_bucket=BUCKET)
    server.start()
    yield f"http://127.0.0.1:{server._api._httpd.server_port}"
    server.stop()


@pytest.fixture
def google(emulator, monkeypatch) -> str:
    for name in ("MINIO_ENDPOINT", "AWS_ENDPOINT_URL"):  # of other stores
        monkeypatch.setenv(name, "127.0.0.1:1")
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", emulator)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "GOOG1EXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a secret of the tests")
    return emulator


@pytest.mark.usefixtures("google")
def test_updates_come_from_a_bucket(tmp_path, monkeypatch):
    monkeypatch.setenv(keys.PASSPHRASE, PASSPHRASE)
    publisher = Publisher(tmp_path / "publisher")
    place = bucket(f"gs://{BUCKET}/models/north")

    def upload() -> None:
        for file in sorted(publisher.path.rglob("*")):
            if file.is_file() and not file.name.startswith("."):
                place.put(str(file.relative_to(publisher.path)), file.read_bytes())

    order = UpdateOrder(
        f"gs://{BUCKET}/models/north", str(publisher.root), str(tmp_path / "state"), versions=0
    )
    publisher.add(model(1))
    upload()
    assert synchronise(order).outcome == "ok"
    publisher.add(model(2))
    upload()
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")  # a public bucket
    result = synchronise(order)
    assert (result.outcome, sorted(result.models["m"])) == ("ok", [1, 2]), result.sentence
    publisher.withdraw(2)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a secret of the tests")
    upload()
    assert sorted(synchronise(order).models["m"]) == [1]
    nowhere = UpdateOrder("gs://no-such-bucket", str(publisher.root), str(tmp_path / "other"))
    assert synchronise(nowhere).outcome == "unreachable"


@pytest.mark.usefixtures("google")
def test_a_download_goes_on_or_begins_anew():
    bucket(f"gs://{BUCKET}/x").put("odd name+=ü/a.bin", bytes(range(256)))
    place = origin(f"gs://{BUCKET}/x")
    stream, start = place.open(quote("odd name+=ü/a.bin"), 200)
    with stream:
        assert stream.read() == bytes(range(start, 256))
    with pytest.raises(MissingError, match="answers 404"):
        place.open("nothing")


def test_payloads_go_to_a_bucket(google, monkeypatch):
    files = PayloadFiles(f"gs://{BUCKET}/payloads", 1, 1 << 20, 300.0)
    files.write("taxi", 3, [{"fare": 1.5}, {"fare": None}])
    files.turn()
    files.close(5)
    with urllib.request.urlopen(f"{google}/storage/v1/b/{BUCKET}/o") as answer:
        names = [entry["name"] for entry in json.load(answer)["items"]]
    (name,) = [name for name in names if name.startswith("payloads/taxi/3/")]
    stream, _ = origin(f"gs://{BUCKET}").open(name)
    rows = [json.loads(line) for line in gzip.decompress(stream.read()).splitlines()]
    assert rows == [{"fare": 1.5}, {"fare": None}]
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(EdgelineError, match="set AWS_ACCESS_KEY_ID"):
        bucket(f"gs://{BUCKET}/payloads")


def test_without_an_emulator_it_is_google(monkeypatch):
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("MINIO_ENDPOINT", "127.0.0.1:1")
    assert origin("gs://b/p").url == "https://storage.googleapis.com/b/p"
    assert origin("s3://b/p").url == "https://127.0.0.1:1/b/p"
