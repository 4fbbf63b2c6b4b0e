"""Where the page of a run points: files beside it, by relative links, so that a folder can move."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from urllib.parse import quote

from edgeline.local.tasks import RunResult, TaskResult

REPORTS = "reports"  # in a run's folder: each task's report, under a name that a browser knows
HTML = b"<!doctype html"


def reports(result: RunResult, name: str, task: TaskResult) -> list[tuple[str, str]]:
    """The HTML reports of a task as files of the run's folder: what each is called, and its link.

    A task's output has no ending in its name, so a browser would show its source, and that of a
    cached task lies in another run, which may be removed: each is copied, once.
    """
    found = []
    for output, value in task.artifacts.items():
        source = Path(str(value["uri"]))
        if not _is_page(source):
            continue
        copy = result.folder / REPORTS / f"{_file_name(name)}.{_file_name(output)}.html"
        if _differs(source, copy):
            copy.parent.mkdir(exist_ok=True)
            partial = copy.with_suffix(".partial")
            shutil.copyfile(source, partial)
            shutil.copystat(source, partial)
            partial.replace(copy)
        found.append((output.replace("_", " "), f"{REPORTS}/{quote(copy.name)}"))
    return found


def link(folder: Path, place: str | Path) -> str:
    """A link from a page in `folder` to a local file or folder; "" where none is there.

    Below the folder that holds the runs it is relative, else a `file:` URI.
    """
    if "://" in str(place):
        return ""
    path = Path(place)
    if not path.exists():
        return ""
    path = path.resolve()
    if folder.parent in path.parents:
        return quote(Path(os.path.relpath(path, folder)).as_posix())
    return path.as_uri()


def _file_name(text: str) -> str:
    """As a part of a file's name; kfp's names of tasks and outputs are all but these already."""
    return "".join(letter if letter.isalnum() or letter in "-_[]" else "-" for letter in text)


def _is_page(path: Path) -> bool:
    if not path.is_file():
        return False
    with open(path, "rb") as stream:
        return stream.read(len(HTML)).lower() == HTML


def _differs(source: Path, copy: Path) -> bool:
    if not copy.is_file():
        return True
    before, now = copy.stat(), source.stat()
    return (before.st_size, before.st_mtime_ns) != (now.st_size, now.st_mtime_ns)
