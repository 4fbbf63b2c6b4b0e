"""A CA, and a server's and a client's certificate that it signed, by OpenSSL's command."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


def make(folder: Path) -> Path:
    """Write `ca.pem`, and NAME.pem and NAME.key of `server` and `client`, into a folder."""
    if shutil.which("openssl") is None:
        pytest.skip("NO OPENSSL on this machine: certificates not made")
    ca = ["-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    key, cert = str(folder / "ca.key"), str(folder / "ca.pem")
    _openssl("req", *ca, "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=test")
    for name in ("server", "client"):
        own, request = str(folder / f"{name}.key"), str(folder / f"{name}.csr")
        extension = folder / f"{name}.ext"
        extension.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
        _openssl("req", "-nodes", *ca[2:], "-keyout", own, "-out", request, "-subj", f"/CN={name}")
        signing = ["-req", "-in", request, "-CA", cert, "-CAkey", key, "-CAcreateserial"]
        out = str(folder / f"{name}.pem")
        _openssl("x509", *signing, "-out", out, "-days", "2", "-extfile", str(extension))
    return folder


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
