"""The server's own processes run no file of the folder that it was started in."""

from __future__ import annotations

import subprocess

from edgeline.server import fresh_python


def test_files_of_the_working_folder_are_not_run(tmp_path):
    for name in ("runpy", "contextlib", "platform", "sitecustomize"):
        (tmp_path / f"{name}.py").write_text("print('mine')\n")
    done = subprocess.run(
        fresh_python.command("platform", "--terse"),
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "mine" not in done.stdout
    assert done.stdout.strip()  # what the standard library's module writes
