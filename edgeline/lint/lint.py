"""`edgeline lint`: every rule on every file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click
from rich.table import Table

from edgeline.artifacts import write_text
from edgeline.errors import at_path
from edgeline.lint import destinations, gitops, images, pipelines, security, traps, workloads
from edgeline.lint.documents import read
from edgeline.lint.rule import ERROR, Finding, findings
from edgeline.lint.sarif import sarif
from edgeline.reports import terminal

RULES = (
    *pipelines.rules,
    *traps.rules,
    *destinations.rules,
    *images.rules,
    *security.rules,
    *gitops.rules,
    *workloads.rules,
)


def lint(paths: Sequence[str | Path]) -> list[Finding]:
    """What is wrong in compiled pipelines and manifests, by file and line.

    Raises:
        EdgelineError: a path is not there, or holds nothing to lint.
    """
    tree = read(paths)
    found = [finding for rule in RULES for finding in findings(rule, tree)]
    return sorted(found, key=lambda finding: (finding.file, finding.line, finding.rule))


def lint_command(paths: Sequence[str], form: str, output: str | None) -> bool:
    """Print or write what was found; true where nothing is an error.

    Args:
        paths: files and folders.
        form: `text` (a line each), `json` or `sarif`.
        output: a file to write instead of printing.

    Raises:
        EdgelineError: as `lint`, or the output cannot be written.
    """
    found = lint(paths)
    if form == "sarif":
        text = json.dumps(sarif(found, RULES), indent=1)
    elif form == "json":
        text = json.dumps([asdict(finding) for finding in found], indent=1)
    else:
        text = "\n".join(map(str, found))
    if output:
        try:
            Path(output).parent.mkdir(parents=True, exist_ok=True)
            write_text(Path(output), text + "\n")
        except OSError as error:
            raise at_path(
                error, f"{output} cannot be written ({error.strerror}): name another file with -o."
            ) from error
    elif text:
        click.echo(text)
    errors = sum(finding.level == ERROR for finding in found)
    click.echo(f"{errors} errors, {len(found) - errors} warnings", err=True)
    return not errors


def show_rules() -> None:
    """Print the table of rules."""
    table = Table("rule", "level", "why", "mend")
    for column in table.columns:
        column.overflow = "fold"  # a rule's name is not cut
    for rule in RULES:
        table.add_row(rule.id, rule.level, rule.why, rule.mend)
    terminal.console().print(table)
