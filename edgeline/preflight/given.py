"""What a run will be given, as far as it is known before it begins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from edgeline import user_code
from edgeline.components.ingest.formats import format_of, separator_of
from edgeline.errors import EdgelineError
from edgeline.formats import plain_file
from edgeline.preflight.header import Header, read_header
from edgeline.preflight.module_source import ModuleSource, parsed
from edgeline.stores import remote, storage, tables
from edgeline.stores.remote import PIN
from edgeline.user_code import code as sources
from edgeline.user_code.code import UserCode


@dataclass(frozen=True)
class GivenRun:
    """The parameters of a run of one of edgeline's pipelines, or of one made of them.

    Attributes:
        values: every parameter that stands alone and every field of an object, by its name, with
            the defaults of what is not given.
        asked: the names of those that somebody gave.
        here: whether it runs on this machine, where every local file is to be.
        in_images: whether its tasks run in images, whose packages are not those of this Python.
        is_final: whether nobody will change a parameter before it runs.
        root: where runs are kept; only of a run here.
    """

    values: Mapping[str, Any]
    asked: frozenset[str] = frozenset()
    here: bool = False
    in_images: bool = True
    is_final: bool = True
    root: Path = field(default=Path("edgeline-runs"))

    def text(self, name: str) -> str:
        """A string of the parameters; "" where there is none."""
        value = self.values.get(name)
        return value if isinstance(value, str) else ""

    @cached_property
    def files(self) -> list[storage.LocatedFile] | None:
        """The files of `data`; None where they are not local, a table, or cannot be found."""
        places = [place.strip() for place in self.text("data").split(",") if place.strip()]
        if not places or any(remote.scheme(each) not in ("", "file", "package") for each in places):
            return None
        try:
            return None if tables.find(self.text("data")) else storage.resolve(self.text("data"))
        except EdgelineError:
            return None

    @cached_property
    def format(self) -> str:
        """That of the files; "" where it is not known."""
        try:
            return format_of(self.files) if self.files else ""
        except EdgelineError:
            return ""

    @cached_property
    def source_header(self) -> Header | None:
        """The columns of the data under its own names; None where they are not known."""
        if not self.files or not self.format:
            return None
        names = [file.name for file in self.files]
        delimiter = separator_of(self.text("delimiter") or ",", names)
        return read_header(self.format, self.files, delimiter, self.text("encoding") or "utf-8")

    @cached_property
    def header(self) -> Header | None:
        """The columns that the tasks after ingest have; None where they are not known."""
        columns = self.values.get("columns") or {}
        if self.source_header is None or not isinstance(columns, Mapping):
            return None
        return self.source_header.of_taken(columns, self.rename)

    @property
    def rename(self) -> Mapping[str, Any]:
        """New names of columns; `pretrained` renames what its model takes instead."""
        renamed = {} if "source" in self.values else self.values.get("rename")
        return renamed if isinstance(renamed, Mapping) else {}

    @cached_property
    def code(self) -> UserCode | EdgelineError | None:
        """The files of the module, or why they are none; None where it is not on this machine."""
        module = self.text("module")
        if not module or remote.scheme(module) not in ("", "file", "package"):
            return None
        named = sources.kind(module) == sources.NAME
        try:
            if not named:
                return sources.read(module)
            user_code.check(module)
            found = user_code.locate(module)
            return _alone(found, module) if found else None
        except EdgelineError as error:
            elsewhere = self.in_images if named else not self.here and not _is_here(module)
            return None if elsewhere else error

    @cached_property
    def module(self) -> ModuleSource | None:
        """The module as parsing shows it; None where it is not on this machine."""
        return parsed(self.code) if isinstance(self.code, UserCode) else None


def _is_here(module: str) -> bool:
    return bool(plain_file.kind(module.partition(PIN)[0]))


def _alone(file: Path, name: str) -> UserCode:
    """A module that Python imports by a name: what it imports itself is not looked at."""
    depth = name.count(".") + (file.name == sources.PACKAGE)
    place = file.parents[depth]
    entry = file.relative_to(place).as_posix()
    return UserCode(str(place), entry, {entry: file.read_bytes()})
