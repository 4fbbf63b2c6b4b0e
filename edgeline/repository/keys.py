"""Signing keys, as encrypted PEM files or by reference; never in the repository.

Keys of roles are Ed25519. The key of `model.sig` is ECDSA, since that format takes no other.

| reference          | what it names                                    |
|--------------------|--------------------------------------------------|
| path, `file:PATH`  | a PEM file, private (PKCS#8) or public           |
| `env:NAME`         | an environment variable that holds the PEM text  |

The passphrase of encrypted keys comes from EDGELINE_KEY_PASSPHRASE, or from the file that
EDGELINE_KEY_PASSPHRASE_FILE names. It is not an option, since the process table shows options.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from securesystemslib.signer import CryptoSigner, Key, SSlibKey

from edgeline.errors import UsageError, at_path
from edgeline.formats import plain_file

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

PASSPHRASE = "EDGELINE_KEY_PASSPHRASE"
LARGEST = 1 << 20  # bytes of a key or a passphrase


def check_new(paths: Iterable[Path]) -> bytes:
    """Whether key pairs can be made at some paths, before the first one is; the passphrase.

    Raises:
        UsageError: a file exists, or no passphrase is given.
    """
    secret = _passphrase()
    for path in paths:
        if path.exists():
            raise UsageError(f"{path} exists: a key is never overwritten, name another.")
        if not secret:
            raise UsageError(f"{path} needs a passphrase: set {PASSPHRASE} or {PASSPHRASE}_FILE.")
    return secret or b""


def generate(path: Path) -> Key:
    """Make the key pair of a role: `path`, which its owner alone can read, and `path`.pub.

    Returns:
        The public key.

    Raises:
        UsageError: the file exists or cannot be written, or no passphrase is given.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return _write_pair(path, Ed25519PrivateKey.generate())


def generate_model_key(path: Path) -> Key:
    """Make a key pair for `model.sig`, ECDSA on the curve P-256; see `generate`."""
    from cryptography.hazmat.primitives.asymmetric import ec

    return _write_pair(path, ec.generate_private_key(ec.SECP256R1()))


def _write_pair(path: Path, private: Any) -> Key:
    from cryptography.hazmat.primitives import serialization as forms

    secret = check_new([path])
    pem = private.private_bytes(
        forms.Encoding.PEM, forms.PrivateFormat.PKCS8, forms.BestAvailableEncryption(secret)
    )
    public = private.public_key().public_bytes(
        forms.Encoding.PEM, forms.PublicFormat.SubjectPublicKeyInfo
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(pem)
        path.with_name(path.name + ".pub").write_bytes(public)
    except FileExistsError:
        raise UsageError(f"{path} exists: a key is never overwritten, name another.") from None
    except OSError as error:
        raise at_path(error, f"{path} cannot be written ({error.strerror}).") from error
    return SSlibKey.from_crypto(private.public_key())


def public_key(reference: str) -> Key:
    """The public key of a reference to a private or a public PEM.

    Raises:
        UsageError: there is none, or it cannot be read.
    """
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    text = _text(reference)
    if b"PRIVATE KEY" in text:
        return signer(reference).public_key
    try:
        return SSlibKey.from_crypto(load_pem_public_key(text))
    except ValueError as error:
        raise UsageError(f"{reference} is not a PEM key: give a private or public one.") from error


def signer(reference: str) -> CryptoSigner:
    """A private key, ready to sign.

    Raises:
        UsageError: there is none, it is damaged, or its passphrase is missing or wrong.
    """
    try:
        return CryptoSigner(_private_key(reference))
    except ValueError as error:  # of a kind that TUF does not sign with
        raise UsageError(
            f"{reference} cannot sign: give an Ed25519 key, or for model.sig an ECDSA key "
            "on the curve P-256, P-384 or P-521."
        ) from error


def _private_key(reference: str) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    text = _text(reference)
    encrypted = b"ENCRYPTED" in text
    try:
        return load_pem_private_key(text, _passphrase() if encrypted else None)
    except TypeError:
        raise UsageError(
            f"{reference} is encrypted: set {PASSPHRASE} or {PASSPHRASE}_FILE."
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        # the library's words could quote the key
        fault = "it is not a private key"
        if encrypted:
            fault = "its passphrase is wrong or it is damaged"
        raise UsageError(f"{reference} cannot sign: {fault}.") from None


def signers(references: Iterable[str]) -> list[CryptoSigner]:
    """The private keys of references; a folder stands for every .pem file in it.

    Raises:
        UsageError: as `signer`, or a folder holds no key.
    """
    return [signer(reference) for reference in _each(references)]


def model_key(references: Iterable[str], taken: Collection[str]) -> EllipticCurvePrivateKey | None:
    """The private key that signs `model.sig`: the ECDSA key that no role has; None without one.

    Args:
        references: as of `signers`.
        taken: the ids of the roles' keys.

    Raises:
        UsageError: as `signers`, or there are several.
    """
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

    found = {}
    for reference in _each(references):
        private = _private_key(reference)
        if not isinstance(private, EllipticCurvePrivateKey):
            continue
        keyid = SSlibKey.from_crypto(private.public_key()).keyid
        if keyid not in taken:
            found[keyid] = reference, private
    if len(found) > 1:
        names = " and ".join(sorted(reference for reference, _ in found.values())[:2])
        raise UsageError(f"{names} could both sign model.sig, which has one signature: give one.")
    return next((private for _, private in found.values()), None)


def _each(references: Iterable[str]) -> list[str]:
    """References with each folder as its .pem files."""
    found: list[str] = []
    for reference in references:
        folder = Path(reference.removeprefix("file:"))
        if not reference.startswith("env:") and folder.is_dir():
            files = sorted(folder.glob("*.pem"))
            if not files:
                raise UsageError(f"{folder} holds no .pem file.")
            found += map(str, files)
        else:
            found.append(reference)
    return found


def _text(reference: str) -> bytes:
    if reference.startswith("env:"):
        name = reference.removeprefix("env:")
        if not os.environ.get(name):
            raise UsageError(f"The environment variable {name} holds no key: set it.")
        return os.environ[name].encode()
    path = Path(reference.removeprefix("file:")).expanduser()
    try:
        return plain_file.read(path, LARGEST)
    except OSError as error:
        raise UsageError(f"The key {path} cannot be read ({error.strerror}).") from None


def _passphrase() -> bytes | None:
    if given := os.environ.get(PASSPHRASE):
        return given.encode()
    if file := os.environ.get(PASSPHRASE + "_FILE"):
        try:
            return plain_file.read(file, LARGEST).rstrip(b"\r\n") or None
        except OSError as error:
            raise UsageError(f"{file} cannot be read ({error.strerror}).") from None
    return None
