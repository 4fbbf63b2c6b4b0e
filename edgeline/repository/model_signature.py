"""`model.sig`: the OpenSSF's signature of a bundle, which sigstore's `model_signing` verifies.

It lies beside `manifest.json` and covers that and every file that it lists, so the manifest cannot
list it in turn. It says again, for tools that know nothing of TUF, what the signed list of versions
says; edgeline's own devices go by that list.

Formats: OpenSSF model signing 1.0 (an in-toto statement v1 with the predicate
`https://model_signing/signature/v1.0`), in a DSSE envelope 1.0, in a sigstore bundle 0.3 that names
its key by the sha256 of the public PEM. `model_signing` itself is not used to write it, as it needs
34 packages, among them a protobuf that TensorFlow cannot have beside it; the tests verify by it.
"""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import PurePosixPath
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from edgeline.artifacts.bundle import MANIFEST, MODEL_SIGNATURE, Bundle, manifest_text

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://model_signing/signature/v1.0"
PAYLOAD = "application/vnd.in-toto+json"
SIGSTORE_BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
HASHES: dict[str, hashes.HashAlgorithm] = {  # by the names of the curves that the format has
    "secp256r1": hashes.SHA256(),
    "secp384r1": hashes.SHA384(),
    "secp521r1": hashes.SHA512(),
}


def sign(bundle: Bundle, key: ec.EllipticCurvePrivateKey) -> bytes:
    """The content of a bundle's `model.sig`: the same for the same bundle and key.

    Args:
        bundle: with the version that it has where it is published.
        key: on a curve of `HASHES`.
    """
    payload = _json(_statement(bundle))
    algorithm = ec.ECDSA(HASHES[key.curve.name], deterministic_signing=True)
    signature = key.sign(_pre_authentication(payload), algorithm)
    return _json(
        {
            "mediaType": SIGSTORE_BUNDLE,
            "verificationMaterial": {
                "publicKey": {"hint": key_hint(key.public_key())},
                "tlogEntries": [],
            },
            "dsseEnvelope": {
                "payload": _base64(payload),
                "payloadType": PAYLOAD,
                "signatures": [{"sig": _base64(signature), "keyid": ""}],
            },
        }
    )


def key_hint(key: ec.EllipticCurvePublicKey) -> str:
    """What a signature calls its key: the hexadecimal sha256 of the public key's PEM."""
    pem = key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(pem).hexdigest()


def _statement(bundle: Bundle) -> dict[str, Any]:
    digests = {name: str(entry["sha256"]) for name, entry in bundle.files.items()}
    digests[MANIFEST] = hashlib.sha256(manifest_text(bundle).encode()).hexdigest()
    resources = [
        {"name": name, "algorithm": "sha256", "digest": digests[name]}
        for name in sorted(digests, key=PurePosixPath)
    ]
    whole = hashlib.sha256(b"".join(bytes.fromhex(each["digest"]) for each in resources))
    return {
        "_type": STATEMENT,
        "subject": [{"name": bundle.name, "digest": {"sha256": whole.hexdigest()}}],
        "predicateType": PREDICATE,
        "predicate": {
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": False,
                "ignore_paths": [MODEL_SIGNATURE],
            },
            "resources": resources,
        },
    }


def _pre_authentication(payload: bytes) -> bytes:
    """What DSSE signs: the payload with its type, and the length of both."""
    return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD), PAYLOAD.encode(), len(payload), payload)


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
