"""YAML that every reader takes for the same values.

PyYAML writes plain what it reads back as a text. The programs in Go that read it next (kubectl,
KFP's server, Argo CD) take some of that otherwise: `y` for true, `0899`, `1e5` and `0o17` for
numbers. A column may have such a name, and a parameter such a value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date, datetime
from typing import Any, TypeVar

import msgspec
import yaml

T = TypeVar("T")

NO_TEXT = re.compile(
    r"[yYnN]"
    r"|[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
    r"|[-+]?0[bBoOxX][0-9a-fA-F]+"
)


def dump(documents: Iterable[object], sort_keys: bool = True) -> str:
    """The documents, with such texts in quotes and equal parts written out."""
    return yaml.dump_all(documents, Dumper=_Dumper, sort_keys=sort_keys, width=100)


def load(data: bytes, kind: type[T]) -> T:
    """What a person has written, as a msgspec type. A key that is there twice would lose a value.

    Raises:
        ValueError: in one line, what is wrong and where.
    """
    try:
        return msgspec.convert(yaml.load(data, _Loader), kind, builtin_types=(date, datetime))
    except (yaml.YAMLError, msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ValueError(" ".join(str(error).split())) from error


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            name = (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else None
            if name and name in seen:
                raise ValueError(f"line {key.start_mark.line + 1} has {key.value!r} again")
            seen.add(name)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002
        return True  # anchors are hard to read, and not every reader takes them


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    plain = value.replace("_", "")  # 1_000 is a number too
    style = "'" if NO_TEXT.fullmatch(plain) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)
