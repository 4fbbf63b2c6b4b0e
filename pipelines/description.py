"""A pipeline's parameters as a table in Markdown, and what of it Kubeflow's pages have room for."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from edgeline.pipelines.parameter import Parameter

LONGEST = 60  # characters of a default
FIELD = "· "  # before a field's name
HEAD = "| parameter | default | what it is |"
ROW = re.compile(r"\| \*\*`(?P<name>[^`]+)`\*\* \| (?P<default>(?:\\\||[^|])*) \|")
EXAMPLE = re.compile(r"for example `(?P<example>[^`\n]*)`")
REQUIRED = "required"
MOST = 2000  # characters of a version's description
MOST_OF_EXAMPLE = 48  # about what a line of the page has room for beside a parameter's name
ALL_FIELDS = "The tab Pipeline Spec has every field with its default, below `root`."


def text(about: str, parameters: Mapping[str, Parameter]) -> str:
    """What a pipeline does, in its first line, and what can be set, with an example of each object.

    KFP's form itself shows no description.
    """
    lines = [
        about,
        "",
        HEAD,
        "| --- | --- | --- |",
    ]
    for each in parameters.values():
        default = REQUIRED if each.required else _code(each.default)
        if each.fields:
            default = f"for example `{_json(each.example)}`"
        # as code: between two underscores Markdown is slanted, and they are gone
        lines.append(_row(f"**`{each.name}`**", default, each.description.split(" Fields:")[0]))
        for name, field in each.fields.items():
            lines.append(_row(f"{FIELD}`{name}`", _code(each.default.get(name)), field.description))
    return "\n".join(lines)


def of_pipeline(described: str) -> str:
    """What a pipeline does, without the table: the list of pipelines shows it in one line."""
    return described.partition(HEAD)[0].strip()


def of_version(described: str) -> str:
    """What can be set in a version, as a list that is a few lines long.

    KFP shows it, and the pipeline's, in a box of some 60 characters a line that grows upwards and
    does not scroll: of a longer one nobody sees the beginning, or can close it. It also travels in
    the upload's address, of which proxies take 8 kB, encoded. One without the table is kept.

    Returns:
        at most `MOST` characters.
    """
    about, head, table = described.partition(HEAD)
    if not head:
        return about.strip()[:MOST]
    plain, objects = [], []
    for line in table.splitlines():
        if found := ROW.match(line):
            name = f"`{found['name']}`"
            if example := EXAMPLE.fullmatch(found["default"]):
                objects.append(f"- {name}, for example `{_short(example['example'])}`")
            else:
                plain.append(name + (" (required)" if found["default"] == REQUIRED else ""))
    lines = ["Parameters of a run:", "", *([f"- {', '.join(plain)}"] if plain else []), *objects]
    return "\n".join([*lines, "", ALL_FIELDS])[:MOST]


def _short(example: str) -> str:
    """An object's example with as many of its fields as a line has room for, at least one."""
    fields = json.loads(example.replace("\\|", "|"))
    kept: dict[str, Any] = {}
    for name, value in sorted(fields.items(), key=lambda field: len(_json(field))):
        if kept and len(_json({**kept, name: value})) > MOST_OF_EXAMPLE:
            break
        kept[name] = value
    return _json(kept)


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _code(value: Any) -> str:
    shown = _json(value)
    return f"`{shown if len(shown) <= LONGEST else shown[:LONGEST] + '…'}`"
