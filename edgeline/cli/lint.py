"""`edgeline lint`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from edgeline.cli.arguments import existing, new_file
from edgeline.errors import UsageError


@click.command()
@click.argument("paths", nargs=-1, callback=existing)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "sarif"]),
    default="text",
    show_default=True,
    help="The format of the findings.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("-o", "--output", callback=new_file, help="Write the findings to this file.")
@click.option("--rules", is_flag=True, help="List the rules, with their reasons and fixes.")
def lint(paths: tuple[str, ...], form: str, as_json: bool, output: str | None, rules: bool) -> None:
    """Check compiled pipelines and Kubernetes manifests, offline.

    PATHS are files and folders. The exit code is 1 if there is an error. To ignore rules for an
    object, annotate it with `edgeline.dev/lint-ignore: RULE, ...`; those that keep foreign
    versions and images out cannot be ignored.
    """
    if rules and (paths or output or form != "text"):
        raise UsageError("--rules lists the rules and checks nothing: leave out the rest.")
    if as_json and form == "sarif":
        raise UsageError("--json and --format sarif are two formats: leave one out.")
    if rules:
        show_rules(as_json)
    elif not paths:
        raise UsageError("There is nothing to lint: give a file or folder, or --rules.")
    else:
        sys.exit(0 if lint_command(paths, "json" if as_json else form, output) else 1)


def lint_command(paths: Sequence[str], form: str, output: str | None) -> bool:
    """Print or write what was found; true where nothing is an error.

    Args:
        paths: files and folders.
        form: `text` (a line each), `json` or `sarif`.
        output: a file to write instead of printing.

    Raises:
        EdgelineError: as `lint`, or the output cannot be written.
    """
    from edgeline.artifacts.folder import write_output
    from edgeline.lint.lint import RULES
    from edgeline.lint.lint import lint as work
    from edgeline.lint.rule import ERROR
    from edgeline.lint.sarif import sarif

    found = work(paths)
    if form == "sarif":
        text = json.dumps(sarif(found, RULES), indent=1)
    elif form == "json":
        text = json.dumps([asdict(finding) for finding in found], indent=1)
    else:
        text = "\n".join(map(str, found))
    if output:
        write_output(Path(output), text + "\n")
    elif text:
        click.echo(text)
    errors = sum(finding.level == ERROR for finding in found)
    click.echo(f"{errors} errors, {len(found) - errors} warnings", err=True)
    return not errors


def show_rules(as_json: bool = False) -> None:
    """Print the rules, as a table or as JSON."""
    from rich.table import Table

    from edgeline.lint.lint import RULES
    from edgeline.reports import terminal

    if as_json:
        told = [
            {"rule": rule.id, "level": rule.level, "why": rule.why, "fix": rule.fix}
            for rule in RULES
        ]
        click.echo(json.dumps(told, indent=1))
        return
    table = Table("rule", "level", "why", "fix")
    for column in table.columns:
        column.overflow = "fold"  # a rule's name is not cut
    for rule in RULES:
        table.add_row(rule.id, rule.level, rule.why, rule.fix)
    terminal.console().print(table)
