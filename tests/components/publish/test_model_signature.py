"""`model.sig`, by sigstore's `model_signing` itself, beside what TUF signs of the same files."""

from __future__ import annotations

import base64
import json
import random
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from referees import HERE, PYTHON, needs_referees
from tuf.api.exceptions import LengthOrHashMismatchError
from tuf.api.metadata import Metadata, Targets

from edgeline.artifacts import bundle as bundles
from edgeline.cli.main import cli
from edgeline.components.publish.publish import publish
from edgeline.errors import UsageError
from edgeline.repository import actions, keys
from edgeline.repository.place import open_place
from edgeline.server.updates.order import UpdateOrder
from edgeline.server.updates.synchronise import synchronise
from edgeline.sites import image
from edgeline.stores.store import fetch

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def passphrase(monkeypatch):
    monkeypatch.setenv(keys.PASSPHRASE, "a passphrase of the tests")


@pytest.fixture
def repository(request, tmp_path):
    """A started repository; the keys of its roles, and model.pem, are in tmp_path/keys.

    In a folder; where the test asks for `destination`, in a bucket as well.
    """
    asked = "destination" in request.fixturenames
    destination = request.getfixturevalue("destination") if asked else str(tmp_path / "store")
    actions.init(destination, {}, tmp_path / "keys")
    root = open_place(destination).read("metadata/1.root.json")
    (tmp_path / "root.json").write_bytes(root)
    made = CliRunner().invoke(cli, ["repository", "model-key", str(tmp_path / "keys/model.pem")])
    assert "model_signing verifies with" in made.output
    return destination


@pytest.fixture
def send(inputs, tmp_path, repository):
    def call(content: bytes, keys: str = "", **more: Any) -> Path:
        """The bundle's folder, as a task of publish leaves it."""
        output = tmp_path / "outputs" / random.randbytes(6).hex()
        published = publish(
            **inputs(content),
            bundle_path=output,
            name="taxi",
            destination=repository,
            signing_keys=keys or str(tmp_path / "keys"),
            **more,
        )
        fetch(published.uri, output.with_name(f"{output.name}-fetched"))
        return output.with_name(f"{output.name}-fetched")

    return call


def verified(folder: Path, key: Path) -> str:
    """What the command says that the format's own project gives."""
    command = [PYTHON, "-m", "model_signing", "verify", "key", "--public_key", key]
    done = subprocess.run(
        [*command, "--signature", folder / "model.sig", folder], capture_output=True, text=True
    )
    return f"{done.returncode}: {done.stdout}{done.stderr}"


def listed(repository: str) -> Targets:
    """What TUF signs of the repository."""
    place = open_place(repository)
    names = [f"metadata/{number}.targets.json" for number in range(1, 9)]
    newest = [found for name in names if (found := place.read(name))][-1]
    return Metadata[Targets].from_bytes(newest).signed


@needs_referees
@pytest.mark.usefixtures("destination")
def test_model_signing_accepts_what_is_published(send, repository, tmp_path):
    """In a folder and in a bucket, as it is fetched; and a device takes it."""
    folder = send(b"one")
    assert verified(folder, tmp_path / "keys/model.pem.pub") == "0: Verification succeeded\n"
    order = UpdateOrder(repository, str(tmp_path / "root.json"), str(tmp_path / "state"))
    result = synchronise(order)
    assert (result.outcome, list(result.models["taxi"])) == ("ok", [1])


@needs_referees
def test_it_lies_in_the_image_and_covers_all_that_is_there(send, tmp_path):
    """As KServe has it of the image; a file more and another key are refused."""
    folder, public = send(b"one"), tmp_path / "keys/model.pem.pub"
    unpacked = tmp_path / "unpacked"
    with image._layer(folder) as file:
        file.seek(0)
        with tarfile.open(fileobj=file) as layer:
            layer.extractall(unpacked, filter="data")
    assert verified(unpacked / "models", public) == "0: Verification succeeded\n"
    (unpacked / "models" / "more.txt").write_text("a file that nobody signed")
    assert "Extra files found" in verified(unpacked / "models", public)
    other = tmp_path / "other.pem"
    keys.generate_model_key(other)
    assert "Key mismatch" in verified(unpacked / "models", Path(f"{other}.pub"))


@needs_referees
@pytest.mark.parametrize("count", [50, pytest.param(10_000, marks=pytest.mark.long)])
def test_a_changed_byte_is_refused_by_both(count, inputs, tmp_path):
    """By model_signing and by TUF; each file has its share, and the smallest some of them.

    What model_signing accepts is a byte of model.sig itself that says the same as before: base64
    has bits that nobody reads. TUF refuses these, too.
    """
    store = str(tmp_path / "store")
    actions.init(store, {}, tmp_path / "keys")
    keys.generate_model_key(tmp_path / "keys/model.pem")
    publish(
        **inputs(random.Random(22).randbytes(4000)),
        bundle_path=tmp_path / "output",
        name="taxi",
        destination=store,
        signing_keys=str(tmp_path / "keys"),
    )
    folder = tmp_path / "store" / "targets" / "taxi" / "1"
    contents = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    assert {"manifest.json", "model.sig", "model.tflite", "labels.txt"} <= contents.keys()
    rng = random.Random(22)
    changes = []
    for number in range(count):
        name = list(contents)[number % len(contents)]
        offset = rng.randrange(len(contents[name]))
        changes.append((name, offset, contents[name][offset] ^ rng.randrange(1, 256)))
    asked = {"folder": str(folder), "key": str(tmp_path / "keys/model.pem.pub"), "changes": changes}
    done = subprocess.run(
        [PYTHON, HERE / "model_signing_referee.py"],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=True,
    )
    accepted = [changes[place] for place in json.loads(done.stdout)]
    targets = listed(store).targets
    for name, offset, value in changes:
        changed = bytearray(contents[name])
        changed[offset] = value
        with pytest.raises(LengthOrHashMismatchError):
            targets[f"taxi/1/{name}"].verify_length_and_hashes(bytes(changed))
        if (name, offset, value) in accepted:
            assert name == "model.sig"
            assert _said(bytes(changed)) == _said(contents[name])


def _said(signature: bytes) -> Any:
    """What a model.sig says, its base64 read."""
    found = json.loads(signature)
    envelope = found["dsseEnvelope"]
    envelope["payload"] = base64.b64decode(envelope["payload"])
    for each in envelope["signatures"]:
        each["sig"] = base64.b64decode(each["sig"])
    return found


@needs_referees
def test_the_package_signs_the_same_statement(send, tmp_path):
    """Of the same folder: name by name and digest by digest, and the digest of all."""
    folder = send(b"one")
    ours = json.loads(_said((folder / "model.sig").read_bytes())["dsseEnvelope"]["payload"])
    (folder / "model.sig").unlink()
    private = keys._private_key(str(tmp_path / "keys/model.pem"))
    plain = tmp_path / "plain.pem"
    plain.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    command = [PYTHON, "-m", "model_signing", "sign", "key", "--private_key", plain]
    subprocess.run([*command, "--signature", folder / "model.sig", folder], check=True)
    its = json.loads(_said((folder / "model.sig").read_bytes())["dsseEnvelope"]["payload"])
    assert ours["predicate"]["resources"] == its["predicate"]["resources"]
    assert ours["subject"][0]["digest"] == its["subject"][0]["digest"]
    assert {**ours, "subject": 0, "predicate": 0} == {**its, "subject": 0, "predicate": 0}


@needs_referees
def test_a_key_that_openssl_made_signs_as_well(inputs, tmp_path):
    actions.init(str(tmp_path / "store"), {}, tmp_path / "keys")
    private = ec.generate_private_key(ec.SECP521R1())
    (tmp_path / "mine.pem").write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )
    (tmp_path / "mine.pub").write_bytes(
        private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    published = publish(
        **inputs(b"one"),
        bundle_path=tmp_path / "output",
        name="taxi",
        destination=str(tmp_path / "store"),
        signing_keys=f"{tmp_path / 'keys'},{tmp_path / 'mine.pem'}",
    )
    assert verified(Path(published.uri), tmp_path / "mine.pub").startswith("0: ")


def test_a_version_that_was_not_signed_so_is_when_it_comes_again(send, repository, tmp_path):
    """The same content is the same version; the signature of the same key the same bytes."""
    roles = ",".join(str(tmp_path / f"keys/{r}.pem") for r in ("targets", "snapshot", "timestamp"))
    assert not (send(b"one", roles) / "model.sig").exists()
    assert "taxi/1/model.sig" not in listed(repository).targets
    signed = (send(b"one") / "model.sig").read_bytes()
    assert listed(repository).targets["taxi/1/model.sig"].length == len(signed)
    assert (send(b"one") / "model.sig").read_bytes() == signed
    assert (send(b"one", roles) / "model.sig").read_bytes() == signed  # and it stays
    assert "taxi/1/model.sig" in listed(repository).targets


def test_a_device_takes_no_notice_of_it(send, repository, tmp_path):
    """As those of before: it is listed, and belongs to no version's manifest."""
    assert "model.sig" not in bundles.read(send(b"one")).files
    order = UpdateOrder(repository, str(tmp_path / "root.json"), str(tmp_path / "state"))
    assert synchronise(order).outcome == "ok"
    assert not list((tmp_path / "state").rglob("model.sig"))


def test_a_candidate_is_signed_and_so_is_what_is_promoted(send, repository, tmp_path):
    send(b"one", candidate="wide")
    send(b"two")
    held = [str(tmp_path / "keys")]
    roles = [str(tmp_path / f"keys/{role}.pem") for role in ("targets", "snapshot", "timestamp")]
    with pytest.raises(UsageError, match=r"wide has a model\.sig, and gets another number"):
        actions.promote(repository, "taxi", "wide", roles)
    assert not (Path(repository) / "targets/taxi/3").exists()
    promoted, _ = actions.promote(repository, "taxi", "wide", held)
    assert promoted.version == 3  # another came after it
    folder = tmp_path / "promoted"
    fetch(f"{repository}/targets/taxi/3", folder)
    said = json.loads(_said((folder / "model.sig").read_bytes())["dsseEnvelope"]["payload"])
    digests = {each["name"]: each["digest"] for each in said["predicate"]["resources"]}
    manifest = listed(repository).targets["taxi/3/manifest.json"]
    assert digests["manifest.json"] == manifest.hashes["sha256"]
    assert "taxi/1/model.sig" not in listed(repository).targets


def test_keys_that_cannot_sign_it_are_told_before_anything_is_written(send, repository, tmp_path):
    keys.generate_model_key(tmp_path / "keys/second.pem")
    with pytest.raises(
        UsageError, match=r"model\.pem and .*second\.pem could both sign model\.sig"
    ):
        send(b"one")
    (tmp_path / "keys/second.pem").unlink()
    wrong = ec.generate_private_key(ec.SECP224R1())
    (tmp_path / "keys/model.pem").write_bytes(
        wrong.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    with pytest.raises(UsageError, match=r"model\.pem cannot sign: .* P-256, P-384 or P-521"):
        send(b"one")
    assert not listed(repository).targets


def test_an_ecdsa_key_of_a_role_signs_no_model(inputs, tmp_path):
    """A key is for one thing: who trusts it for the one does not have to for the other."""
    keys.generate_model_key(tmp_path / "targets.pem")
    store = str(tmp_path / "store")
    actions.init(store, {"targets": [str(tmp_path / "targets.pem")]}, tmp_path / "keys")
    published = publish(
        **inputs(b"one"),
        bundle_path=tmp_path / "output",
        name="taxi",
        destination=store,
        signing_keys=f"{tmp_path / 'keys'},{tmp_path / 'targets.pem'}",
    )
    assert not (Path(published.uri) / "model.sig").exists()
    assert not (tmp_path / "output" / "model.sig").exists()
