"""Stands in for the launcher of a real Kubeflow Pipelines 2.17.0: what goes into a task and out.

Each task has a disk of its own, to which its inputs are copied from the object store and from
which its outputs are copied back: a folder below `s3/` stands for the store. The task itself is
real: kfp's `executor_main` on the source in the compiled pipeline, or of the face that it names.

| rule                                                     | where, below backend/src/v2/     |
|----------------------------------------------------------|----------------------------------|
| what is passed, with defaults put in                     | component/launcher_v2.go:1310    |
| placeholders are replaced as text                        | component/launcher_v2.go:1051    |
| inputs are copied, each to a path made of its URI        | component/launcher_v2.go:927     |
| a file that is not JSON of ExecutorOutput ends the task   | component/launcher_v2.go:1208    |
| an output parameter without value or file ends it        | component/launcher_v2.go:484     |
| URI and metadata of an output come from the executor     | component/launcher_v2.go:1188    |
| outputs are copied, empty folders are not                | objectstore/object_store.go:111  |
| one argument of a process has at most 128 KiB            | Linux's MAX_ARG_STRLEN           |

Stricter than the real one in two places, where that only warns, or lets the next task's driver end
the run: an artifact without a file (of other types than metrics), and an output parameter that is
not of its type.
"""

from __future__ import annotations

import json
import math
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kfp_stand_in_store import RefusedError, whole

from edgeline.kubeflow import face, handed

MOST_ARGUMENT = 128 * 1024  # bytes
LOGS = "executor-logs"
WITHOUT_FILE = ("system.Metrics", "system.ClassificationMetrics")
TYPES: dict[str, Any] = {
    "STRING": str, "NUMBER_INTEGER": (int, float), "NUMBER_DOUBLE": (int, float),
    "BOOLEAN": bool, "LIST": list, "STRUCT": dict,
}  # fmt: skip
# kfp has the mount's place in a constant, which a test cannot make at the root of the disk
MOUNT = "from kfp.dsl.types import artifact_types as _t; _t._S3_LOCAL_MOUNT_PREFIX = {!r}\n"

# runs a command with an environment, output to a file; gives the exit code
Start = Callable[[list[str], dict[str, str], Path], int]


@dataclass(frozen=True)
class Launcher:
    """Runs tasks below a folder: `s3` is the object store, `disks/*` the tasks' own."""

    folder: Path
    start: Start

    def launch(
        self,
        number: int,
        name: str,
        component: dict[str, Any],
        container: dict[str, Any],
        executor_input: dict[str, Any],
    ) -> dict[str, Any]:
        """Run a task, numbered for its disk and log; its outputs as they are published.

        Raises:
            RefusedError: the task fails, or a launcher refuses what it leaves.
        """
        disk, log = self.folder / "disks" / str(number), self.folder / "logs" / f"{number}-{name}"
        disk.mkdir(parents=True)
        log.parent.mkdir(exist_ok=True)
        given = json.loads(json.dumps(executor_input))
        specs = component.get("inputDefinitions", {}).get("parameters", {})
        for key, spec in specs.items():
            if "defaultValue" in spec:
                given["inputs"]["parameterValues"].setdefault(key, whole(spec["defaultValue"]))
        output_file = disk / Path(executor_input["outputs"]["outputFile"]).relative_to("/s3")
        given["outputs"]["outputFile"] = str(output_file)
        for key, output in given["outputs"]["parameters"].items():
            output["outputFile"] = str(disk / "outputs" / key)
        for taken in given["inputs"]["artifacts"].values():
            for artifact in taken["artifacts"]:
                _copy(self._stored(artifact["uri"]), _path(disk, artifact["uri"]))
        command = self._command(container, given, disk)
        env = {entry["name"]: entry["value"] for entry in container.get("env", [])}
        if code := self.start(command, env, log):
            said = log.read_text(errors="replace").strip().splitlines()[-3:]
            raise RefusedError(f"{name}: exit status {code}: {' | '.join(said)}")
        written = read_output(output_file)
        found = written.setdefault("parameterValues", {})
        for key, spec in component.get("outputDefinitions", {}).get("parameters", {}).items():
            if key not in found:
                found[key] = _from_file(disk / "outputs" / key, key, spec["parameterType"])
            if not isinstance(found[key], TYPES[spec["parameterType"]]):
                raise RefusedError(f"output parameter {key!r} type mismatch: {found[key]!r}")
        published = {}
        for key, made in given["outputs"]["artifacts"].items():
            (artifact,) = made["artifacts"]
            for said in written.get("artifacts", {}).get(key, {}).get("artifacts", [])[:1]:
                artifact["uri"] = said.get("uri") or artifact["uri"]
                metadata = {**artifact.get("metadata", {}), **said.get("metadata", {})}
                artifact["metadata"] = metadata
            path = _path(disk, artifact["uri"])
            kind = artifact["type"]["schemaTitle"]
            if not path.exists() and kind not in WITHOUT_FILE and key != LOGS:
                raise RefusedError(
                    f"{name} left no file for {key}: the next task would find nothing"
                )
            _copy(path, self._stored(artifact["uri"]))
            if key != LOGS:
                published[key] = artifact
        shutil.rmtree(disk)
        return {"parameterValues": found, "artifacts": published, "executor_input": given}

    def _command(
        self,
        container: dict[str, Any],
        given: dict[str, Any],
        disk: Path,
    ) -> list[str]:
        values = given["inputs"]["parameterValues"]
        whole_input = json.dumps(given, separators=(",", ":"), ensure_ascii=False)
        arguments = []
        for argument in (*container.get("command", []), *container.get("args", [])):
            text = argument.replace("{{$}}", whole_input)
            for key, value in values.items():
                said = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
                text = text.replace(f"{{{{$.inputs.parameters['{key}']}}}}", said)
            if len(text.encode()) >= MOST_ARGUMENT:
                raise RefusedError(f"argument list too long ({len(text.encode()):,} bytes)")
            arguments.append(text)
        place = arguments.index("--executor_input")
        named = face.in_command(arguments)
        source = named.source() if named else arguments[place - 1]
        if named:  # as edgeline's own module does before kfp's
            arguments[place + 1] = json.dumps(handed.apart(json.loads(arguments[place + 1]), named))
        arguments[:place] = [MOUNT.format(f"{disk}/") + source]
        return [word.replace("python3 -m", f"{sys.executable} -m") for word in arguments]

    def _stored(self, uri: str) -> Path:
        return self.folder / "s3" / uri.removeprefix("s3://")


def read_output(file: Path) -> dict[str, Any]:
    """ExecutorOutput as protojson reads it.

    Raises:
        RefusedError: it is not JSON as Go has it: NaN, half a surrogate pair, a number too large.
    """
    if not file.exists():
        return {}
    text = file.read_text("utf-8")

    def refuse(word: str) -> Any:
        raise RefusedError(f"failed to unmarshall ExecutorOutput: invalid value {word}")

    written = json.loads(text, parse_constant=refuse)

    def look(value: Any) -> None:
        if isinstance(value, dict):
            for key, each in value.items():
                look(key)
                look(each)
        elif isinstance(value, list):
            for each in value:
                look(each)
        elif isinstance(value, str):
            try:
                value.encode()
            except UnicodeEncodeError:
                refuse(ascii(value))
        elif isinstance(value, (int, float)):
            try:
                finite = math.isfinite(float(value))
            except OverflowError:
                finite = False
            if not finite:
                refuse("number out of range")

    look(written)
    if unknown := written.keys() - {"parameterValues", "artifacts"}:
        refuse(f"unknown field {unknown}")
    for made in written.get("artifacts", {}).values():
        for artifact in made["artifacts"]:
            fields = {"name", "uri", "type", "metadata", "customPath", "custom_path"}
            if unknown := artifact.keys() - fields:
                refuse(f"unknown field {unknown}")
            if not isinstance(artifact.get("metadata", {}), dict):
                refuse("metadata")
    return written


def _from_file(file: Path, key: str, kind: str) -> Any:
    if not file.is_file():
        raise RefusedError(f'failed to read output parameter name="{key}": no such file')
    text = file.read_text()
    return text if kind == "STRING" else json.loads(text)


def _path(disk: Path, uri: str) -> Path:
    return disk / uri.removeprefix("s3://")


def _copy(source: Path, target: Path) -> None:
    """A file, or a folder's files: an object store has no empty folders."""
    files = [source] if source.is_file() else sorted(source.rglob("*"))
    for file in files:
        if file.is_file():
            place = target / file.relative_to(source) if file != source else target
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, place)
