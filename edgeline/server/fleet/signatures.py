"""Ed25519 keys (RFC 8032) of devices, and enrolment tokens, which are such keys, too.

A token is the private half of a key that is used once: who has it signs the enrolment. The fleet's
server keeps the public half, so that neither its database nor a request that somebody has listened
to, or read in a bucket, enrols anything.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization as forms
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from edgeline.errors import EdgelineError

KEY = 32  # bytes of either half
_SIGNATURE = 64  # bytes


def new_key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


def written(key: Ed25519PrivateKey) -> bytes:
    """A private key as PEM (PKCS#8), not encrypted: a device starts without a person."""
    return key.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, forms.NoEncryption())


def read_key(pem: str, where: str) -> Ed25519PrivateKey:
    """A private key.

    Args:
        where: it was found, for the sentence.

    Raises:
        EdgelineError: it is damaged.
    """
    try:
        found = forms.load_pem_private_key(pem.encode(), None)
    except (ValueError, TypeError):
        found = None
    if not isinstance(found, Ed25519PrivateKey):
        raise EdgelineError(
            f"{where} does not hold a device's key: remove it, and enrol the device with a new "
            "token."
        )
    return found


def public_bytes(key: Ed25519PrivateKey) -> bytes:
    """The public half, 32 bytes."""
    return key.public_key().public_bytes(forms.Encoding.Raw, forms.PublicFormat.Raw)


def sign(key: Ed25519PrivateKey, body: bytes) -> str:
    """A signature as a header has it."""
    return base64.b64encode(key.sign(body)).decode()


def is_signed(public: bytes, signature: bytes, body: bytes) -> bool:
    """Whether a header's signature is of a body by a key."""
    try:
        given = base64.b64decode(signature, validate=True)
        if len(given) != _SIGNATURE:
            return False
        Ed25519PublicKey.from_public_bytes(public).verify(given, body)
    except (binascii.Error, ValueError, InvalidSignature):
        return False
    return True


def new_token() -> str:
    """A token: 32 random bytes as text that needs no quoting."""
    return base64.urlsafe_b64encode(secrets.token_bytes(KEY)).rstrip(b"=").decode()


def token_key(token: str) -> Ed25519PrivateKey:
    """The key that a token is.

    Raises:
        EdgelineError: it is not one; the sentence does not quote it.
    """
    try:
        seed = base64.b64decode(token.strip() + "=", altchars=b"-_", validate=True)
        return Ed25519PrivateKey.from_private_bytes(seed)
    except (binascii.Error, ValueError):
        raise EdgelineError(
            "The enrolment token is damaged: it is what `edgeline fleet token` has printed."
        ) from None


def token_name(public: bytes) -> str:
    """What a token is called where it must not be told: of its public half."""
    return hashlib.sha256(public).hexdigest()[:16]
