"""What runs on macOS and Windows, too, needs nothing that only Linux has.

Neither system is at hand here: NOT TESTED is what they do otherwise (paths, encodings). The
workflow `check` runs the same commands on both. Here, what Windows lacks is taken out of Python.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import edgeline
from edgeline.errors import EdgelineError

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests" / "kubeflow"))
WITHOUT = """
import os, signal, socket, sys
import asyncio, multiprocessing.util, selectors, subprocess  # which have a form for each system

class Lacking:
    NAMES = {"fcntl", "grp", "pty", "pwd", "resource", "syslog", "termios", "tty"}
    def find_spec(self, name, path=None, target=None):
        if name in self.NAMES:
            raise ModuleNotFoundError(f"No module named {name!r}, as on Windows", name=name)

for name in Lacking.NAMES:
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Lacking())
for name in ("fork", "forkpty", "getuid", "geteuid", "getgid", "getegid", "getgroups", "setsid",
             "killpg", "getpgid", "sched_getaffinity", "memfd_create", "pidfd_open", "mkfifo",
             "chown", "nice", "getpriority", "setpriority", "sysconf", "wait4", "pread",
             "O_NOFOLLOW", "O_CLOEXEC", "statvfs", "geteuid", "register_at_fork"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGKILL", "SIGALRM", "SIGPROF", "SIGCHLD", "setitimer", "pthread_sigmask"):
    if hasattr(signal, name):
        delattr(signal, name)
for name in ("AF_UNIX", "send_fds", "recv_fds", "SO_PEERCRED"):
    if hasattr(socket, name):
        delattr(socket, name)
"""
RUN = """
from edgeline.cli.main import cli
for line in COMMANDS.splitlines():
    if line.strip():
        print("$", line.strip(), flush=True)
        try:
            cli(line.split(), standalone_mode=False)
        except SystemExit as ended:
            if ended.code:
                raise
"""
COMMANDS = """
--version
pipelines taxi
components train
init rooms
init cluster --example schedules
compile taxi --env onprem --kubernetes -o compiled/ --set destination=s3://models/taxi
compile rooms/pipeline.py -o rooms.yaml
lint compiled
environments diff onprem onprem taxi
submit taxi --host HOST --env onprem --set destination=s3://models/taxi
submit taxi --host HOST --env onprem --set destination=s3://models/taxi
schedules apply schedules.yaml --host HOST
schedules diff schedules.yaml --host HOST
site render BUNDLE --for compose --images ghcr.io/acme/models -o site
site render BUNDLE --for kserve --images ghcr.io/acme/models -o kserve
"""
SCHEDULES = """
owner: elsewhere
schedules:
  - {name: nightly, pipeline: taxi, version: latest, cron: "0 0 3 * * *", experiment: Default}
"""


def run(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WITHOUT + code],
        cwd=folder,
        env={**os.environ, "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_compile_submit_lint_schedules_and_sites_need_nothing_of_linux_alone(tmp_path):
    from documented_server import DocumentedServer

    sys.path.append(str(ROOT / "tests" / "server"))
    from publishing import bundle, model

    made = bundle(tmp_path / "m", model(1))
    (tmp_path / "schedules.yaml").write_text(SCHEDULES)
    server = DocumentedServer()
    try:
        commands = COMMANDS.replace("HOST", server.address).replace("BUNDLE", str(made))
        done = run(f"COMMANDS = {commands!r}\n{RUN}", tmp_path)
    finally:
        server.shutdown()
        server.server_close()
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    assert len(server.runs) == 2 and len(server.recurring) == 1
    assert (tmp_path / "compiled" / "versions").is_dir()
    assert list((tmp_path / "site").iterdir()) and list((tmp_path / "kserve").iterdir())
    assert "0 errors" in done.stdout + done.stderr


def test_a_command_that_needs_linux_says_so(tmp_path):
    code = "import sys; sys.argv[1:] = ['serve', 'm']\nfrom edgeline.__main__ import main; main()"
    done = run(code, tmp_path)
    assert done.returncode == 1, done.stderr
    said = "Error: This needs Linux, as Python has no resource here: docs/installing.md has a table"
    assert done.stderr.strip() == said


def test_macos_which_has_these_modules_is_told_that_models_are_served_on_linux(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    with pytest.raises(EdgelineError, match=r"served on Linux \(x86-64 or arm64\), and this is Da"):
        edgeline.load(tmp_path)


@pytest.mark.parametrize("module", ["fcntl", "resource"])
def test_what_is_taken_out_is_out(module, tmp_path):
    assert "as on Windows" in run(f"import {module}", tmp_path).stderr


ABSENT = (
    *("tfx_bsl", "tensorflow_transform", "tensorflow_model_analysis"),
    *("apache_beam", "tensorflow_data_validation"),
)


@pytest.mark.long
def test_a_model_is_converted_verified_and_published_without_the_packages_that_arm64_lacks(
    tmp_path,
):
    """tfx-bsl has no wheel for Linux on arm64, and so neither has what is built on it. NOT TESTED
    here: an arm64 processor; only that nothing of these packages is asked for."""
    absent = tmp_path / "absent"
    absent.mkdir()
    for name in ABSENT:
        (absent / f"{name}.py").write_text(
            f"raise ModuleNotFoundError('No module named {name}', name={name!r})"
        )
    lines = (
        "init digits --example pictures",
        "compile-model digits/digits.keras --target litert -o made",
        "run pretrained --set source=digits/digits.keras --set data=digits/pictures --set "
        """'images={"image": [28, 28, 1]}' --set 'split_ratios={"train": 1, "eval": 1}' """
        "--set model_name=digits --set destination=models",
        "verify models/digits/1",
    )
    for line in lines:
        done = subprocess.run(
            [sys.executable, "-m", "edgeline", *shlex.split(line)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(absent), "EDGELINE_WARM_SECONDS": "0"},
            capture_output=True,
            text=True,
            timeout=500,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert list((tmp_path / "made").rglob("*.tflite"))
    with edgeline.load(tmp_path / "models" / "digits" / "1") as model:
        assert model.predict({"image": np.zeros((1, 28, 28, 1), np.uint8)})
