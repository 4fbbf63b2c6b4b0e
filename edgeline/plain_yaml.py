"""YAML that every reader takes for the same values.

PyYAML writes plain what it reads back as a text. The programs in Go that read it next (kubectl,
KFP's server, Argo CD) take some of that otherwise: `y` for true, `0899`, `1e5` and `0o17` for
numbers. A column may have such a name, and a parameter such a value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import yaml

NO_TEXT = re.compile(
    r"[yYnN]"
    r"|[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
    r"|[-+]?0[bBoOxX][0-9a-fA-F]+"
)


def dump(documents: Iterable[object], sort_keys: bool = True) -> str:
    """The documents, with such texts in quotes and equal parts written out."""
    return yaml.dump_all(documents, Dumper=_Dumper, sort_keys=sort_keys, width=100)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002
        return True  # anchors are hard to read, and not every reader takes them


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    plain = value.replace("_", "")  # 1_000 is a number too
    style = "'" if NO_TEXT.fullmatch(plain) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)
