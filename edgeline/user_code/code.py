"""A user's code: the module that is given, and what it imports of the same folder or zip.

| given                                  | what it is                                       |
|----------------------------------------|--------------------------------------------------|
| `taxi.py`                              | a file, with the files beside it that it imports |
| `code/`, `s3://bucket/code`            | a folder with `module.py` or `__init__.py`       |
| `code.zip`, `https://host/code.zip`    | a zip of one                                     |
| `https://host/taxi.py`                 | a file alone: nothing tells what lies beside it  |
| `my_package.taxi`                      | what Python imports by that name                 |

All but the last may be pinned by `#sha256=<hex>`: the digest of the zip, or of the file; of several
files that of their listing as `sha256sum` prints it, sorted by path (`UserCode.digest`). Files that
a module opens when it runs are its user's own: they are neither read nor pinned here.
"""

from __future__ import annotations

import hashlib
import io
import re
import stat
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from edgeline.errors import EdgelineError, UsageError
from edgeline.formats import archives, plain_file
from edgeline.stores import remote, storage
from edgeline.stores.remote import PIN
from edgeline.user_code import imports

FILE, ZIP, FOLDER, NAME = "file", "zip", "folder", "name"
ENTRY, PACKAGE = "module.py", "__init__.py"
LARGEST = 16 << 20  # bytes of Python together
MOST = 1000  # files
WAY_OUT = (
    "give an importable name, a path or URI that ends in .py or .zip, or a folder with module.py "
    "or __init__.py"
)


@dataclass(frozen=True)
class UserCode:
    """The files of a user's code.

    Attributes:
        place: where they lie, as it is shown; "" for this folder.
        entry: the module's path below it.
        files: every file by its path below it, sorted.
        sha256: of the zip that they come from; "" where they come from none.
    """

    place: str
    entry: str
    files: Mapping[str, bytes] = field(repr=False)
    sha256: str = ""

    @property
    def digest(self) -> str:
        """What a pin of it says, hexadecimal."""
        if self.sha256:
            return self.sha256
        each = {path: hashlib.sha256(source).hexdigest() for path, source in self.files.items()}
        if len(each) == 1:
            return each[self.entry]
        lines = "".join(f"{digest}  {path}\n" for path, digest in each.items())
        return hashlib.sha256(lines.encode()).hexdigest()

    @property
    def modules(self) -> list[str]:
        """The files that can be imported by name: all but a lone file that no other imports."""
        return [path for path in self.files if path != self.entry or self._is_imported()]

    def shown(self, path: str) -> str:
        """A file's place, for messages."""
        return f"{self.place.rstrip('/')}/{path}" if self.place else path

    def _is_imported(self) -> bool:
        if "/" in self.entry:
            return True
        others = {path: source for path, source in self.files.items() if path != self.entry}
        return any(self.entry in _wanted(path, source) for path, source in others.items())


def kind(module: str) -> str:
    """What is given: FILE, ZIP, FOLDER or NAME."""
    place, pinned, _ = module.partition(PIN)
    if place.endswith((".py", ".zip")):
        return FILE if place.endswith(".py") else ZIP
    if pinned or remote.scheme(place):
        return FOLDER
    if plain_file.kind(place) != plain_file.FOLDER or not any(
        plain_file.kind(Path(place, name)) for name in (ENTRY, PACKAGE)
    ):
        return NAME
    return NAME if place.isidentifier() and imports.find(place) else FOLDER


def read(module: str) -> UserCode:
    """The files of a user's code that is given as a file, a folder or a zip.

    Raises:
        UsageError: there is no such place or it holds no module; a file in it is a link that leads
            out of it, or has a name that is somewhere else; a module of it and an installed
            package have the same name; there are more than 1000 files or 16 MiB.
        EdgelineError: it cannot be read, or lacks the pinned content.
    """
    given, _, pin = module.partition(PIN)
    place = unquote(given[len("file://") :]) if remote.scheme(given) == "file" else given
    what = kind(module)
    if what == ZIP:
        found = _from_zip(place)
    elif what == FILE:
        found = _from_file(place)
    else:
        found = _from_folder(place)
    if pin and found.digest != pin.lower():
        raise EdgelineError(
            f"{remote.public(place)} has the sha256 {found.digest}, but {pin} is pinned: "
            "give the pinned content or renew the pin."
        )
    _refuse_installed(found)
    return found


def _from_file(place: str) -> UserCode:
    if remote.scheme(place):
        folder, _, name = place.rpartition("/")
        with storage.open_source(storage.resolve([place])[0]) as stream:
            return UserCode(folder, name, {name: stream.read()})
    path, there = Path(place), plain_file.kind(place)
    if not there:
        raise UsageError(f"{place} names no file: check the path and the pattern.")
    if there != plain_file.FILE:
        raise UsageError(f"{place} is {there}, not a file: give a file or a folder.")
    folder = place[: -len(path.name)].rstrip("/") or ("/" if place.startswith("/") else "")
    return UserCode(folder, path.name, _reached(path.parent, path.name))


def _from_folder(place: str) -> UserCode:
    """A package, which is imported by the folder's name, or modules that lie in it."""
    if remote.scheme(place) in ("http", "https"):
        raise UsageError(
            f"{remote.public(place)} is a web address, which lists no folder: {WAY_OUT}."
        )
    if remote.scheme(place):
        return _chosen(_listed(place), place.rstrip("/"), place.rstrip("/").rpartition("/")[2])
    base = Path(place)
    whole = base.resolve()
    entry, is_package = _entry(
        [name for name in (ENTRY, PACKAGE) if (base / name).is_file()], place, whole.name
    )
    if not is_package:
        return UserCode(place.rstrip("/"), entry, _reached(base, entry))
    above = str(PurePosixPath(place.rstrip("/")).parent)
    if PurePosixPath(place.rstrip("/")).name != whole.name:  # such as . or a link
        above = str(whole.parent)
    inside = f"{whole.name}/{entry}"
    return UserCode("" if above == "." else above, inside, _reached(whole.parent, inside))


def _from_zip(place: str) -> UserCode:
    source = storage.resolve([place])[0]
    with storage.open_source(source) as stream:
        content = stream.read(4 * LARGEST + 1)
    if len(content) > 4 * LARGEST:
        raise UsageError(
            f"{source.name} has more than {4 * LARGEST >> 20} MiB: leave out what is not Python."
        )
    shown = remote.public(place)
    try:
        with archives.open_zip(io.BytesIO(content), shown) as archive:
            files = _unpacked(archive, shown)
    except archives.DAMAGED as error:
        raise EdgelineError(f"{shown} is not a zip that can be read ({error}).") from error
    folders = {path.partition("/")[0] for path in files}
    top = next(iter(folders)) if len(folders) == 1 else ""
    if top and not top.endswith(".py"):  # the folder itself was packed
        inside = {path.removeprefix(f"{top}/"): each for path, each in files.items()}
        chosen = _chosen(inside, f"{shown}/{top}", top)
    else:
        chosen = _chosen(files, shown, PurePosixPath(shown).stem)
    sha256 = hashlib.sha256(content).hexdigest()
    return UserCode(chosen.place, chosen.entry, chosen.files, sha256)


def _unpacked(archive: zipfile.ZipFile, shown: str) -> dict[str, bytes]:
    """The Python files of a zip, by path."""
    files: dict[str, bytes] = {}
    room = LARGEST
    for info in archive.infolist():
        path = PurePosixPath(info.filename)
        if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:|.*\\", info.filename):
            raise UsageError(
                f"{shown} holds {info.filename!r}, a name out of the folder: pack it again."
            )
        if stat.S_ISLNK(info.external_attr >> 16):
            raise UsageError(f"{shown} holds {info.filename}, a link: pack the file itself.")
        if info.is_dir() or path.suffix != ".py":
            continue
        with archive.open(info) as stream:
            files[str(path)] = stream.read(room + 1)
        room -= len(files[str(path)])
        _refuse_large(shown, room, len(files))
    return dict(sorted(files.items()))


def _listed(place: str) -> dict[str, bytes]:
    """The Python files of a folder in an object store, by path."""
    files: dict[str, bytes] = {}
    room = LARGEST
    for source in storage.resolve([f"{place.rstrip('/')}/**/*.py"]):
        path = source.location.partition(place.partition("://")[2].rstrip("/") + "/")[2]
        with storage.open_source(source) as stream:
            files[path] = stream.read(room + 1)
        room -= len(files[path])
        _refuse_large(place, room, len(files))
    return dict(sorted(files.items()))


def _chosen(files: Mapping[str, bytes], shown: str, name: str) -> UserCode:
    """The code of all files of a folder; as a package it has the folder's name."""
    entry, is_package = _entry([each for each in (ENTRY, PACKAGE) if each in files], shown, name)
    if not is_package:
        return UserCode(shown, entry, imports.reached(entry, files.get))
    inside = {f"{name}/{path}": each for path, each in files.items()}
    reached = imports.reached(f"{name}/{entry}", inside.get)
    return UserCode(shown.rpartition("/")[0], f"{name}/{entry}", reached)


def _entry(there: list[str], shown: str, name: str) -> tuple[str, bool]:
    """The module's file in a folder, and whether it is a package's."""
    if not there:
        raise UsageError(f"{shown} has neither {ENTRY} nor {PACKAGE}: {WAY_OUT}.")
    if PACKAGE in there and (not name.isidentifier() or name in sys.stdlib_module_names):
        raise UsageError(
            f"{shown} is a package, and {name!r} is not a name that it can be imported by: rename "
            f"the folder, or remove its {PACKAGE} and have a {ENTRY}."
        )
    return there[0], PACKAGE in there


def _reached(base: Path, entry: str) -> dict[str, bytes]:
    """A local file and what it imports of its folder, or of the package that it is in."""
    whole = base.resolve()
    room, count = LARGEST, 0

    def lookup(path: str) -> bytes | None:
        nonlocal room, count
        if "/" in entry and path.partition("/")[0] != entry.partition("/")[0]:
            return None  # what lies beside a package is not of it
        file = base / path
        if not file.is_file():
            return None
        if path != entry and not file.resolve().is_relative_to(whole):
            raise UsageError(f"{file} is a link out of {base}: put the file itself there.")
        try:
            source = plain_file.read(file, LARGEST)
        except OSError as error:
            raise UsageError(f"{file} cannot be read ({error.strerror}).") from error
        room, count = room - len(source), count + 1
        _refuse_large(str(base), room, count)
        return source

    return imports.reached(entry, lookup)


def _refuse_large(shown: str, room: int, count: int) -> None:
    if room < 0 or count > MOST:
        raise UsageError(
            f"{shown} has more than {LARGEST >> 20} MiB or {MOST} files of Python: leave out what "
            "the module does not need, or install it as a package."
        )


def _refuse_installed(code: UserCode) -> None:
    """Refuse a name that is also installed: which of the two ran would depend on the machine."""
    names = {imports.module_name(path).partition(".")[0] for path in code.modules}
    for name in sorted(names):
        # tasks start in this folder, which Python then looks into
        spec = imports.find(name, [str(Path.cwd())]) or imports.find(name)
        if spec is None or not spec.origin or not Path(spec.origin).exists():
            continue
        own = [path for path in imports.paths(name) if path in code.files]
        places = [Path(code.shown(path)) for path in own]
        if any(place.is_file() and place.samefile(spec.origin) for place in places):
            continue
        raise UsageError(
            f"{code.shown((own or [name])[0])} has the name of another module, {spec.origin}: "
            "rename one of the two."
        )


def _wanted(path: str, source: bytes) -> list[str]:
    try:
        return imports.wanted(path, source)
    except (SyntaxError, ValueError):
        return []
