"""Runs on this machine: `edgeline run` in a process that outlives this one.

<state>/runs/<mark>/lock               taken while the run's process lives
                    /log.txt, exit     what it wrote, and its exit code (`supervising`)
                    /rows.csv          what devices have met since, where the rule asks for it
                    /<pipeline>-<time> the run, as `edgeline runs --root` reads it
"""

from __future__ import annotations

import json
import logging
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgeline.errors import EdgelineError, at_path
from edgeline.local import folders, runs
from edgeline.local import record as records
from edgeline.local.refusals import not_judged, refusals
from edgeline.triggers import launching, rows, supervising
from edgeline.triggers.launching import FoundRun, RefusedRunError
from edgeline.triggers.rows import JoinedRows
from edgeline.triggers.rules import SUCCEEDED, RunData
from edgeline.triggers.store import OPEN, Firing

log = logging.getLogger("edgeline.triggers")
LOCK, EXIT, LOG, ROWS = "lock", "exit", "log.txt", "rows.csv"
MAX_AHEAD = 300.0  # seconds by which a device's clock may be ahead of this machine's
_TOLD, _TOLD_REFUSAL = 300, 1000  # characters of why a run failed
_TAIL = 8192  # bytes of a log that are looked through for it


class LocalLauncher:
    """The launcher of this machine."""

    settle = 0.0  # what was begun here is there
    every = 0.0

    def __init__(self, state: Path, beside: Path) -> None:
        """`beside` is the folder of the triggers file, from which relative paths are."""
        self._runs = (state / "runs").absolute()
        self._beside = beside.absolute()

    def look(self, firing: Firing) -> FoundRun:
        folder = self._runs / firing.mark
        kept = sorted(folder.glob(f"*/{folders.RECORD}"))
        locks = (folder / LOCK, *(file.parent / folders.LOCK for file in kept))
        lives = any(map(folders.is_locked, locks))
        try:  # after the look at its locks: it is written before they are let go of
            code = int((folder / EXIT).read_text())
        except (FileNotFoundError, ValueError):
            return FoundRun("running", str(folder)) if lives else _by_record(folder, kept)
        if code == 0:
            return FoundRun("succeeded", str(folder), _told_of(kept, not_judged))
        limit = firing.ordered.run.limit
        return FoundRun("failed", str(folder), _refused(kept) or _why(folder, code, limit))

    def begin(self, firing: Firing) -> str:
        folder = self._runs / firing.mark
        try:
            folder.mkdir(parents=True, exist_ok=True)
            command = self._command(firing, folder)
            with folders.locked_descriptor(folder / LOCK) as lock:
                if lock is not None:  # else it runs already
                    (folder / EXIT).unlink(missing_ok=True)
                    self._start(firing, folder, command, lock)
        except OSError as error:
            raise at_path(
                error,
                f"Run {firing.mark} cannot be begun in {folder} ({error.strerror}): make room, or "
                "name another folder with --state.",
            ) from error
        return str(folder)

    def prune(self, firings: Sequence[Firing], keep: int) -> None:
        """Remove the folders of ended runs but for the last `keep` of each rule."""
        by_rule: dict[str, list[str]] = {}
        for firing in firings:
            if firing.state not in OPEN and (self._runs / firing.mark).is_dir():
                by_rule.setdefault(firing.rule, []).append(firing.mark)
        for marks in by_rule.values():
            for mark in marks[:-keep]:
                shutil.rmtree(self._runs / mark, ignore_errors=True)

    def _start(self, firing: Firing, folder: Path, command: list[str], lock: int) -> None:
        limit = str(firing.ordered.run.limit)
        subprocess.Popen(
            [sys.executable, "-S", supervising.__file__, str(lock), limit, str(folder), *command],
            cwd=self._beside,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(lock,),
            start_new_session=True,  # Ctrl-C ends this process, and the run goes on
        )

    def _command(self, firing: Firing, folder: Path) -> list[str]:
        run = [sys.executable, "-m", "edgeline", "run"]
        if any(folder.glob(f"*/{folders.RECORD}")):
            return [*run, "--resume", "latest", "--root", str(folder)]
        given = self._arguments(firing, folder)
        settings = [
            part for name, value in given.items() for part in ("--set", f"{name}={_text(value)}")
        ]
        return [*run, firing.ordered.run.pipeline, *settings, "--root", str(folder)]

    def _arguments(self, firing: Firing, folder: Path) -> dict[str, Any]:
        from edgeline.pipelines import catalogue
        from edgeline.pipelines.parameters import parameters_of

        order = firing.ordered.run
        known = parameters_of(catalogue.load(pipeline_of(order.pipeline, self._beside)))
        given = launching.arguments(firing, known)
        if (data := order.data) is not None:
            base = self._beside / data.base
            joined = rows.join(
                *(base, self._beside / data.payloads, self._beside / data.labels),
                *(folder / ROWS, firing.ordered.model),
                firing.since if data.since == SUCCEEDED else 0.0,
                firing.decided - data.max_age,
                max(firing.decided, time.time()) + MAX_AHEAD,
            )
            if left_out := not_of_now(joined):
                log.warning("%s: %s.", firing.mark, left_out)
            if rarer := joined.facts["rarer"]:
                log.warning(
                    "%s: less than half as many rows as of the base have a value of %s.",
                    *(firing.mark, ", ".join(map(repr, rarer))),
                )
            (folder / "rows.json").write_text(json.dumps(joined.facts, indent=1) + "\n")
            if why := refusal(joined, data):
                raise RefusedRunError(f"Refused before it began: {why}.")
            given["data"] = f"{base},{folder / ROWS}" if joined.rows else str(base)
        return given


def pipeline_of(pipeline: str, beside: Path) -> str:
    """A pipeline as `catalogue.load` takes it: a file's path from the folder of the rules."""
    is_file = pipeline.endswith((".py", ".yaml", ".yml"))
    return str(beside / pipeline) if is_file else pipeline


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _by_record(folder: Path, kept: Sequence[Path]) -> FoundRun:
    """What a run's record tells, where nobody was left to see its end."""
    if not kept:
        return FoundRun("absent", str(folder))
    try:
        state = records.read(kept[-1].parent)["state"]
    except EdgelineError as error:
        return FoundRun("failed", str(folder), str(error))
    if state == "succeeded":
        return FoundRun("succeeded", str(folder))
    if state == "interrupted":
        return FoundRun("stopped", str(folder))
    return FoundRun("failed", str(folder), f"it ended as {state}")


def not_of_now(joined: JoinedRows) -> str:
    """How many rows were left out by the time at which they were met; "" where none was."""
    left_out = (
        (joined.stale, "are older or do not say when they were met"),
        (joined.ahead, f"are ahead of the clock by more than {MAX_AHEAD:g} s"),
    )
    told = " and ".join(f"{rows} {why}" for rows, why in left_out if rows)
    return f"{told}, and are left out" if told else ""


def refusal(joined: JoinedRows, data: RunData) -> str:
    """Why rows are not to be trained on; "" where nothing speaks against them."""
    if joined.rows < data.least:
        others = not_of_now(joined)
        return (
            f"{joined.rows} rows of {data.payloads} that are younger than {data.max_age:,.0f} s "
            f"have a label{others and f', and {others}'}; {data.least} are asked for "
            "(run.data.least)"
        )
    if joined.emptied:
        columns = ", ".join(map(repr, joined.emptied))
        return (
            f"the rows of {data.payloads} have a value of {columns} less than a tenth as often "
            f"as those of {data.base}: fix what sends them, or move them away"
        )
    return ""


def _refused(kept: Sequence[Path]) -> str:
    """Why a run's model was not published, by the tasks that refused it; "" where none did."""
    reasons = _told_of(kept, refusals)
    return f"Its model is refused: {reasons}"[:_TOLD_REFUSAL] if reasons else ""


def _told_of(kept: Sequence[Path], sentences: Callable[[Mapping[str, Any]], list[str]]) -> str:
    """What is made of the tasks of the last run; "" where its record or a verdict is unreadable."""
    if not kept:
        return ""
    try:
        return " ".join(sentences(runs.read(kept[-1].parent).result.tasks))[:_TOLD_REFUSAL]
    except (EdgelineError, OSError, ValueError, LookupError, TypeError):
        return ""


def _why(folder: Path, code: int, limit: float) -> str:
    if code == supervising.LATE:
        return f"it was ended after its limit of {limit:g} s"
    if code < 0:
        return f"it was ended by {signal.Signals(-code).name}"
    try:
        with open(folder / LOG, "rb") as stream:
            stream.seek(max(0, stream.seek(0, 2) - _TAIL))
            lines = stream.read().decode(errors="replace").splitlines()
    except OSError:
        lines = []
    said = next((line for line in reversed(lines) if line.startswith("Error: ")), "")
    return (said.removeprefix("Error: ") or f"its exit code is {code}")[:_TOLD]
