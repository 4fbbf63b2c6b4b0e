"""README.md's blocks, and a reader who runs them in one terminal, in a fresh clone."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
VENV = Path(sys.prefix)
FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# `python` finds it in the path: names of hosts that README prints lead to this machine
HOSTS = """
import os, socket
told = dict(pair.split("=") for pair in os.environ["README_HOSTS"].split())
ask = socket.getaddrinfo
def getaddrinfo(host, port, *more, **named):
    if host in told:
        return ask("127.0.0.1", int(told[host]), *more, **named)
    return ask(host, port, *more, **named)
socket.getaddrinfo = getaddrinfo
"""


@dataclass(frozen=True)
class Block:
    """A fenced block as it is printed."""

    language: str
    text: str

    @property
    def commands(self) -> list[str]:
        """The commands of a shell's block, each with its continuation lines, without comments."""
        joined = self.text.replace("\\\n", " ")
        lines = [line.strip() for line in joined.splitlines()]
        return [line for line in lines if line and not line.startswith("#")]


def blocks() -> list[Block]:
    return [Block(*found) for found in FENCED.findall((ROOT / "README.md").read_text())]


def words(command: str) -> list[str]:
    return shlex.split(command, comments=True)


@dataclass
class Reader:
    """A terminal: its folder and what it exports outlive a command."""

    clone: Path
    state: Path
    output: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for folder in (self.clone, self.state, self.state / "tmp", self.state / "hosts"):
            folder.mkdir()
        (self.clone / ".venv").symlink_to(VENV)
        (self.clone / "manifests").symlink_to(ROOT / "manifests")
        (self.state / "env").touch()
        (self.state / "cwd").write_text(str(self.clone))
        (self.state / "hosts" / "sitecustomize.py").write_text(HOSTS)

    def export(self, **variables: str) -> None:
        with open(self.state / "env", "a") as stream:
            stream.writelines(f"export {k}={shlex.quote(v)}\n" for k, v in variables.items())

    def run(self, command: str) -> None:
        """A command to its end; it succeeds and prints no traceback."""
        ended = f'{self._before}{command}\nexport -p > "$STATE/env"; pwd > "$STATE/cwd"'
        with subprocess.Popen(
            ["bash", "-euc", ended], env=self._env, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, start_new_session=True,
        ) as shell:  # fmt: skip
            try:
                output, _ = shell.communicate(timeout=550)
            except BaseException:
                os.killpg(shell.pid, signal.SIGKILL)  # the command too, not only its shell
                raise
        self._judge(command, shell.returncode, output)

    def python(self, code: str) -> None:
        file = self.state / "block.py"
        file.write_text(code)
        self.run(f'python -c "$(cat {file})"')

    def serve(self, command: str) -> None:
        """A server until it is ready, and then SIGTERM; it ends with 0."""
        arguments = words(command)
        if _taken(8080):  # by somebody else on this machine
            arguments += ["--port", "0"]
        with subprocess.Popen(
            ["bash", "-euc", f"{self._before}exec {shlex.join(arguments)}"],
            env=self._env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        ) as server:  # fmt: skip
            assert server.stdout
            lines = []
            for line in server.stdout:
                lines.append(line)
                if line.startswith("READY"):
                    server.send_signal(signal.SIGTERM)
            server.wait(60)
        assert any(line.startswith("READY") for line in lines), "".join(lines)
        self._judge(command, server.returncode, "".join(lines))

    @property
    def _before(self) -> str:
        return '. "$STATE/env"; cd "$(cat "$STATE/cwd")"\n'

    @property
    def _env(self) -> dict[str, str]:
        kept = {
            k: v for k, v in os.environ.items() if not k.startswith(("EDGELINE", "KF_", "VIRTU"))
        }
        path = [each for each in os.environ["PATH"].split(":") if Path(each) != VENV / "bin"]
        return kept | {
            "PATH": ":".join(path),
            "STATE": str(self.state),
            "TMPDIR": str(self.state / "tmp"),
            "HOME": str(self.state),
        }

    def _judge(self, command: str, code: int, output: str) -> None:
        assert code == 0, f"{command}: exit code {code}\n{output}"
        assert "Traceback" not in output, output
        self.output[command] = output


def _taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
