"""A real PostgreSQL server, where Debian's package is installed."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

PASSWORD = "secret"


@contextlib.contextmanager
def running() -> Iterator[str]:
    """Its address: it listens at a socket, and wants PASSWORD."""
    homes = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    tools = str(homes[-1]) if homes else None
    if not shutil.which("initdb", path=tools):
        pytest.skip("PostgreSQL's initdb is not installed: apt-get install postgresql")
    # not pytest's own folder, whose parents the server's user may not enter
    folder = Path(tempfile.mkdtemp(prefix="edgeline-pg-"))
    (folder / "password").write_text(PASSWORD)
    user: dict[str, str] = {}
    if os.geteuid() == 0:  # as whom it does not run
        user = {"user": "postgres", "group": "postgres"}
        shutil.chown(folder, "postgres", "postgres")
        shutil.chown(folder / "password", "postgres", "postgres")

    def tool(name: str, *arguments: str) -> None:
        command = [shutil.which(name, path=tools) or name, *arguments]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, **user)
        assert not done.returncode, done.stderr

    data = str(folder / "data")
    tool("initdb", "-D", data, "-A", "scram-sha-256", "-U", "me", f"--pwfile={folder}/password")
    options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
    tool("pg_ctl", "-D", data, "-w", "-l", str(folder / "log"), "-o", options, "start")
    yield f"postgresql://me@/postgres?host={folder}"
    tool("pg_ctl", "-D", data, "-m", "immediate", "stop")
    shutil.rmtree(folder)
