"""What a command has done: sentences for people, or with --json the same as one object."""

from __future__ import annotations

import contextlib
import functools
import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import click

from edgeline.cli.arguments import as_json
from edgeline.errors import harmless


class Told:
    """Says sentences as they come or, for JSON, keeps them beside the facts that they are about."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self.said: list[str] = []
        self.facts: dict[str, Any] = {}

    def __call__(self, sentence: str, **facts: Any) -> None:
        """Say something; a fact that is said again is the later one.

        Args:
            sentence: for people; "" where facts are only for programs.
            facts: JSON values by name.
        """
        self.facts |= facts
        if not sentence:
            return
        if self.as_json:
            self.said.append(sentence)
        else:
            click.echo(harmless(sentence))

    @contextlib.contextmanager
    def printed(self) -> Iterator[None]:
        """What is printed meanwhile is sentences, too, one in a line."""
        if not self.as_json:
            yield
            return
        with contextlib.redirect_stdout(io.StringIO()) as stream:
            yield
        self.said += stream.getvalue().splitlines()

    def end(self) -> None:
        """Print the object: the facts, and `said`, the sentences."""
        if self.as_json:
            click.echo(json.dumps({**self.facts, "said": self.said}, indent=1, default=str))


def telling(command: Callable[..., None]) -> Callable[..., None]:
    """A command with --json, which gets what it says by as its first argument, a `Told`."""

    @functools.wraps(command)
    def run(*arguments: Any, as_json: bool, **options: Any) -> None:
        told = Told(as_json)
        command(told, *arguments, **options)
        told.end()

    return as_json(run)
