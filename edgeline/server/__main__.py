"""`python -m edgeline.server BUNDLE_OR_REPOSITORY`: the command line without its dependencies."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from edgeline.errors import EdgelineError
from edgeline.server import threads
from edgeline.server.main import comes_later, serve
from edgeline.server.options import options
from edgeline.server.settings import ServerSettings
from edgeline.server.versions import trial
from edgeline.server.watching import logs

DEVICE, GROUP = "EDGELINE_DEVICE", "EDGELINE_GROUP"


def main(arguments: list[str] | None = None) -> int:
    """Serve; each setting is an option (`--max-body`). Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="edgeline serve",
        usage="edgeline serve [OPTIONS] PATH",
        description="Serve models over HTTP and gRPC until SIGTERM or SIGINT. "
        "Times are in seconds, sizes in bytes.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "path",
        metavar="PATH",
        help="a bundle, a folder of bundles, .tflite files, or, with --root, a signed repository",
    )
    for each in options():
        parser.add_argument(
            each.flag,
            type=each.kind,
            action=_Once,
            metavar=each.metavar,
            default=argparse.SUPPRESS,  # `ServerSettings` has them
            help=each.about.replace("%", "%%"),
        )
    given = vars(parser.parse_args(arguments))
    for name, value in given.items():
        if value == "":
            option = name.upper() if name == "path" else "--" + name.replace("_", "-")
            parser.error(f"{option} is empty: give a value")
    path = given.pop("path")
    _add_environment(given)
    try:
        settings = ServerSettings(**given)
    except EdgelineError as error:
        parser.error(str(error))
    # a signed repository may be mounted later: what is on the disk is served until then
    later = settings.root or comes_later()
    if not later and "://" not in path and not Path(path).exists():
        parser.error(f"{path} does not exist")

    def started(http: int, grpc: int | None) -> None:
        print(f"READY http={http}" + (f" grpc={grpc}" if grpc else ""), flush=True)

    try:
        logs.set_up(settings.log)
        serve(path, settings, started, trial.forked())
    except EdgelineError as error:
        print(f"Error: {error}", file=sys.stderr)
        return threads.leave(error.exit_code)
    return threads.leave(0)


def _add_environment(given: dict[str, Any]) -> None:
    """Who this device is, where a deployment says it to all that runs on it."""
    for name, variable, needed in (
        ("device", DEVICE, ("root", "webhook")),
        ("group", GROUP, ("root",)),
    ):
        if (said := os.environ.get(variable)) and any(map(given.get, needed)):
            given.setdefault(name, said)


class _Once(argparse.Action):
    """Stores a value, and refuses a second, of which argparse would take the last."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        if hasattr(namespace, self.dest):
            parser.error(f"{option_string} is given twice: leave one out")
        setattr(namespace, self.dest, values)


if __name__ == "__main__":
    sys.exit(main())
