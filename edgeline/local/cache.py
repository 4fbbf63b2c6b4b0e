"""The results of tasks, kept as they come: in the run's own folder, and for `--cache`.

This is kfp.local's task cache with two places instead of one. Whatever ends well is written to
both; what is read depends on the run: a run that is gone on with takes its own results, one with
`--cache` those of all runs. Neither gives back a damaged artifact, nor what other code or other
packages made.

An entry is kfp's JSON of a task's outputs, and under `NOTES` what it was made of: digests of its
arguments by name, of its command and of the user's code, edgeline's code, the packages, what its
artifacts consist of, and what the task cost.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kfp import dsl
from kfp.local.cache import LocalCache

from edgeline import artifacts
from edgeline.errors import EdgelineError
from edgeline.kubeflow import face
from edgeline.local import surroundings
from edgeline.local.redaction import redacted
from edgeline.local.tasks import TaskResult
from edgeline.user_code import imports, used
from edgeline.user_code.code import NAME, kind

EXECUTOR_INPUT = "--executor_input"  # the source stands before it
NOTES = "edgeline.notes"  # an output's name, which is Python's, has no dot
RESULTS = "results"  # in a run's folder
COST = ("seconds", "cpu_seconds", "peak_memory", "began")  # of a `TaskResult`

OnHit = Callable[[str, dict[str, Any], dict[str, Any], str], None]


@dataclass(frozen=True)
class Reuse:
    """Which results a run may take.

    shared: where those of all runs are; cache: whether they are read, too.
    code: the digest of edgeline's own (`surroundings.code_digest`).
    own: whether the run's own are: it is gone on with.
    anew: components that run again in any case.
    never: components whose author switched the cache off: they are taken from the same run alone.
    packages: as they are now, {} where tasks run in images, which have packages of their own.
    """

    shared: Path
    code: str
    cache: bool = False
    own: bool = False
    anew: frozenset[str] = frozenset()
    never: frozenset[str] = frozenset()
    packages: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class KeyParts:
    """What a task's key stands for: digests of its parts, by what people call them."""

    component: str
    given: Mapping[str, str]
    command: str
    code: str


class KeptResults(LocalCache):  # type: ignore[misc]
    """kfp.local's cache, by `Reuse`; `bound` makes the class that kfp creates one of."""

    reuse: Reuse
    on_hit: OnHit
    on_miss: Callable[[str, str], None]
    ended: Callable[[], TaskResult]

    def __init__(self, cache_root: str) -> None:
        super().__init__(cache_root=cache_root)
        self._made: dict[str, KeyParts] = {}
        self._making = threading.Lock()

    def compute_key(self, component_name: str, *args: Any, **kwargs: Any) -> str:
        key: str = super().compute_key(component_name, *args, **kwargs)
        own = _code(*args, **kwargs)
        if own:
            key = hashlib.sha256(f"{key} {own}".encode()).hexdigest()
        made = _made(component_name.removeprefix("comp-"), own, *args, **kwargs)
        with self._making:  # tasks side by side
            self._made[key] = made
        return key

    def get(self, key: str) -> dict[str, Any] | None:
        made = self._made[key]
        reasons = []
        for place in self._places(made.component):
            entry = _read(place / f"{key}.json")
            if entry is None:
                continue
            if reason := self._unfit(entry, made.component):
                reasons.append(reason)
                continue
            notes = entry.pop(NOTES, {})
            try:
                outputs: dict[str, Any] = self._deserialize_outputs(entry)
            except Exception:  # kfp's, of a file that is gone, or of a form that it does not know
                reasons.append("its result is gone")
                continue
            if not all(
                _is_whole(each, notes.get("contents", {}).get(name))
                for name, each in outputs.items()
            ):
                reasons.append("its result is damaged")
                continue
            own = place == Path(self.cache_root)
            cost = notes.get("cost", {}) if own else {}
            self.on_hit(made.component, outputs, cost, notes.get("task", ""))
            return outputs
        if self.reuse.own:
            if made.component in self.reuse.anew:
                reasons = ["asked for"]
            self.on_miss(made.component, ", ".join(reasons) or self._changed(made))
        return None

    def put(self, key: str, outputs: dict[str, Any]) -> None:
        made = self._made[key]
        ended = self.ended()
        entry = _in_order(self._serialize_outputs(outputs), ended.outputs)
        if redacted(entry) != entry:  # a secret is not kept, so such a task runs again
            return
        entry[NOTES] = {
            "component": made.component,
            "given": made.given,
            "command": made.command,
            "code": made.code,
            "edgeline": self.reuse.code,
            "packages": self.reuse.packages,
            "contents": {name: _contents(each) for name, each in outputs.items()},
            "cost": {name: getattr(ended, name) for name in COST},
            "task": ended.task.component,
        }
        text = json.dumps(entry)
        places = [Path(self.cache_root)]
        if made.component not in self.reuse.never:
            places.append(self.reuse.shared)
        for place in places:
            place.mkdir(parents=True, exist_ok=True)
            # not a name that two runs share: both may end the same task at once
            partial = place / f"{key}.{os.getpid()}-{threading.get_ident()}.partial"
            try:
                partial.write_text(text, "utf-8")
                partial.replace(place / f"{key}.json")
            finally:
                partial.unlink(missing_ok=True)

    def _places(self, component: str) -> Iterator[Path]:
        if component in self.reuse.anew:
            return
        if self.reuse.own:
            yield Path(self.cache_root)
        if self.reuse.cache and component not in self.reuse.never:
            yield self.reuse.shared

    def _unfit(self, entry: Mapping[str, Any], component: str) -> str:
        """Why an entry of the right key is not taken; "" where it is."""
        notes = entry.get(NOTES, {})
        if notes.get("edgeline") != self.reuse.code:
            return "edgeline's own code has changed"
        changed = surroundings.differing(notes.get("packages", {}), self.reuse.packages)
        changed = changed if self.reuse.packages else {}
        return ", ".join(
            f"{name} {how}" for name, how in surroundings.touch(changed, component).items()
        )

    def _changed(self, made: KeyParts) -> str:
        """What has changed since this task ended in this run; "" where it never did."""
        nearest: list[str] | None = None
        for file in Path(self.cache_root).glob("*.json"):
            notes = (_read(file) or {}).get(NOTES, {})
            if notes.get("component") != made.component:
                continue
            given = notes.get("given", {})
            names = sorted(
                name for name in {*given, *made.given} if given.get(name) != made.given.get(name)
            )
            names += ["its command"] if notes.get("command") != made.command else []
            names += ["code that it imports"] if notes.get("code") != made.code else []
            if nearest is None or len(names) < len(nearest):
                nearest = names
        return f"changed: {', '.join(nearest)}" if nearest else ""


def bound(
    reuse: Reuse,
    on_hit: OnHit,
    on_miss: Callable[[str, str], None],
    ended: Callable[[], TaskResult],
) -> type[KeptResults]:
    """The class that kfp.local is to make its cache of.

    Args:
        on_hit: told the component, the outputs, the cost of the task where it was this run's, and
            what the task was called, of a loop's rounds each.
        on_miss: told the component of a task that runs again, and why ("" where it never ended).
        ended: the record of the task that has just ended in this thread. Its outputs are in the
            order in which the task told them, which kfp's messages lose.
    """
    parts = {
        "reuse": reuse,
        "on_hit": staticmethod(on_hit),
        "on_miss": staticmethod(on_miss),
        "ended": staticmethod(ended),
    }
    return type("RunResults", (KeptResults,), parts)


def _in_order(value: Any, like: Any) -> Any:
    """A JSON value with its names in the order of another one's: people see the first of them."""
    if not (isinstance(value, dict) and isinstance(like, dict)):
        return value
    names = dict.fromkeys([*(name for name in like if name in value), *value])
    return {name: _in_order(value[name], like.get(name)) for name in names}


def _read(file: Path) -> dict[str, Any] | None:
    """An entry; None where there is none, or it is not a JSON object."""
    try:
        entry = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return None
    return entry if isinstance(entry, dict) else None


def _made(
    component: str,
    code: str,
    image: str,
    full_command: Sequence[str],
    arguments: Mapping[str, Any],
    env_vars: Mapping[str, str] | None = None,
    custom_cache_key: str | None = None,
) -> KeyParts:
    """The parts of a key, each as a digest."""
    given = {
        name: _digest(LocalCache._serialize_value_for_key(value))
        for name, value in arguments.items()
    }
    command = _digest([image, list(full_command), dict(env_vars or {}), custom_cache_key])
    return KeyParts(component, given, command, code)


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _code(
    image: str,  # noqa: ARG001
    full_command: Sequence[str],
    arguments: Mapping[str, Any],
    env_vars: object = None,  # noqa: ARG001
    custom_cache_key: str | None = None,
) -> str:
    """The digest of what a task's code imports on this machine; "" where there is no such.

    Edgeline's own code, which every entry names, is not looked at.
    """
    if custom_cache_key:
        return ""
    names: list[str] = []
    if EXECUTOR_INPUT in full_command[1:] and not face.in_command(full_command):
        source = full_command[full_command.index(EXECUTOR_INPUT) - 1]
        with contextlib.suppress(SyntaxError, ValueError):  # the task says so
            names += imports.names(source.encode())
    modules = (arguments.get("module"), arguments.get("own_module"))
    names += [each for each in modules if each and isinstance(each, str) and kind(each) == NAME]
    return used.digest(names)


def _is_whole(output: Any, contents: Any) -> bool:
    """Whether what an output names is as it was when its task had ended."""
    if isinstance(output, list) and isinstance(contents, list) and len(output) == len(contents):
        return all(map(_is_whole, output, contents))
    if not isinstance(output, dsl.Artifact):
        return True
    if "edgeline_schema" not in output.metadata:
        return contents is None or _contents(output) == contents
    try:
        artifacts.read(Path(output.uri), output.metadata["edgeline_schema"])
    except EdgelineError:
        return False
    return True


def _contents(output: Any) -> Any:
    """The sizes of an artifact's files by path, in bytes, for one that has no listing of its own;
    None for other outputs, and where it lies elsewhere."""
    if isinstance(output, list):
        return [_contents(each) for each in output]
    if not isinstance(output, dsl.Artifact) or "edgeline_schema" in output.metadata:
        return None
    path = Path(output.uri)
    if "://" in output.uri or not path.exists():
        return None
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return {
        file.relative_to(path).as_posix(): file.stat().st_size for file in files if file.is_file()
    }
