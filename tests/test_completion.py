"""What a real bash offers after Tab. docs/start.md says how it is switched on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# bash asks a function; compopt is one of bash's own, which works only while it completes
ASK = """
source <(_EDGELINE_COMPLETE=bash_source edgeline) || exit 1
compopt() { echo "compopt $2"; }
for line in "$@"; do
    IFS=' ' read -ra COMP_WORDS <<< "$line"
    [[ "$line" == *' ' ]] && COMP_WORDS+=("")
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMPREPLY=()
    _edgeline_completion edgeline
    echo "$line: ${COMPREPLY[*]}"
done
"""


def completed(folder: Path, *lines: str) -> list[str]:
    """What stands after `line: ` for each line; `compopt default` for files."""
    bash = shutil.which("bash")
    if not bash:
        pytest.skip("bash is not installed")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [bash, "-c", ASK, "bash", *lines],
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return [line.split(": ", 1)[-1] for line in done.stdout.splitlines()]


def test_commands_options_and_names_are_offered(tmp_path: Path) -> None:
    found = completed(
        tmp_path,
        "edgeline comp",
        "edgeline run --res",
        "edgeline run t",
        "edgeline components tr",
        "edgeline compile-model --target ethos",
        "edgeline check --target m",
        "edgeline serve --drift-r",
        "edgeline runs show ",  # there are none
    )
    assert found == [
        "compile compile-model components",
        "--resume",
        "tabular taxi tuned",
        "train train_candidate transform",
        "ethos-u55 ethos-u65 ethos-u85",
        "mobile-gpu",
        "--drift-rate --drift-rows",
        "",
    ]


def test_files_are_left_to_the_shell(tmp_path: Path) -> None:
    found = completed(tmp_path, "edgeline check m", "edgeline run ./p", "edgeline serve ")
    assert found.count("compopt default") == 3
