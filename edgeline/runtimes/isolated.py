"""A model in a process of its own: what crashes, hangs or fills it there is a sentence here.

What others made, and what a compiler made of it, is loaded nowhere else. A model that crashes on
one row of many ends its process on that row, so all rows are answered there and none here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgeline.artifacts import Artifact, models
from edgeline.artifacts.features import Feature
from edgeline.errors import EdgelineError, first_line
from edgeline.runtimes import child, limits
from edgeline.runtimes.interpreter import Arrays, CrashError, EdgeModel, RowError

ENDS = 12  # of a model's process, after which it is not started again
WAY_OUT = "convert or export it again"

Function = Callable[[Arrays], Arrays]


def model(path: Path, load: Callable[..., EdgeModel], *arguments: object) -> EdgeModel:
    """What `load(*arguments)` gives, in a process of its own; a crash is a `CrashError`.

    Args:
        path: the model, a file or a folder, for sentences; its size is part of the limit.
        load: a function of a module.

    Raises:
        EdgelineError: as raised by `load`, or that crashed or went beyond a limit.
    """
    isolated = _Isolated(path, False, _of_model, load, *arguments)
    return EdgeModel(isolated.described, isolated)


def signature(model: Artifact, name: str) -> tuple[Function, list[Feature]]:
    """As `models.load_signature`, in a process of its own.

    Raises:
        EdgelineError: as raised there, or that crashed or went beyond a limit.
    """
    isolated = _Isolated(models.saved_model_path(model), True, models.load_signature, model, name)
    return isolated, isolated.described


def call(path: Path, function: Callable[..., object], *arguments: object) -> Any:
    """What `function(tell, *arguments)` returns, called once in a process of its own.

    Args:
        path: as of `model`.

    Raises:
        EdgelineError: as raised there, or it crashed or went beyond a limit.
    """
    try:
        return child.call(function, *arguments, memory=_room(path))
    except child.ChildError as error:
        raise _sentence(path, error) from error


class _Isolated:
    """A function of named arrays that `load(*arguments)` gives in a child, with a description.

    Where the child ended, the next call begins a new one, `ENDS` times. Of several threads one at a
    time.
    """

    def __init__(
        self, path: Path, tensorflow: bool, load: Callable[..., object], *arguments: object
    ) -> None:
        self._path, self._load, self._arguments = path, load, arguments
        self._tensorflow = tensorflow
        self._lock, self._ended = threading.Lock(), 0
        self._child: child.Child | None = None
        self.described = self._started()

    def __call__(self, arrays: Arrays) -> Arrays:
        """Raises: as the function does, other errors than ours as ValueError; `CrashError`."""
        with self._lock:
            if self._child is None:
                self._started()
            assert self._child
            self._child.send(dict(arrays))
            try:
                kind, value = self._child.receive()
            except child.ChildError as error:
                self._end()
                raise CrashError(self._path, error.how, _rows(arrays), WAY_OUT) from error
        if kind == "memory":
            value = limits.too_much(_room(self._path))
        if kind in ("crashed", "memory"):
            raise CrashError(self._path, value, _rows(arrays), WAY_OUT)
        if kind == "row":
            raise RowError(*value)
        if kind != "answer":
            raise (EdgelineError if kind == "refused" else ValueError)(value)
        answer: Arrays = value
        return answer

    def _started(self) -> Any:
        if self._ended >= ENDS:
            raise EdgelineError(f"{self._path} crashed {ENDS} times: {WAY_OUT}.")
        self._child = child.Child(
            _answer,
            self._load,
            *self._arguments,
            memory=_room(self._path),
            anew=threading.active_count() > 1,
            tensorflow=self._tensorflow,
        )
        try:
            return self._child.receive()
        except child.ChildError as error:
            self._end()
            raise _sentence(self._path, error) from error

    def _end(self) -> None:
        assert self._child
        self._child.end()
        self._child, self._ended = None, self._ended + 1


def _of_model(load: Callable[..., EdgeModel], *arguments: object) -> tuple[Function, object]:
    found = load(*arguments)
    return found.invoke, found.signature


def _answer(parent: child.Parent, load: Callable[..., Any], *arguments: object) -> None:
    """What the child does."""
    parent("loaded")
    function, described = load(*arguments)
    parent.answer(described)
    for arrays in parent.requests():
        try:
            parent.answer(("answer", function(arrays)))
        except RowError as error:
            parent.answer(("row", (error.row, error.why)))
        except CrashError as error:  # of the process that the runtime is in
            parent.answer(("crashed", error.how))
        except Exception as error:  # what a graph of others raises is of any kind
            kind = "refused" if isinstance(error, EdgelineError) else "raised"
            lacked = limits.lacked_memory(f"{type(error).__name__}: {error}")
            said = str(error) if kind == "refused" else first_line(error)
            parent.answer(("memory" if lacked else kind, said))


def _rows(arrays: Arrays) -> range:
    return range(len(next(iter(arrays.values()))))


def _room(path: Path) -> int:
    return limits.room(path) + limits.ARROW


def _sentence(path: Path, error: child.ChildError) -> EdgelineError:
    return EdgelineError(
        f"{path} {error.how} while it was {error.doing}{child.last_error(error.log)}: {WAY_OUT}."
    )
