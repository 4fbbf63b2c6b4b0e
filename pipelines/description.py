"""A pipeline's parameters as a table in Markdown, which Kubeflow's page of a pipeline shows."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from edgeline.pipelines.parameter import Parameter

LONGEST = 60  # characters of a default
FIELD = "· "  # before a field's name
EXAMPLE = re.compile(r"for example `[^`\n]*`")
MOST = 2000  # characters of a version's description


def text(about: str, parameters: Mapping[str, Parameter]) -> str:
    """What a pipeline does, in its first line, and what can be set, with an example of each object.

    KFP's form itself shows no description.
    """
    lines = [
        about,
        "",
        "| parameter | default | what it is |",
        "| --- | --- | --- |",
    ]
    for each in parameters.values():
        default = "required" if each.required else _code(each.default)
        if each.fields:
            default = f"for example `{_json(each.example)}`"
        lines.append(_row(f"**{each.name}**", default, each.description.split(" Fields:")[0]))
        for name, field in each.fields.items():
            lines.append(_row(f"{FIELD}{name}", _code(each.default.get(name)), field.description))
    return "\n".join(lines)


def brief(described: str) -> str:
    """A pipeline's description without the rows of fields, and without examples where it is long.

    A version's travels in its upload's address, of which proxies take 8 kB, encoded.
    """
    lines = [line for line in described.splitlines() if not line.startswith(f"| {FIELD}")]
    found = "\n".join(lines)
    if len(found) > MOST:
        found = EXAMPLE.sub("an object", found)
    return found[:MOST]


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _code(value: Any) -> str:
    shown = _json(value)
    return f"`{shown if len(shown) <= LONGEST else shown[:LONGEST] + '…'}`"
