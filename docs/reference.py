"""Write docs/reference: commands, pipelines, metrics, lint rules and public names, from the code.

`docs/conf.py` calls it before a build. What it writes is not committed: it is as new as the code.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from edgeline.cli.main import cli
from edgeline.cli.pipelines import listed
from edgeline.components.measured import METRICS as OF_RUNS
from edgeline.lint.lint import RULES
from edgeline.monitoring.events import EVENTS
from edgeline.pipelines import catalogue
from edgeline.server.errors import HTTP_STATUS, MEANING
from edgeline.server.metrics import METRICS
from edgeline.server.options import options
from edgeline.triggers.metrics import METRICS as OF_TRIGGERS

FOLDER = Path(__file__).parent / "reference"
PUBLIC = Path(__file__).parent / "public.md"
_ROW = re.compile(r"^\| `(edgeline[\w.]*)` \| (.+?) \|", re.MULTILINE)


def main() -> None:
    """Write every page that is not there yet or differs."""
    pages = {
        "commands.md": commands(),
        "pipelines.md": pipelines(),
        "metrics.md": metrics(),
        "events.md": events(),
        "errors.md": errors(),
        "lint-rules.md": lint_rules(),
        "python.md": python(),
    }
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages.items():
        file = FOLDER / name
        if not file.is_file() or file.read_text("utf-8") != text:
            file.write_text(text, "utf-8")


def commands() -> str:
    """Every command with its arguments and options, as `--help` says them."""
    parts = ["# Commands", "What `edgeline COMMAND --help` prints, on one page."]
    for path, command in _commands(cli, "edgeline"):
        context = click.Context(command, info_name=path, help_option_names=["-h", "--help"])
        usage = " ".join([path, *command.collect_usage_pieces(context)])
        parts += [f"## {path}", f"```text\n{usage}\n```", *_help(command)]
        rows = [found for each in command.params if (found := each.get_help_record(context))]
        if path == "edgeline serve":  # whose options another parser has
            rows += [(f"{each.flag} {each.metavar}", each.about) for each in options()]
        parts += _table(["option", "meaning"], ([f"`{name}`", text] for name, text in rows))
    return _page(parts)


def pipelines() -> str:
    """The parameters of each pipeline: type, default, meaning."""
    parts = [
        "# Parameters of the pipelines",
        "A field of an object is set by its own name or with its object: see "
        "[README](../../README.md#parameters). `edgeline pipelines NAME` prints the same.",
    ]
    for name in catalogue.names():
        about = catalogue.load(name).pipeline_spec.pipeline_info.description.strip().splitlines()[0]
        rows = (
            [f"`{each.name}`", each.type, f"`{each.default_text}`", each.description]
            for each in listed(name)
        )
        parts += [f"## {name}", about, *_table(["parameter", "type", "default", "meaning"], rows)]
    return _page(parts)


def metrics() -> str:
    """What the components of a run tell, and what a server's `/metrics` has."""
    parts = [
        "# Metrics",
        "## Of a run",
        "They stand in the table and on the page of a run, and with it in Kubeflow and MLflow. A "
        "name in capitals stands for any.",
    ]
    for component, told in OF_RUNS.items():
        named = ([f"`{name}`", about] for name, about in told.items())
        parts += [f"### {component}", *_table(["metric", "meaning"], named)]
    rows = ([f"`{name}`", kind, about] for name, (kind, about) in METRICS.items())
    of_triggers = ([f"`{name}`", kind, about] for name, (kind, about) in OF_TRIGGERS.items())
    return _page(
        [
            *parts,
            "## Of the server",
            "`GET /metrics`, in Prometheus' text format. Alerts and a dashboard of them are in "
            "[manifests](../../manifests/README.md#watched); events are in "
            "[monitoring](../watching.md).",
            *_table(["metric", "type", "meaning"], rows),
            "## Of triggers",
            "`GET /metrics` of `edgeline triggers serve`: see [triggers](../triggers.md).",
            *_table(["metric", "type", "meaning"], of_triggers),
        ]
    )


def events() -> str:
    """What a server sends to a webhook or a receiver of payloads."""
    parts = [
        "# Events of the server",
        "CloudEvents 1.0 in structured mode, as JSON; see [monitoring](../watching.md). `source` "
        "is `/HOST/models/MODEL/versions/VERSION`. [monitor](../monitor.md) makes those of drift, "
        "decay and ranges of kept payloads.",
    ]
    for each in EVENTS:
        rows = ([f"`{name}`", meaning] for name, meaning in each.data.items())
        parts += [f"## {each.type}", f"Sent with `{each.option}` when {each.when}."]
        parts += _table(["field of `data`", "meaning"], rows)
    return _page(parts)


def errors() -> str:
    """Exit codes of the commands, and the statuses with which a server refuses."""
    statuses = (
        [f"`{code.name}`", str(code.value), str(HTTP_STATUS[code]), meaning]
        for code, meaning in MEANING.items()
    )
    exits = [
        ["0", "done"],
        ["1", "the work found it: a failed check, damaged content, a server that is away"],
        ["2", "what was typed is wrong: an option, a value, a path that is missing or malformed"],
        ["130", "Ctrl-C"],
    ]
    return _page(
        [
            "# Errors",
            "A command prints one sentence on stderr, without a traceback, and its exit code says "
            "of what kind it is. `diff` commands follow diff(1): 1 says that something differs, 2 "
            "that it could not be told.",
            *_table(["exit code", "meaning"], exits),
            "## Of the server",
            "Every protocol carries the same sentence: JSON as `error`, gRPC as the status' "
            "message. HTTP has a better status of its own for a body that is too large (413), a "
            "method that a path does not take (405) and a request that does not arrive (408).",
            *_table(["gRPC", "code", "HTTP", "meaning"], statuses),
        ]
    )


def lint_rules() -> str:
    """The rules of `edgeline lint`."""
    rows = ([f"`{rule.id}`", rule.level, rule.why, rule.fix] for rule in RULES)
    return _page(
        [
            "# Rules of `edgeline lint`",
            "The annotation `edgeline.dev/lint-ignore` of an object names rules that do not apply "
            f"to it. It cannot name {', '.join(f'`{rule.id}`' for rule in RULES if rule.is_gate)}.",
            *_table(["rule", "level", "why", "what to do"], rows),
        ]
    )


def python() -> str:
    """The public modules and names, which docs/public.md lists, with their docstrings."""
    parts = ["# Python", "What is public, by [what is promised of it](../public.md)."]
    for module, names in _ROW.findall(PUBLIC.read_text("utf-8")):
        if "NAME" in module or module.endswith("faces"):  # they have pages of their own
            continue
        found = importlib.import_module(module)
        parts += [f"## {module}"]
        for name in re.findall(r"`([a-zA-Z]\w*)`", names):
            parts += [_described(f"{module}.{name}", getattr(found, name))]
    return _page(parts)


def _commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    if not isinstance(command, click.Group):
        yield path, command
        return
    for name, below in sorted(command.commands.items()):
        yield from _commands(below, f"{path} {name}")


def _help(command: click.Command) -> list[str]:
    parts = inspect.cleandoc(command.help or "").split("\n\n")
    return [
        f"```text\n{part[1:].strip()}\n```" if part.startswith("\b") else part for part in parts
    ]


def _described(name: str, value: object) -> str:
    if inspect.isclass(value):
        directive = f"autoclass:: {name}"
    elif callable(value):
        directive = f"autofunction:: {name}"
    else:
        directive = f"py:data:: {name}"
    return f"```{{eval-rst}}\n.. {directive}\n```"


def _table(header: list[str], rows: Iterable[list[str]]) -> list[str]:
    lines = [_cells(row) for row in rows]
    if not lines:
        return []
    return ["\n".join([_cells(header), _cells(["---"] * len(header)), *lines])]


def _cells(values: list[str]) -> str:
    return (
        "| " + " | ".join(re.sub(r"\s+", " ", each).replace("|", "\\|") for each in values) + " |"
    )


def _page(parts: list[str]) -> str:
    return "\n\n".join(parts) + "\n"
