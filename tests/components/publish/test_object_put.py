"""The server's own way of putting objects, and its payloads, against the real S3 server."""

from __future__ import annotations

import gzip
import json

import pytest
from s3_server import BUCKET

from edgeline.errors import EdgelineError
from edgeline.server.watching.payload_files import PayloadFiles
from edgeline.stores.object_put import bucket


@pytest.fixture(autouse=True)
def environment(s3_server, monkeypatch):
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)


def test_objects_arrive_whole_under_odd_names(s3_server):
    place = bucket(f"s3://{BUCKET}/some prefix/ü")
    place.put("a b+c=d/x.bin", bytes(range(256)) * 1000)
    found = s3_server.client.get_object(BUCKET, "some prefix/ü/a b+c=d/x.bin")
    assert found.read() == bytes(range(256)) * 1000


def test_a_wrong_key_or_bucket_is_an_error_in_words(monkeypatch):
    with pytest.raises(OSError, match="404"):
        bucket("s3://no-such-bucket/x").put("a", b"")
    monkeypatch.setenv("MINIO_SECRET_KEY", "wrong")
    with pytest.raises(OSError, match="403"):
        bucket(f"s3://{BUCKET}/x").put("a", b"")
    monkeypatch.delenv("MINIO_SECRET_KEY")
    with pytest.raises(EdgelineError, match="MINIO_SECRET_KEY"):
        bucket(f"s3://{BUCKET}/x")
    with pytest.raises(EdgelineError, match="not a place for payloads"):
        bucket("ftp://x/y")


def test_payloads_go_to_the_store_and_wait_while_it_is_away(s3_server, monkeypatch):
    files = PayloadFiles(f"s3://{BUCKET}/payloads", 1, 1 << 20, 300.0)
    files.write("taxi", 3, [{"fare": 1.5}, {"fare": None}])
    monkeypatch.setattr("edgeline.server.watching.payload_files._AGAIN", 0.0)
    good = files._bucket
    files._bucket = bucket("s3://no-such-bucket/x")
    files.turn()
    files._bucket = good
    files.turn()
    files.close(5)
    names = [
        entry.object_name
        for entry in s3_server.client.list_objects(BUCKET, "payloads/taxi/3/", recursive=True)
    ]
    (name,) = names
    data = gzip.decompress(s3_server.client.get_object(BUCKET, name).read())
    assert [json.loads(line) for line in data.splitlines()] == [{"fare": 1.5}, {"fare": None}]
