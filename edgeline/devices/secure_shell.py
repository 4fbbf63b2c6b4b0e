"""One command on another machine through OpenSSH's client, with its input and output.

The client's own configuration counts (keys, agents, jump hosts), but for what would weaken it:
a host whose key is not known is refused, nothing is asked for, nothing is forwarded. What is run
there is a constant and the path of a Python that holds no character a shell reads.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import IO

from edgeline.errors import EdgelineError, UsageError, harmless, shortened

OPTIONS = {
    "BatchMode": "yes",
    "StrictHostKeyChecking": "yes",
    "ConnectTimeout": "15",
    "ServerAliveInterval": "5",
    "ServerAliveCountMax": "3",
    "ClearAllForwardings": "yes",
    "ForwardAgent": "no",
    "ForwardX11": "no",
    "PermitLocalCommand": "no",
    "RequestTTY": "no",
    "LogLevel": "ERROR",
}
BOOTSTRAP = "import sys;exec(sys.stdin.buffer.read(int(sys.stdin.buffer.readline())))"
MOST_OUTPUT = 64 << 20  # bytes of an answer
BEAT = 1.0  # seconds
_ADDRESS = re.compile(
    r"(?:(?P<user>[A-Za-z0-9_][A-Za-z0-9_.-]{0,63})@)?"
    r"(?P<host>[A-Za-z0-9][A-Za-z0-9_.-]{0,252}|\[[0-9A-Fa-f:.]{2,45}(?:%[A-Za-z0-9.-]{1,32})?\])"
    r"(?::(?P<port>[0-9]{1,5}))?"
)
_PYTHON = re.compile(r"[A-Za-z0-9_./+][A-Za-z0-9_./+-]{0,500}")
_WAYS_OUT = {
    "Host key verification failed": "connect once with ssh and compare its key's fingerprint with "
    "the device's own",
    "Permission denied": "let the device know your key (ssh-copy-id), and add it to ssh-agent",
    "Could not resolve": "check the name",
    "Name or service not known": "check the name",
}


class ShellError(EdgelineError):
    """The device cannot be reached, or the connection broke."""


@dataclass(frozen=True)
class SshAddress:
    """`[user@]host[:port]`, checked; an IPv6 address stands in brackets."""

    user: str
    host: str
    port: int | None

    @classmethod
    def parse(cls, text: str) -> SshAddress:
        """Take an address apart.

        Raises:
            UsageError: it is not one.
        """
        found = _ADDRESS.fullmatch(text)
        port = int(found["port"]) if found and found["port"] else None
        if not found or (port is not None and not 0 < port < 65536):
            raise UsageError(
                f"{shortened(text)!r} is not an address: give [user@]host[:port], an IPv6 address "
                "in brackets."
            )
        return cls(found["user"] or "", found["host"].strip("[]"), port)

    def __str__(self) -> str:
        return f"{self.user}@{self.host}" if self.user else self.host

    def command(self, python: str) -> list[str]:
        """OpenSSH's client, which starts a Python that reads its program from its input.

        Raises:
            UsageError: `python` is not a plain path.
            EdgelineError: there is no client.
        """
        if not _PYTHON.fullmatch(python):
            raise UsageError(
                f"{shortened(python)!r} is not the path of a Python: it may have letters, digits "
                "and ./_+- only."
            )
        client = shutil.which("ssh")
        if client is None:
            raise EdgelineError("ssh is not on PATH: install OpenSSH's client.")
        options = [part for name, value in OPTIONS.items() for part in ("-o", f"{name}={value}")]
        port = ["-p", str(self.port)] if self.port else []
        return [client, "-T", *options, *port, "--", str(self), f"{python} -c '{BOOTSTRAP}'"]


def ask(
    address: SshAddress, python: str, program: bytes, given: Iterable[bytes], seconds: float
) -> bytes:
    """What a program on the device prints.

    While it runs it gets a byte a second. However this ends, its input ends, too, and it is waited
    for: it removes what it has written there.

    Args:
        program: Python's source.
        given: its input, behind the program.
        seconds: to wait at most, after the input is sent.

    Raises:
        ShellError: the device cannot be reached, the connection broke, there is no such Python, or
            it took too long or printed too much.
    """
    command = address.command(python)
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        client = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=errors,
            start_new_session=True,  # Ctrl-C is ours to tell
        )
        assert client.stdin is not None
        try:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                client.stdin.write(b"%d\n" % len(program) + program)
                for piece in given:
                    client.stdin.write(piece)
                client.stdin.flush()
                _wait(address, client, client.stdin, output, seconds)
        finally:
            _end(client, client.stdin)
        output.seek(0)
        errors.seek(0)
        if client.returncode:
            said = errors.read(1 << 16).decode("utf-8", "replace").strip()
            raise _error(address, python, client.returncode, said)
        return output.read(MOST_OUTPUT)


def _wait(
    address: SshAddress,
    client: subprocess.Popen[bytes],
    stdin: IO[bytes],
    output: IO[bytes],
    seconds: float,
) -> None:
    end = time.monotonic() + seconds
    while client.poll() is None:
        stdin.write(b"\n")
        stdin.flush()
        with contextlib.suppress(subprocess.TimeoutExpired):
            client.wait(BEAT)
        if output.seek(0, 2) > MOST_OUTPUT:
            raise ShellError(f"{address} answers with more than {MOST_OUTPUT >> 20} MiB: see it.")
        if time.monotonic() > end:
            raise ShellError(
                f"{address} has not ended after {seconds:.0f} seconds: see what keeps it busy."
            )


def _end(client: subprocess.Popen[bytes], stdin: IO[bytes]) -> None:
    """End the input and give the device time to clean up, then the client."""
    with contextlib.suppress(OSError):
        stdin.close()
    try:
        client.wait(20)
    except subprocess.TimeoutExpired:
        client.kill()
        client.wait()


def _error(address: SshAddress, python: str, code: int, said: str) -> ShellError:
    last = harmless((said.splitlines() or [""])[-1])[:300].rstrip(".")
    if code in (126, 127):
        return ShellError(
            f"{address} does not have {python} ({last}): give the path of a Python there with "
            "--python."
        )
    if code != 255 and code > 0:  # below 0, the client itself was killed
        return ShellError(f"{python} on {address} failed ({last or code}): see it there.")
    way = next((way for sign, way in _WAYS_OUT.items() if sign in said), "see that ssh reaches it")
    return ShellError(
        f"{address} cannot be reached, or the connection broke ({last or code}): {way}."
    )
