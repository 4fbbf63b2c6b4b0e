"""Nothing that a user meets by its name is without a description."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from edgeline.cli.main import PLACES, cli
from edgeline.cli.pipelines import listed
from edgeline.components import catalogue as components
from edgeline.components import measured
from edgeline.components.compile.target import TABLE, find
from edgeline.components.described import described
from edgeline.lint.lint import RULES
from edgeline.monitoring.events import EVENTS
from edgeline.pipelines import catalogue as pipelines
from edgeline.server.errors import HTTP_STATUS, MEANING, Code
from edgeline.server.metrics import METRICS
from edgeline.server.options import options


@pytest.mark.parametrize("name", components.names())
def test_everything_that_a_component_takes_and_gives_is_described(name: str) -> None:
    found = described(name)
    ports = [*found.inputs, *found.parameters, *found.outputs]
    assert ports and found.summary.strip()
    assert [port.name for port in ports if not port.description.strip()] == []


def test_every_component_is_in_readme_s_table() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    wanted = {each: f"| [{each}](components/{each}/README.md) |" for each in components.names()}
    assert [each for each, line in wanted.items() if line not in readme] == []


def test_every_command_is_in_readme_s_table() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    table = readme[readme.index("## The command line") :].partition("\n## ")[0]
    wanted = {name: (f"`edgeline {name} ", f"`edgeline {name}`") for name in PLACES}
    assert [name for name, forms in wanted.items() if not any(x in table for x in forms)] == []


@pytest.mark.parametrize("name", pipelines.names())
def test_every_parameter_of_a_pipeline_is_described(name: str) -> None:
    parameters = listed(name)
    assert parameters
    assert [each.name for each in parameters if not each.description.strip()] == []


@pytest.mark.parametrize("name", components.names())
def test_a_component_with_metrics_says_what_they_mean(name: str) -> None:
    found = described(name)
    assert bool(found.metrics) == any(port.type == "Metrics" for port in found.outputs)
    assert all(about.strip() for about in found.metrics.values())


def test_the_numbers_of_a_run_have_a_meaning_by_their_names() -> None:
    """Names that components tell, as their code has them."""
    assert measured.meaning("verify", "edge_auc").startswith("A metric of the edge model")
    assert measured.meaning("train", "val_auc").endswith("On eval_split.")
    assert measured.meaning("train", "val_hinge") == "The same on eval_split."
    assert not measured.meaning("verify", "edge") and not measured.meaning("ingest", "rows")
    facts = {name for target in TABLE for name in find(target.name).facts}
    assert facts and [name for name in facts if not measured.meaning("compile", name)] == []


def test_every_argument_of_a_command_stands_in_its_help() -> None:
    """Options have a help of their own, an argument has the command's alone."""
    nameless = [
        f"{path} {shown}"
        for path, command in leaves(cli, "edgeline")
        for each in command.params
        if isinstance(each, click.Argument)
        for shown in [(each.metavar or each.name or "").upper().strip("[]. ").split(" ")[0]]
        if shown not in (command.help or "")
    ]
    assert nameless == []


def leaves(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    if not isinstance(command, click.Group):
        yield path, command
        return
    for name, below in command.commands.items():
        yield from leaves(below, f"{path} {name}")


def test_all_that_a_server_tells_is_described() -> None:
    assert [name for name, (_, about) in METRICS.items() if not about.strip()] == []
    fields = {(event.type, name): told for event in EVENTS for name, told in event.data.items()}
    assert [name for name, told in fields.items() if not told.strip()] == []
    assert [event.type for event in EVENTS if not (event.when.strip() and event.data)] == []
    assert MEANING.keys() | {Code.OK} == set(Code) == HTTP_STATUS.keys()
    assert all(told.strip() for told in MEANING.values())


def test_every_option_of_the_server_stands_in_the_reference() -> None:
    """Which another parser than the other commands' has."""
    place = Path(__file__).parents[1] / "docs" / "reference.py"
    spec = importlib.util.spec_from_file_location("reference_pages", place)
    assert spec and spec.loader
    pages = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pages)
    page = pages.commands().partition("## edgeline serve\n")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| `(--[\w-]+) \w+` \| (.+) \|$", page, re.MULTILINE))
    assert list(rows) == [each.flag for each in options()] and "--max-body" in rows
    assert [
        flag for flag, about in rows.items() if not about.partition("(default")[0].strip()
    ] == []


def test_every_lint_rule_says_why_and_what_to_do() -> None:
    assert [rule.id for rule in RULES if not (rule.why.strip() and rule.fix.strip())] == []
