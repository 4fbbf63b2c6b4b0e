"""The host app's own tests against a server of the candidate: app and model, tested together."""

from __future__ import annotations

import contextlib
import http.client
import os
import select
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from edgeline import artifacts
from edgeline.artifacts import models
from edgeline.artifacts.bundle import write_manifest
from edgeline.components.publish.assemble import assemble
from edgeline.errors import EdgelineError
from edgeline.reports import report
from edgeline.reports.report import Fact, Section
from edgeline.stores import copies

SCHEMA = "acceptance/v1"
URL, GRPC, MODEL = "EDGELINE_URL", "EDGELINE_GRPC", "EDGELINE_MODEL"
SECRETS = "EDGELINE_KEY_PASSPHRASE"  # names that begin so are not the command's
STARTING = 120.0  # seconds until the server has to answer
SHOWN = 100_000  # characters of what was printed, from the end


@dataclass(frozen=True)
class _Ended:
    """How the command ended: its exit code, None where its time was over; and what it printed."""

    code: int | None
    log: str


def acceptance(
    *,
    edge_model_path: str | Path,
    verification_path: str | Path,
    acceptance_path: str | Path,
    acceptance_report_path: str | Path,
    name: str,
    command: str,
    files: str = "",
    time_limit: float = 600.0,
    evaluation_path: str | Path = "",
    compiled_model_path: str | Path = "",
) -> dict[str, object]:
    """Serve a model, run a command with the server's address, and write the verdict.

    Args:
        edge_model_path, verification_path, evaluation_path, compiled_model_path: as
            `edgeline.components.publish.publish.publish` takes them.
        acceptance_path: the `acceptance/v1` folder to write, accepted or not.
        acceptance_report_path: the HTML page to write.
        name: of the model.
        command: the program and its arguments, quoted as for a shell, which there is none of.
        files: a folder or file where it runs, here or in a store; "" for an empty folder.
        time_limit: seconds of the clock for the command.

    Returns:
        The metadata: `accepted`, `reason`, `command`, `exit_code` (None where the time was over),
        `files_digest` and `edge_model_digest`, and `compiled_model_digest` where there is one.

    Raises:
        EdgelineError: the command is none, the model is not approved, cannot be assembled or
            served, or the files cannot be read.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise EdgelineError(f"command is {command!r} ({error}): correct its quotes.") from None
    if not words:
        raise EdgelineError("command is empty: give a program and its arguments, such as pytest.")
    if not time_limit > 0:
        raise EdgelineError(f"time_limit is {time_limit!r}: give seconds above 0.")
    edge = models.read_edge(edge_model_path)
    verification = artifacts.read(verification_path, "verification/v1")
    evaluation = artifacts.read(evaluation_path, "evaluation/v1") if evaluation_path else None
    compiled = (
        artifacts.read(compiled_model_path, "compiled_model/v1") if compiled_model_path else None
    )
    with tempfile.TemporaryDirectory(prefix="edgeline-") as scratch:
        place = Path(scratch) / "models" / name / "1"
        place.mkdir(parents=True)
        bundle = assemble(
            place,
            edge_model=edge,
            evaluation=evaluation,
            verification=verification,
            name=name,
            target="",
            provenance={},
            compiled=compiled,
        )
        write_manifest(place, bundle)
        work = Path(scratch) / "work"
        digest = _brought(files, work)
        with _served(Path(scratch)) as (server, ports):
            given = {
                URL: f"http://127.0.0.1:{ports['http']}",
                GRPC: f"127.0.0.1:{ports['grpc']}",
                MODEL: name,
            }
            ended = _run(words, work, given, time_limit)
            alive = server.poll() is None and _answers(ports["http"])
    reason = _reason(command, ended, time_limit, alive)
    facts: dict[str, object] = {
        "accepted": not reason,
        "reason": reason,
        "command": command,
        "exit_code": ended.code,
        "files_digest": digest,
        "edge_model_digest": edge.digest,
    }
    if compiled:
        facts["compiled_model_digest"] = compiled.digest
    with artifacts.writing(acceptance_path, SCHEMA) as draft:
        draft.metadata.update(facts)
    _write_report(acceptance_report_path, facts, ended.log)
    print(ended.log[-SHOWN:])
    print(reason or f"{command} accepts the model.")
    return {"edgeline_schema": SCHEMA, **facts}


def _brought(files: str, work: Path) -> str:
    """Put the files of a location into a new folder; their sha256, or "" where there are none."""
    work.mkdir()
    if not files:
        return ""
    with copies.here(files) as place:
        if place.is_dir():
            shutil.copytree(place, work, dirs_exist_ok=True)
        elif place.is_file():
            shutil.copyfile(place, work / place.name)
        else:
            raise EdgelineError(
                f"files names {files}, which is not a file or folder: check the path."
            )
    listed = artifacts.list_files(work)
    return artifacts.digest_of_listing("files", {}, listed)


@contextlib.contextmanager
def _served(scratch: Path) -> Iterator[tuple[subprocess.Popen[bytes], Mapping[str, int]]]:
    """A server of the models in a folder, on free ports of this machine alone."""
    log = scratch / "server.log"
    options = ["--host", "127.0.0.1", "--port", "0", "--grpc-port", "0"]
    with open(log, "w", encoding="utf-8") as stream:
        server = subprocess.Popen(
            [sys.executable, "-m", "edgeline.server", str(scratch / "models"), *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stream,
        )
        try:
            line = _first_line(server, log)  # it says READY, or ends
            if not line.startswith("READY"):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    server.wait(timeout=30)  # and has said why
                raise EdgelineError(
                    f"The server does not serve the model ({_last(log)}): see the log of the task."
                )
            ports = {key: int(port) for key, port in (p.split("=") for p in line.split()[1:])}
            end = time.monotonic() + STARTING
            while not _answers(ports["http"]):
                if server.poll() is not None or time.monotonic() > end:
                    raise EdgelineError(
                        f"The server does not serve the model ({_last(log)}): see the log of the "
                        "task."
                    )
                time.sleep(0.05)
            yield server, ports
        finally:
            if server.poll() is None:
                server.terminate()
                try:
                    server.wait(timeout=30)
                except subprocess.TimeoutExpired:
                    server.kill()
                    server.wait()
            assert server.stdout
            server.stdout.close()


def _first_line(server: subprocess.Popen[bytes], log: Path) -> str:
    """What a server says first; "" where it has ended.

    Raises:
        EdgelineError: it has said nothing for `STARTING` seconds.
    """
    assert server.stdout
    said, end = b"", time.monotonic() + STARTING
    while b"\n" not in said:
        ready, _, _ = select.select([server.stdout], [], [], max(0.0, end - time.monotonic()))
        if not ready:
            raise EdgelineError(
                f"The server of the model was not ready within {STARTING:g} s ({_last(log)}): see "
                "the log of the task."
            )
        piece = os.read(server.stdout.fileno(), 4096)
        if not piece:
            break
        said += piece
    return said.decode("utf-8", "replace").partition("\n")[0]


def _answers(port: int) -> bool:
    """Whether all models are ready."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/v2/health/ready")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _run(
    command: Sequence[str], folder: Path, given: Mapping[str, str], time_limit: float
) -> _Ended:
    """Run a command in a folder; all that it has started ends with it."""
    known = {name: value for name, value in os.environ.items() if not name.startswith(SECRETS)}
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        try:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env={**known, **given},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise EdgelineError(
                f"command {command[0]!r} cannot be run ({error.strerror}): is it in the task's "
                "image?"
            ) from error
        try:
            code: int | None = process.wait(timeout=time_limit)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return _Ended(code, _end_of(log))


def _end_of(log: IO[str]) -> str:
    size = log.seek(0, os.SEEK_END)
    log.seek(0)
    if size > 4 * SHOWN:
        log.buffer.seek(size - 4 * SHOWN)  # type: ignore[attr-defined]
    return log.read()[-SHOWN:]


def _reason(words: str, ended: _Ended, time_limit: float, alive: bool) -> str:
    """Why the model is not accepted; "" where it is."""
    if ended.code is None:
        return f"{words} did not end within {time_limit:g} s."
    if not alive:
        return f"The server of the model was not well any more after {words}."
    if ended.code:
        last = next((x for x in reversed(ended.log.splitlines()) if x.strip()), "it said nothing")
        return f"{words} ended with exit code {ended.code}: {last.strip()[:300]}"
    return ""


def _last(log: Path) -> str:
    lines = [line for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
    return lines[-1].removeprefix("Error: ").rstrip(".") if lines else "it said nothing"


def _write_report(path: str | Path, facts: Mapping[str, Any], log: str) -> None:
    accepted, code = bool(facts["accepted"]), facts["exit_code"]
    told = [
        Fact("verdict", "accepted" if accepted else "not accepted", accepted),
        Fact("exit code", "–" if code is None else str(code)),
    ]
    verdict = facts["reason"] or "The host app's own tests accept the model."
    lines = [(line,) for line in log.splitlines()] or [("nothing",)]
    report.write(
        path,
        "Acceptance",
        told,
        [
            Section("Verdict", report.text(str(verdict)), str(facts["command"])),
            Section("What the command printed", report.table([""], lines)),
        ],
    )
