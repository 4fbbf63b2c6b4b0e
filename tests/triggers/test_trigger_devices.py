"""Events that a device has signed: nobody makes up a quorum."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_events import document
from trigger_serving import KEY, Serving

from edgeline.errors import EdgelineError, UsageError
from edgeline.server.errors import ServingError
from edgeline.server.fleet import protocol, signatures
from edgeline.server.fleet.device_keys import DeviceKeys
from edgeline.triggers import events

NAMES = ("cam-1", "cam-2")


@pytest.fixture(scope="module")
def private() -> dict[str, signatures.Ed25519PrivateKey]:
    return {name: signatures.new_key() for name in NAMES}


@pytest.fixture
def file(private: dict[str, signatures.Ed25519PrivateKey], tmp_path: Path) -> Path:
    """The public keys."""
    found = {
        name: base64.b64encode(signatures.public_bytes(key)).decode()
        for name, key in private.items()
    }
    (tmp_path / "devices.json").write_text(json.dumps({"devices": found}))
    return tmp_path / "devices.json"


def drift(device: str) -> dict[str, Any]:
    return document(device, "fare", time=time.time())


def signed(private, name: str, body: bytes) -> dict[str, str]:
    signature = signatures.sign(private[name], body)
    return {protocol.DEVICE: name, protocol.SIGNATURE: signature}


def test_one_device_is_no_quorum(serving: Callable[..., Serving], private, file: Path) -> None:
    server = serving("--device-keys", str(file))
    body = json.dumps(drift("cam-1")).encode()
    headers = signed(private, "cam-1", body)
    assert server.send(body, key=None, **headers)[0] == 202
    assert server.send(body, key=None)[0] == 401
    other = json.dumps(drift("cam-2")).encode()
    status, found = server.send(other, key=None, **signed(private, "cam-1", other))
    assert status == 403
    assert "is not cam-1, which has signed it" in found["error"]
    within = json.dumps(drift("cam-1/x")).encode()
    assert server.send(within, key=None, **signed(private, "cam-1", within))[0] == 403
    assert server.send(other)[0] == 401  # the shared key does not speak for devices
    assert server.send(other, key=None, **headers)[0] == 403  # a signature of another body
    due = json.dumps(
        {**drift("clock"), "type": "io.edgeline.schedule.due", "data": {"model": "taxi"}}
    ).encode()
    assert server.send(due)[0] == 202
    assert server.send(due, key=None)[0] == 401
    assert server.send(other, key=None, **signed(private, "cam-2", other))[0] == 202
    assert [rule["runs"] != [] for rule in server.state()["rules"]] == [True]


def test_each_event_of_a_batch_is_of_its_device(private, file: Path) -> None:
    keys = DeviceKeys(str(file))
    batch = json.dumps([drift(name) for name in NAMES]).encode()
    headers = {
        name.lower().encode(): value.encode()
        for name, value in {**signed(private, "cam-1", batch), "content-type": events.BATCH}.items()
    }
    with pytest.raises(ServingError, match="is not cam-1"):
        events.read(headers, batch, (KEY,), known=True, devices=keys)
    binary = {**headers, b"content-type": b"application/json", b"ce-specversion": b"1.0"}
    with pytest.raises(ServingError, match="id and time in headers"):
        events.read(binary, batch, (), known=False, devices=keys)
    keys.close()


def test_keys_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    with pytest.raises(UsageError, match="cannot be read"):
        DeviceKeys(str(file))
    for content, why in (
        ("[]", "does not hold the keys"),
        ('{"devices": {"a": "eA=="}}', "the key of a does not have 32 bytes"),
        ('{"devices": {"a": "?"}}', "not in base64"),
        ('{"devices": {"a": 1}}', "not in base64"),
        ("{", "is not JSON"),
    ):
        file.write_text(content)
        with pytest.raises(UsageError, match=why):
            DeviceKeys(str(file))
    with pytest.raises(EdgelineError, match="tells no keys"):
        DeviceKeys("http://127.0.0.1:9")
