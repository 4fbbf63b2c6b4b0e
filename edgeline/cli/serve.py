"""`edgeline serve`."""

from __future__ import annotations

import sys

import click


@click.command(context_settings={"ignore_unknown_options": True}, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def serve(arguments: tuple[str, ...]) -> None:
    """Serve models over HTTP and gRPC: a bundle, a folder of bundles, or .tflite files."""
    from edgeline.server.__main__ import main as serve_main

    sys.exit(serve_main(list(arguments)))
