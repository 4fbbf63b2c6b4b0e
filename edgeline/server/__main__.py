"""`python -m edgeline.server BUNDLE_OR_REPOSITORY`: the command line without its dependencies."""

from __future__ import annotations

import argparse
import sys
from dataclasses import MISSING, fields

from edgeline.errors import EdgelineError
from edgeline.server import logs
from edgeline.server.main import serve
from edgeline.server.settings import Settings


def main(arguments: list[str] | None = None) -> int:
    """Serve; each setting is an option (`--max-body`). 1 where something is to be mended."""
    parser = argparse.ArgumentParser(prog="edgeline serve", description=serve.__doc__)
    parser.add_argument("path", help="a bundle, a store of bundles, or .tflite files")
    kinds = {"int": int, "float": float, "str": str}
    for setting in fields(Settings):
        assert setting.default is not MISSING
        kind = str(setting.type).removesuffix(" | None")
        parser.add_argument(
            "--" + setting.name.replace("_", "-"), type=kinds[kind], default=setting.default
        )
    given = vars(parser.parse_args(arguments))
    path = given.pop("path")

    def started(http: int, grpc: int | None) -> None:
        print(f"READY http={http}" + (f" grpc={grpc}" if grpc else ""), flush=True)

    settings = Settings(**given)
    try:
        logs.set_up(settings.log)
        serve(path, settings, started)
    except EdgelineError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
