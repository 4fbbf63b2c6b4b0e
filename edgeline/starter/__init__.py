"""`edgeline init`: a starter project that runs as it is."""

from __future__ import annotations

import tempfile
from importlib import resources
from pathlib import Path
from string import Template

from edgeline.bundle import NAME
from edgeline.errors import EdgelineError
from edgeline.starter.readings import write_readings


def make_project(folder: Path) -> None:
    """Make a folder with a pipeline, a module, data and a README.

    The folder's name becomes that of the pipeline and of the bundles that it publishes.

    Args:
        folder: a folder that does not exist yet, in one that does or can be made.

    Raises:
        EdgelineError: the folder exists, cannot be written, or its name is none for a pipeline.
    """
    if not NAME.fullmatch(folder.name):
        raise EdgelineError(
            f"{folder.name!r} cannot name a pipeline: use at most 63 of a-z, 0-9 and -, "
            "and begin and end with a letter or digit."
        )
    if folder.exists() or folder.is_symlink():
        raise EdgelineError(f"{folder} exists already: give a new name, or remove it first.")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as beside:
            made = Path(beside) / folder.name
            made.mkdir()
            for template in resources.files(__name__).joinpath("project").iterdir():
                if template.is_file():
                    text = Template(template.read_text("utf-8")).substitute(name=folder.name)
                    (made / template.name).write_text(text, "utf-8")
            write_readings(made / "data.csv")
            made.rename(folder)
    except OSError as error:
        raise EdgelineError(
            f"{folder} cannot be made ({error.strerror}): choose another place."
        ) from error
