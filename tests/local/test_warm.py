"""Warm processes stay for the next run, and nothing of one run gets into another."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from edgeline.errors import EdgelineError, UsageError
from edgeline.local.warm import identity, places, sets
from edgeline.local.warm.running import Warm

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="warm processes are Linux' alone"),
]
NOBODY = 65534
HEAD = "import kfp\nfrom kfp import dsl\nfrom kfp.dsl import *\nfrom typing import *\n\n"
# a run in a process of its own, whose task waits
RUN = """
import json, signal, sys
from pathlib import Path
from edgeline.local.warm.running import Warm

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's job ignores it
with Warm(["light"], Path("warm.log")) as warm:
    warm.run("light", json.loads(sys.argv[1]), {}, Path("task.log"))
"""
WAITS = """
import os, pathlib, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
pathlib.Path("draft").write_text(f"{os.getpid()} {os.getppid()} {child.pid}")
os.rename("draft", "task")
try:
    time.sleep(600)
finally:
    pathlib.Path("cleaned").touch()
"""


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A runtime folder of the test alone."""
    folder = Path(tempfile.mkdtemp(prefix="edgeline-warm-test-", dir="/tmp"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    monkeypatch.delenv(sets.SECONDS, raising=False)
    monkeypatch.chdir(tmp_path)
    yield folder
    if folder.exists():
        for one in sets.kept():
            os.kill(one.process, signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)


def command(code: str) -> list[str]:
    """kfp's, of a component whose body is this code."""
    body = "".join(f"    {line}\n" for line in code.strip().splitlines())
    given = {"inputs": {}, "outputs": {"outputFile": str(Path("output.json").absolute())}}
    source = f"{HEAD}def work():\n{body}"
    given_to = ["--executor_input", json.dumps(given), "--function_to_execute", "work"]
    return ["sh", "-c", "", source, *given_to]


def run(code: str, env: dict[str, str] | None = None, warm: Warm | None = None) -> str:
    """Run a task of a run of its own, or of one that goes on; what it printed between the marks."""
    log = Path(f"task-{time.monotonic_ns()}.log").absolute()
    with contextlib.ExitStack() as stack:
        warm = warm or stack.enter_context(Warm(["light"], Path("warm.log")))
        ended = warm.run("light", command(f"print('<<')\n{code}\nprint('>>')"), env or {}, log)
    text = log.read_text()
    assert ended.code == 0, text
    return text.split("<<\n")[1].split(">>\n")[0].strip()


def the_set() -> sets.KeptSet:
    [one] = sets.kept()
    return one


def wait_for(what: Callable[[], Any], seconds: float = 60.0) -> Any:
    until = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < until, "it never happened"
        time.sleep(0.02)
    return found


def is_gone(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def start_run() -> tuple[subprocess.Popen[bytes], list[int]]:
    """A run in a process of its own; the numbers of its task, of who watches that, of its child."""
    Path("task").unlink(missing_ok=True)
    process = subprocess.Popen([sys.executable, "-c", RUN, json.dumps(command(WAITS))])
    wait_for(lambda: Path("task").exists() or process.poll() is not None)
    assert process.poll() is None
    return process, [int(number) for number in Path("task").read_text().split()]


def test_the_next_run_takes_them_and_they_are_the_users_alone(runtime: Path) -> None:
    assert run("print('here')") == "here"
    first = the_set()
    assert run("print('again')") == "again"
    assert the_set().process == first.process and the_set().runs == 0
    assert 590 < (the_set().ends_in or 0) <= 600
    assert 20e6 < first.memory < 500e6
    folder = runtime / "edgeline-warm"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert Path.cwd() not in [Path(f"/proc/{each}/cwd").resolve() for each in first.processes]


def test_a_task_has_what_its_own_run_has(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tells = """
import json, os, sys, tempfile
told = {name: os.environ.get(name) for name in ("EDGELINE_WORD", "HUB_TOKEN", "OWN", "TERM")}
told |= {"folder": os.getcwd(), "umask": oct(os.umask(0)), "temporary": tempfile.gettempdir()}
told |= {"path": sys.path[1], "open": len(os.listdir("/proc/self/fd"))}
print(json.dumps(told))
"""
    monkeypatch.setenv("EDGELINE_WORD", "first")
    monkeypatch.setenv("HUB_TOKEN", "tell nobody")
    monkeypatch.setenv("TERM", "vt100")
    first = json.loads(run(tells, {"OWN": "yes"}))
    assert first["HUB_TOKEN"] == "tell nobody" and first["OWN"] == "yes"
    process = the_set().process
    for each in the_set().processes:  # which wait: no secret stays with them
        assert b"tell nobody" not in Path(f"/proc/{each}/environ").read_bytes()
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.chdir(other)
    monkeypatch.setenv("EDGELINE_WORD", "second")
    monkeypatch.delenv("HUB_TOKEN")
    before = os.umask(0o027)
    try:
        second = json.loads(run(tells))
    finally:
        os.umask(before)
    assert the_set().process == process
    assert second["EDGELINE_WORD"] == "second" and second["HUB_TOKEN"] is None
    assert second["OWN"] is None and second["TERM"] == "vt100"
    assert second["folder"] == second["path"] == str(other) and second["umask"] == "0o27"
    assert first["temporary"] != second["temporary"] and not Path(second["temporary"]).exists()
    assert second["open"] == 4  # standard input, output, error, and that of the look itself


def test_what_no_task_can_be_given_makes_another_set(monkeypatch: pytest.MonkeyPatch) -> None:
    first = identity.identity()
    monkeypatch.setenv("TF_OF_THE_TESTS", "1")
    assert identity.identity().inherited != first.inherited
    monkeypatch.delenv("TF_OF_THE_TESTS")
    assert identity.identity() == first
    # a notebook's process
    for name in ("JPY_PARENT_PID", "PYDEVD_USE_FRAME_EVAL", "CLICOLOR", "GIT_PAGER", "TERM"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    assert identity.identity() == first
    assert "MPLBACKEND" not in identity.for_task(os.environ)
    shows = "from edgeline.local.warm import identity; print(identity.identity().name)"
    limited = f"ulimit -n 400; exec {sys.executable} -c '{shows}'"
    same = [sys.executable, "-c", shows]
    names = [
        subprocess.run(each, capture_output=True, text=True, check=True).stdout.strip()
        for each in (same, ["sh", "-c", limited])
    ]
    assert names[0] != names[1]


def test_numbers_by_chance_differ_and_users_code_is_that_of_now() -> None:
    draws = "import numpy, random\nprint(numpy.random.random(), random.random())"
    first, second = (run(draws).split() for _ in range(2))
    assert first[0] != second[0] and first[1] != second[1]
    Path("helper_of_warm.py").write_text("WORD = 'old'\n")
    tells = "import helper_of_warm\nprint(helper_of_warm.WORD)"
    assert run(tells) == "old"
    Path("helper_of_warm.py").write_text("WORD = 'newer'\n")
    assert run(tells) == "newer"
    assert len(sets.kept()) == 1


def test_how_a_task_ended_is_told() -> None:
    log = Path("task.log")
    with Warm(["light"], Path("warm.log")) as warm:
        assert warm.run("light", command("raise SystemExit(3)"), {}, log).code == 3
        assert warm.run("light", command("import os\nos.kill(os.getpid(), 9)"), {}, log).code == -9
        spins = "import time\nwhile time.process_time() < 0.3: pass\nx = bytearray(200_000_000)"
        ended = warm.run("light", command(spins), {}, log)
    assert ended.code == 0 and ended.peak_memory > 200e6 and ended.cpu_seconds > 0.2


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_task_ends_with_its_run(how: signal.Signals) -> None:
    process, numbers = start_run()
    waiting = the_set()
    assert waiting.runs == 1 and waiting.ends_in is None
    process.send_signal(how)
    process.wait(60)
    for number in numbers:
        wait_for(lambda number=number: is_gone(number))
    assert Path("cleaned").exists()  # it was asked first
    wait_for(lambda: the_set().runs == 0)
    assert run("print('goes on')") == "goes on"
    assert the_set().process == waiting.process


@pytest.mark.parametrize("which", [0, 1])
def test_a_killed_warm_process_ends_no_run(which: int) -> None:
    """The one that runs talk to, and the one that tasks are forked from."""
    waits = """
import pathlib, time
pathlib.Path("runs").touch()
while not pathlib.Path("go").exists():
    time.sleep(0.02)
"""
    with Warm(["light"], Path("warm.log")) as warm:
        assert run("print('before')", warm=warm) == "before"
        told: list[str] = []
        beside = threading.Thread(target=lambda: told.append(run(f"{waits}\nprint('ends')")))
        beside.start()
        wait_for(lambda: Path("runs").exists())
        killed = the_set()
        os.kill(killed.processes[which], signal.SIGKILL)
        wait_for(lambda: is_gone(killed.processes[which]))
        assert run("print('after')", warm=warm) == "after"
        Path("go").touch()
        beside.join(60)
        assert told == ["ends"]
        assert the_set().process != killed.process
    for each in killed.processes:
        wait_for(lambda each=each: is_gone(each))


def test_a_task_does_not_outlive_who_watches_it() -> None:
    process, (task, watcher, child) = start_run()
    os.kill(watcher, signal.SIGKILL)
    wait_for(lambda: is_gone(task))
    os.kill(child, signal.SIGKILL)
    assert process.wait(60) == 0  # the script does not look; a run says that its task was killed


def test_what_a_killed_set_leaves_is_no_hindrance() -> None:
    run("pass")
    killed = the_set()
    os.kill(killed.process, signal.SIGKILL)
    for each in killed.processes:
        wait_for(lambda each=each: is_gone(each))
    assert sets.kept() == []
    assert run("print('new')") == "new"
    assert the_set().process != killed.process


def test_runs_that_start_at_once_share_one() -> None:
    ready, told = threading.Barrier(4), []

    def work() -> None:
        ready.wait()
        told.append(run("print('runs')"))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
    assert told == ["runs"] * 4
    the_set()


def test_a_changed_file_that_is_imported_makes_them_anew(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "sitecustomize.py"  # imported by each Python, as edgeline's own modules are
    file.write_text("WORD = 'old'\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    tells = "import sitecustomize\nprint(sitecustomize.WORD)"
    assert run(tells) == "old"
    first = the_set()
    assert run(tells) == "old"
    assert the_set().process == first.process
    file.write_text("WORD = 'newer'\n")
    assert run(tells) == "newer"
    assert the_set().process != first.process
    wait_for(lambda: is_gone(first.process))


def test_a_changed_package_makes_them_anew_and_ends_the_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "own").mkdir()
    monkeypatch.setenv("PYTHONPATH", "own:")  # of this folder
    (tmp_path / "own" / "beside_us.py").write_text("")
    assert run("import beside_us\nprint(beside_us.__file__)") == f"{tmp_path}/own/beside_us.py"
    first = the_set()
    (tmp_path / "own" / "added-1.0.dist-info").mkdir()
    run("pass")
    assert the_set().process != first.process
    wait_for(lambda: is_gone(first.process))


def test_there_are_never_more_than_two(monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        monkeypatch.setenv("TF_SOMETHING", str(number))
        run("pass")
    assert len(sets.kept()) == 2
    with contextlib.ExitStack() as stack:
        for number in (1, 2):
            monkeypatch.setenv("TF_SOMETHING", str(number))
            stack.enter_context(Warm(["light"], Path("warm.log")))
        monkeypatch.setenv("TF_SOMETHING", "3")
        assert run("print('for itself')") == "for itself"  # both are used: it is not kept
        assert len(sets.kept()) == 2


def test_idle_ones_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(sets.SECONDS, "0.3")
    run("pass")
    ended = wait_for(lambda: not sets.kept())
    assert ended
    place = places.folder()
    assert place and {each.name for each in place.iterdir()} <= {"lock"}


def test_none_are_kept_where_nobody_wants_them(
    monkeypatch: pytest.MonkeyPatch, runtime: Path
) -> None:
    monkeypatch.setenv(sets.SECONDS, "0")
    tells = "import os\nprint(os.getppid())"
    watcher = int(run(tells))
    assert sets.kept() == [] and not list(runtime.glob("*/*.socket"))
    wait_for(lambda: is_gone(watcher))
    for wrong in ("soon", "-1", "nan", "inf"):
        monkeypatch.setenv(sets.SECONDS, wrong)
        with pytest.raises(UsageError, match=f"{sets.SECONDS} is '{wrong}'.*600.*0"):
            Warm(["light"], Path("warm.log")).__enter__()


def test_no_folder_for_sockets_is_no_hindrance(
    monkeypatch: pytest.MonkeyPatch, runtime: Path
) -> None:
    """A system that may not be written to, or a folder that others could enter."""
    monkeypatch.setattr(places, "folder", lambda: None)
    assert run("print('runs')") == "runs"
    monkeypatch.undo()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    (runtime / "edgeline-warm").mkdir(mode=0o777)
    (runtime / "edgeline-warm").chmod(0o777)
    found = places.folder()
    assert found is None or found.parent != runtime
    shutil.rmtree(runtime / "edgeline-warm")
    (runtime / "edgeline-warm").symlink_to("/tmp")
    found = places.folder()
    assert found is None or found.parent != runtime


def test_the_command_shows_and_stops_them() -> None:
    from edgeline.cli.main import cli

    def edgeline(*words: str) -> str:
        result = CliRunner(env={"COLUMNS": "250"}).invoke(cli, ["warm", *words])
        assert result.exit_code == 0, result.output
        return " ".join(result.output.split())

    assert edgeline() == "No warm processes wait: `edgeline run` starts some."
    assert edgeline("stop") == "No warm processes wait."
    with Warm(["light"], Path("warm.log")) as warm:
        assert run("print('runs')", warm=warm) == "runs"
        one = the_set()
        assert f"{one.process} {one.edgeline} light 1 run" in edgeline("status")
        said = f"Process {one.process} is used by 1 run: it ends with it."
        assert edgeline("stop") == said
        assert run("print('goes on')", warm=warm) == "goes on"
    for each in one.processes:
        wait_for(lambda each=each: is_gone(each))
    run("pass")
    [told] = json.loads(edgeline("status", "--json"))
    assert told["process"] == the_set().process and told["stages"] == {"light": True}
    assert edgeline("stop").startswith(f"Stopped process {told['process']} (")
    wait_for(lambda: is_gone(told["process"]))


def test_one_that_was_stopped_in_the_middle_is_no_hindrance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sets, "PATIENCE", 0.3)
    run("pass")
    one = the_set()
    os.kill(one.process, signal.SIGSTOP)
    assert run("print('runs')") == "runs"
    sets.stop()
    wait_for(lambda: is_gone(one.process))
    assert run("print('again')") == "again"


def test_what_cannot_be_imported_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "jinja2.py").write_text("raise ImportError('not today')\n")
    with (
        Warm(["light"], Path("warm.log")) as warm,
        pytest.raises(EdgelineError, match=r"ImportError: not today.*install"),
    ):
        warm.run("light", command("pass"), {}, Path("task.log"))
    (tmp_path / "jinja2.py").unlink()
    assert run("print('repaired')") == "repaired"


def test_what_imports_leave_goes_with_the_set(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As matplotlib does where the home folder may not be written to."""
    (tmp_path / "jinja2.py").write_text("import tempfile\nMADE = tempfile.mkdtemp()\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    made = run("import jinja2, os\nprint(jinja2.MADE if os.path.isdir(jinja2.MADE) else '')")
    assert made
    sets.stop()
    assert not Path(made).exists()


def test_what_is_no_message_ends_only_who_said_it() -> None:
    run("pass")
    place, one = places.folder(), the_set()
    assert place
    for said in (b"\0", b"[]", b'{"kind": "task"}', b'{"kind": "run"}', b'{"kind": "run", "seconds": "x", "stages": 3}'):  # fmt: skip # noqa: E501
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
            connection.connect(str(place / f"{one.name}.socket"))
            connection.send(said)
    assert run("print('goes on')") == "goes on"
    assert the_set().process == one.process


def test_another_user_gets_nothing(runtime: Path) -> None:
    """Even where the folder and the socket are open to all."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    run("pass")
    place, one = places.folder(), the_set()
    assert place and place.parent == runtime
    file = place / f"{one.name}.socket"
    asks = """
import os, socket, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
try:
    connection.connect(sys.argv[1])
    connection.send(b'{"kind": "status"}')
    print(connection.recv(100))
except OSError as error:
    print(type(error).__name__)
"""

    def ask() -> str:
        command = [sys.executable, "-S", "-c", asks, str(file)]
        return subprocess.run(command, capture_output=True, text=True, cwd="/").stdout.strip()

    assert ask() == "PermissionError"
    for each in (runtime, place):
        each.chmod(0o755)
    file.chmod(0o777)
    assert ask() in ("b''", "ConnectionResetError", "BrokenPipeError")
    for each in (runtime, place):
        each.chmod(0o700)
    assert the_set().process == one.process
    # a folder and a socket of another's are not gone to
    shutil.rmtree(place)
    os.kill(one.process, signal.SIGKILL)
    place.mkdir(mode=0o700)
    os.chown(place, NOBODY, NOBODY)
    found = places.folder()
    assert found is None or found.parent != runtime
