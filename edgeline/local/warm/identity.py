"""Which runs may share warm processes: those that would have started the same ones.

A task gets its run's environment variables, working folder and umask when it is forked. What it
cannot be given any more decides here: what the imports saw, and what a process has from the one
that started it and cannot change: users and rights, limits, namespaces, processors.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import resource
import site
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeline.kubeflow import sdk
from edgeline.local.redaction import is_secret
from edgeline.local.warm.files import seen

ROOT = Path(__file__).resolve().parents[3]  # the folder that holds the package edgeline
# variables that are a task's alone: no import sees them, so runs that differ in them share. They
# are those of a terminal, a shell, a session, a notebook's process, a test, a job
OF_A_TASK = re.compile(
    r"_|PWD|OLDPWD|SHLVL|TMPDIR|TMP|TEMP|TERM|TERM_.*|COLORTERM|COLUMNS|LINES|LS_COLORS|LESS.*"
    r"|CLICOLOR.*|FORCE_COLOR|NO_COLOR|PAGER|GIT_.*|EDITOR|VISUAL|HIST.*|PS[0-9]|PROMPT_.*|MAIL"
    r"|SSH_.*|TMUX.*|STY|WINDOW|WINDOWID|VTE_VERSION|KONSOLE_.*|GNOME_.*|VSCODE_.*|ITERM_.*"
    r"|XDG_SESSION_.*|XDG_SEAT.*|XDG_VTNR|XDG_RUNTIME_DIR|DISPLAY|WAYLAND_DISPLAY|XAUTHORITY"
    r"|DBUS_.*|DESKTOP_.*|SESSION_MANAGER|INVOCATION_ID|JOURNAL_STREAM|SYSTEMD_.*|MANAGERPID"
    r"|JPY_.*|JUPYTER_.*|IPYTHON.*|PYDEVD_.*|PYTEST_.*|COV_CORE_.*|MAKEFLAGS|MAKELEVEL|MFLAGS"
    r"|MAKE_TERM.*|EDGELINE_.*|MLFLOW_.*|CI|CI_.*|GITHUB_.*|RUNNER_.*|(?i:.*_proxy)"
)
# a notebook's own plotting, which no process beside it can do
OF_NOTEBOOKS = re.compile(r"module://(matplotlib_inline|ipykernel).*")
PATH = "PYTHONPATH"
DEFAULTS = {
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "TF_ENABLE_ONEDNN_OPTS": "0",
}
STATUS = ("Uid", "Gid", "Groups", "NoNewPrivs", "Seccomp", "CapInh", "CapPrm", "CapEff", "CapBnd")
NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")
CGROUP_LIMITS = (
    *("memory.max", "memory.high", "memory.swap.max", "cpu.max", "pids.max"),
    *("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "cpu.cfs_quota_us"),  # version 1
)
UNLIMITED = re.compile(r"max|-1|9223372036854\d{6}")
CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Identity:
    """What warm processes were started with, as digests.

    Attributes:
        environment: which Python, and which edgeline.
        code: the packages that it has, and what of edgeline's talks to them.
        inherited: variables that imports may see, rights, limits, namespaces.
    """

    environment: str
    code: str
    inherited: str

    @property
    def name(self) -> str:
        """What their files are called."""
        return _digest([self.environment, self.code, self.inherited])


def identity() -> Identity:
    """That of warm processes which this process would start now."""
    return Identity(
        _digest([sys.executable, sys.prefix, str(ROOT)]),
        _digest([sys.version, seen(sys.executable), *_installed(), *_own()]),
        _digest([sorted(of_imports(os.environ).items()), *_inherited()]),
    )


def for_task(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that a task of a run with these gets, without those of the run's tasks."""
    kept = {**DEFAULTS, **environment, sdk.SWITCH: "true"}  # 40 MB less of kfp in each task
    if OF_NOTEBOOKS.fullmatch(kept.get("MPLBACKEND", "")):
        del kept["MPLBACKEND"]
    return kept


def of_imports(environment: Mapping[str, str]) -> dict[str, str]:
    """Of a run's variables those that the imports may see; a secret is none of them."""
    kept = {
        name: value
        for name, value in for_task(environment).items()
        if not OF_A_TASK.fullmatch(name) and not is_secret(name)
    }
    if PATH in kept:  # the imports have another working folder than the run
        kept[PATH] = os.pathsep.join(
            map(os.path.abspath, filter(None, kept[PATH].split(os.pathsep)))
        )
    return kept


def _installed() -> Iterator[list[Any]]:
    """The installed distributions and the files that add to the path, with the times at which they
    were written: the same version may be another one."""
    given = of_imports(os.environ).get(PATH, "").split(os.pathsep)
    # not sys.path, to which a script, a test or a notebook has added folders of its own
    for folder in filter(None, (*given, *site.getsitepackages(), site.getusersitepackages())):
        try:
            entries = sorted(os.scandir(folder), key=lambda each: each.name)
        except OSError:
            continue
        for entry in entries:
            if entry.name.endswith((".dist-info", ".egg-info", ".egg-link", ".pth")):
                yield [entry.path, seen(entry.path)]


def _own() -> Iterator[list[Any]]:
    """The files that run and warm processes have in common; the others that they import they look
    at themselves."""
    for file in sorted(Path(__file__).parent.glob("*.py")):
        yield [file.name, seen(str(file))]


def _inherited() -> Iterator[Any]:
    status = _lines("/proc/self/status")
    yield [line for line in status if line.partition(":")[0] in STATUS]
    yield [_link(f"/proc/self/ns/{name}") for name in NAMESPACES]
    root = Path("/").stat()
    yield [root.st_dev, root.st_ino]
    yield _lines("/proc/self/attr/current")  # AppArmor, SELinux
    yield _lines("/proc/self/oom_score_adj")
    limits = sorted(name for name in dir(resource) if name.startswith("RLIMIT_"))
    yield [[name, *resource.getrlimit(getattr(resource, name))] for name in limits]
    yield sorted(os.sched_getaffinity(0))
    yield [os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(0)]
    yield list(_cgroups())


def _cgroups() -> Iterator[Any]:
    """The control groups that limit this process; one that only counts is left out, since each
    terminal may be in one of its own."""
    for line in _lines("/proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        root = CGROUPS / controllers  # of version 2 "", the only one
        place = root / path.lstrip("/")
        for folder in (place, *place.parents):
            if not folder.is_relative_to(root):
                break
            limits = [_lines(str(folder / name)) for name in CGROUP_LIMITS]
            if any(limit and not UNLIMITED.match(limit[0]) for limit in limits):
                yield [str(folder), limits]


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def _link(path: str) -> str:
    try:
        return str(Path(path).readlink())
    except OSError:
        return ""


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]
