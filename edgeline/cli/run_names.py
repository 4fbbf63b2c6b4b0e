"""How the commands about runs are told which runs are meant."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeline.cli.run import RUNS
from edgeline.errors import UsageError

if TYPE_CHECKING:
    from edgeline.local.runs import KeptRun

host_of_runs = click.option(
    "--host", help="The KFP API's URL: runs of that server, by their identifiers."
)
namespace_of_runs = click.option(
    "--namespace", help="With --host: the profile's namespace, on a multi-user KFP."
)


@contextlib.contextmanager
def finding(
    root: str, host: str | None, namespace: str | None
) -> Iterator[Callable[[str], KeptRun]]:
    """What finds a run by its name, here or on a server; files of the latter go when it ends."""
    check_host(host, namespace)
    if host is None:
        yield lambda name: named(root, name)
        return
    from edgeline.client.there import fetched
    from edgeline.kubeflow.api import connect

    server, place = connect(host, namespace), "" if root == RUNS else root
    with tempfile.TemporaryDirectory(prefix="edgeline-runs-") as folder:
        yield lambda name: fetched(server, name, place, Path(folder))


def check_host(host: str | None, namespace: str | None) -> None:
    """Runs of this machine have no namespace: who gives one means a server's."""
    if namespace and not host:
        raise UsageError("--namespace is for --host: leave it out, or give both.")


def named(root: str, name: str) -> KeptRun:
    """The run of this machine that a name means."""
    from edgeline.local import runs

    return runs.named(Path(root), name)
