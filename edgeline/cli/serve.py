"""`edgeline serve`."""

from __future__ import annotations

import sys

import click
from click.shell_completion import CompletionItem


class _Serve(click.Command):
    """Its options are of the server's own parser, which its image has without click."""

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002
        incomplete: str,
    ) -> list[CompletionItem]:
        from edgeline.server.options import options

        return [
            CompletionItem(each.flag, help=each.about)
            for each in options()
            if each.flag.startswith(incomplete)
        ]


@click.command(cls=_Serve, context_settings={"ignore_unknown_options": True}, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="PATH")
def serve(arguments: tuple[str, ...]) -> None:
    """Serve models over HTTP and gRPC: a bundle, a folder of bundles, or .tflite files.

    PATH has them; with --root it is a signed repository. Times are in seconds, sizes in bytes.
    """
    from edgeline.server.__main__ import main as serve_main

    sys.exit(serve_main(list(arguments)))
