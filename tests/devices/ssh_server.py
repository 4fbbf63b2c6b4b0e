"""A device: a real OpenSSH server on this machine, with keys of its own, and its client."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

SERVER = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


@dataclass(frozen=True)
class SshDevice:
    """A running server.

    Attributes:
        address: as `--ssh` takes it.
        path: of folders whose `ssh` knows the server's key and has one for it.
        temporary: where programs there put what is temporary.
        known_hosts: of that `ssh`.
    """

    address: str
    path: str
    temporary: Path
    known_hosts: Path


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def made_key(file: Path) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", file], check=True)
    return file


@contextlib.contextmanager
def running(folder: Path) -> Iterator[SshDevice]:
    """An OpenSSH server on a port of 127.0.0.1, with all that it needs in a folder."""
    if not SERVER or not shutil.which("ssh"):
        pytest.skip("NOT TESTED: a device through ssh; apt-get install openssh-server")
    host, mine, port = made_key(folder / "host"), made_key(folder / "mine"), free_port()
    temporary = folder / "temporary"
    temporary.mkdir()
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where a server of root's wants it
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {host}\nPidFile none\nUsePAM no\n"
        f"AuthorizedKeysFile {mine}.pub\nStrictModes no\nPasswordAuthentication no\n"
        f"PermitRootLogin yes\nSetEnv TMPDIR={temporary}\n"
    )
    known = folder / "known_hosts"
    known.write_text(f"[127.0.0.1]:{port} {host.with_suffix('.pub').read_text()}")
    (folder / "ssh_config").write_text(
        f"IdentityFile {mine}\nIdentitiesOnly yes\nUserKnownHostsFile {known}\n"
        "GlobalKnownHostsFile /dev/null\n"
    )
    client = folder / "bin" / "ssh"
    client.parent.mkdir()
    client.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {folder}/ssh_config "$@"\n')
    client.chmod(0o755)
    log = folder / "log"
    server = subprocess.Popen([SERVER, "-D", "-f", folder / "sshd_config", "-E", log])
    try:
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(0.1)
            assert server.poll() is None, log.read_text()
        path = f"{client.parent}:{os.environ['PATH']}"
        yield SshDevice(f"127.0.0.1:{port}", path, temporary, known)
    finally:
        server.terminate()
        server.wait(10)
