"""`edgeline init`: a starter project that runs as it is, and examples."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from edgeline.artifacts.bundle import NAME
from edgeline.errors import UsageError, at_path, did_you_mean
from edgeline.starter.readings import write_readings

if TYPE_CHECKING:
    from edgeline.starter.own_data import ProposedProject

PROBLEMS = (
    "pumps",
    "reviews",
    "fraud",
    "diabetes",
    "symbols",
)  # with a pipeline that runs as it is
EXAMPLES = ("wine", "pictures", "schedules", *PROBLEMS)
PICTURES = 100


def make_project(folder: Path) -> None:
    """Make a folder with a pipeline, a module, data and a README.

    The folder's name becomes that of the pipeline and of the bundles that it publishes.

    Args:
        folder: a folder that does not exist yet, in one that does or can be made.

    Raises:
        UsageError: the folder exists, or its name cannot be a pipeline's.
        EdgelineError: it cannot be written.
    """
    check_new(folder)

    def fill(made: Path) -> None:
        for template in resources.files(__name__).joinpath("project").iterdir():
            if template.is_file():
                text = Template(template.read_text("utf-8")).substitute(name=folder.name)
                (made / template.name).write_text(text, "utf-8")
        write_readings(made / "data.csv")

    _make(folder, fill)


def make_project_of(folder: Path, proposal: ProposedProject) -> None:
    """Make a folder with a pipeline and a module for data of one's own.

    Args:
        folder: as for `make_project`.
        proposal: of `edgeline.starter.own_data.propose`.

    Raises:
        UsageError: as for `make_project`.
        EdgelineError: it cannot be written.
    """
    from edgeline.starter import own_data  # reads data, which the other projects need not

    check_new(folder)
    templates = {
        each.name: each.read_text("utf-8")
        for each in resources.files(__name__).joinpath("own").iterdir()
        if each.is_file()
    }
    _make(folder, lambda made: own_data.write(made, proposal, templates))


def check_new(folder: Path) -> None:
    """Refuse a folder that cannot become a project, before any work.

    Raises:
        UsageError: it exists, or its name cannot be a pipeline's.
    """
    _refuse_existing(folder)
    _check_name(folder)


def make_example(folder: Path, name: str) -> None:
    """Make a folder with the files of an example.

    `wine` is a table and a module, `pictures` a Keras and a LiteRT model with a folder of images
    for each class, `schedules` a file of recurring runs. PROBLEMS are projects: data, `module.py`
    and `pipeline.py`.

    Args:
        folder: a folder that does not exist yet, in one that does or can be made.
        name: one of EXAMPLES.

    Raises:
        UsageError: the folder exists, or there is no such example.
        EdgelineError: it cannot be written.
    """
    if name not in EXAMPLES:
        raise UsageError(f"There is no example {name!r}. {did_you_mean(name, EXAMPLES)}")

    def fill(made: Path) -> None:
        for file in resources.files(__name__).joinpath(name).iterdir():
            if file.is_file():
                (made / file.name).write_bytes(file.read_bytes())
        if name == "pictures":
            _write_pictures(made / "pictures")
        if name in PROBLEMS:
            from edgeline.starter import problems

            if write := problems.DATA.get(name):
                write(made)

    _make(folder, fill)


def _make(folder: Path, fill: Callable[[Path], None]) -> None:
    """Fill a folder beside its place, then rename it."""
    _refuse_existing(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as beside:
            made = Path(beside) / folder.name
            made.mkdir()
            fill(made)
            made.rename(folder)
    except OSError as error:
        raise at_path(
            error, f"{folder} cannot be made ({error.strerror}): choose another place."
        ) from error


def _check_name(folder: Path) -> None:
    if not NAME.fullmatch(folder.name):
        raise UsageError(
            f"{folder.name!r} cannot name a pipeline: use at most 63 of a-z, 0-9 and -, "
            "and begin and end with a letter or digit."
        )


def _refuse_existing(folder: Path) -> None:
    if os.path.lexists(folder):
        raise UsageError(f"{folder} exists already: give a new name, or remove it first.")


def _write_pictures(folder: Path) -> None:
    """The first of the digits, one folder per class."""
    import pyarrow.parquet as pq

    digits = resources.files("edgeline.pipelines.digits").joinpath("digits.parquet")
    with digits.open("rb") as stream:
        rows = pq.read_table(stream).slice(0, PICTURES).to_pylist()
    for number, row in enumerate(rows):
        place = folder / str(row["label"]) / f"{number:03d}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(row["image"])
