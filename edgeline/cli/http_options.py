"""The options that servers beside `edgeline serve` have in common, by the names of its settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

Command = Callable[..., Any]


def listening(port: int, max_body: int, tokens: str) -> Callable[[Command], Command]:
    """Where a server listens, who may call it and how large a request may be.

    Args:
        port: by default.
        max_body: by default, in bytes.
        tokens: the help of `--tokens`, as each server has scopes of its own.
    """
    return _all(
        click.option(
            "--host", default="127.0.0.1", show_default=True, help="The address to listen on."
        ),
        click.option("--port", default=port, show_default=True, help="The port; 0 for a free one."),
        click.option("--names", default="", help="Further names of this server, comma-separated."),
        click.option("--tokens", metavar="FILE", help=tokens),
        click.option("--certificate", metavar="FILE", help="A PEM file: all connections use TLS."),
        click.option(
            "--key", metavar="FILE", help="A PEM file with the certificate's private key."
        ),
        click.option(
            "--client-ca", metavar="FILE", help="A PEM file of the CA of clients' certificates."
        ),
        click.option(
            "--max-body",
            default=max_body,
            show_default=True,
            help="Maximum size of a request, in bytes.",
        ),
    )


def logging() -> Callable[[Command], Command]:
    """What a server logs, and how: `form` and `access_log`."""
    return _all(
        click.option(
            "--log",
            "form",
            default="auto",
            show_default=True,
            type=click.Choice(["auto", "json", "text"]),
            help="The form of log lines.",
        ),
        click.option(
            "--access-log", default=0, show_default=True, help="Log every n-th request; 0: none."
        ),
    )


def _all(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    def decorate(command: Command) -> Command:
        for option in reversed(options):  # help has them in this order
            command = option(command)
        return command

    return decorate
