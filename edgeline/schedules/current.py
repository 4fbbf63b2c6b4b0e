"""Which version of each pipeline is the current one: a file beside the schedules file.

    taxi: taxi-3f9c0d1e2b4a

`edgeline compile --current` writes it, a schedule with `version: current` runs what it names, and
it lies in Git beside what was compiled: going back there goes back here.
"""

from __future__ import annotations

from pathlib import Path

from edgeline.artifacts.folder import write_output
from edgeline.errors import UsageError
from edgeline.formats import plain_file, plain_yaml

FILE = "versions.yaml"
_COMMENT = "written by `edgeline compile --current`: what schedules with `version: current` run"


def read(path: Path) -> dict[str, str]:
    """The current version's name of each pipeline.

    Raises:
        UsageError: it is missing or says something else.
    """
    try:
        return plain_yaml.load(plain_file.read(path), dict[str, str])
    except OSError as error:
        raise UsageError(
            f"{path}, which says what `version: current` is, cannot be read ({error.strerror}): "
            "`edgeline compile PIPELINE --kubernetes -o FOLDER/ --current "
            f"{path}` writes it."
        ) from error
    except ValueError as error:
        raise UsageError(
            f"{path} does not name a version of each pipeline ({error}): delete it and compile "
            "each pipeline again with --current."
        ) from error


def write(path: Path, pipeline: str, version: str) -> None:
    """Name a pipeline's current version; the other pipelines keep theirs.

    Raises:
        UsageError: the file is there and says something else.
        EdgelineError: it cannot be written.
    """
    known = read(path) if path.exists() else {}
    text = plain_yaml.dump([{**known, pipeline: version}], comment=_COMMENT)
    write_output(path, text, option="--current")
