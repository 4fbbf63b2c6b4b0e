"""YAML for all of edgeline: read by libyaml, written so that every reader takes it for the same.

libyaml makes nodes of a text by recursion, and ends the process where a text is nested a hundred
thousand times; aliases of aliases, written out, fill any memory. `_check` refuses both before.

PyYAML alone takes a second for a pipeline that libyaml, which its wheels bring, reads in a
twentieth. It writes plain what it reads back as a text. The programs in Go that read it next
(kubectl, KFP's server, Argo CD) take some of that otherwise: `y` for true, `0899`, `1e5` and
`0o17` for numbers. A column may have such a name, and a parameter such a value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import date, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import yaml
from yaml.nodes import MappingNode as MappingNode
from yaml.nodes import Node as Node
from yaml.nodes import ScalarNode as ScalarNode
from yaml.nodes import SequenceNode as SequenceNode

T = TypeVar("T")
DEEPEST = 100  # levels; as many as protobuf takes of a message, and a pipeline is one
MOST_VALUES = 2_000_000  # of a document with its aliases written out

NO_TEXT = re.compile(
    r"[yYnN]"
    r"|[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
    r"|[-+]?0[bBoOxX][0-9a-fA-F]+"
)

if TYPE_CHECKING:
    from yaml import SafeDumper as _SafeDumper
    from yaml import SafeLoader as _SafeLoader
else:  # a PyYAML built without libyaml has only its own
    _SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    _SafeDumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class YamlError(ValueError):
    """What is wrong, in one line.

    Attributes:
        reason: the same without where it is.
        line: from 1; 1 where the parser does not say.
    """

    def __init__(self, error: Exception) -> None:
        # a text has no name, but for the parser's
        super().__init__(" ".join(re.sub(r'in "<\w+ string>", ', "at ", str(error)).split()))
        mark = getattr(error, "problem_mark", None)
        self.line = mark.line + 1 if mark else 1
        said = getattr(error, "problem", None) or getattr(error, "context", None)
        self.reason = str(said) if said else (str(error).splitlines() or [""])[0]


def read(text: str | bytes) -> list[Any]:
    """The documents of a YAML file.

    Raises:
        YamlError: it is none.
    """
    with _refusing():
        _check(text)
        return list(yaml.load_all(text, _SafeLoader))


def read_one(text: str | bytes) -> Any:
    """The document of a YAML file that may have no more than one; None where there is none.

    Raises:
        YamlError: it is none, or has several documents.
    """
    with _refusing():
        _check(text)
        return yaml.load(text, _SafeLoader)


def load(data: bytes, kind: type[T]) -> T:
    """What a person has written, as a msgspec type. A key that is there twice would lose a value.

    Raises:
        YamlError: it is none, has a key twice or is no such type.
    """
    import msgspec

    with _refusing():
        _check(data)
        return msgspec.convert(yaml.load(data, _Strict), kind, builtin_types=(date, datetime))


def nodes(text: str) -> Iterator[tuple[Node, Callable[[], object]]]:
    """Each document as nodes that know their lines, and what makes values of them.

    Raises:
        YamlError: it is none.
    """
    with _refusing():
        _check(text)
        loader = _SafeLoader(text)
    try:
        while True:
            with _refusing():
                node = loader.get_node() if loader.check_node() else None
            if node is None:
                return
            yield node, partial(_values, loader, node)
    finally:
        loader.dispose()


def repeated_keys(node: MappingNode) -> Iterator[ScalarNode]:
    """The keys of a mapping that it has already, of which only one value is kept."""
    seen: set[tuple[str, str]] = set()
    for key, _ in node.value:
        if isinstance(key, ScalarNode):
            if (key.tag, key.value) in seen:
                yield key
            seen.add((key.tag, key.value))


def line_node(file: str, line: int) -> Node:
    """A node that stands for a line, from 1, of a file that is not YAML."""
    mark = yaml.Mark(file, 0, line - 1, 0, None, 0)
    return ScalarNode("", "", mark, mark)


def dump(documents: Iterable[object], sort_keys: bool = True, comment: str = "") -> str:
    """The documents, with such texts in quotes and equal parts written out.

    Args:
        comment: written above them, each of its lines as a comment.
    """
    lines = yaml.reader.Reader.NON_PRINTABLE.sub(" ", comment).splitlines()
    head = "".join(f"{line if line.startswith('#') else f'# {line}'.rstrip()}\n" for line in lines)
    return head + yaml.dump_all(documents, Dumper=_Dumper, sort_keys=sort_keys, width=100)


def _check(text: str | bytes) -> None:
    """Refuse what is nested too deeply or too large with its aliases written out.

    The parser's events come one after the other, without recursion.

    Raises:
        yaml.YAMLError: it is such, or no YAML.
    """
    sizes: dict[str, int] = {}  # values of each anchor's node; 0 while it is open
    counts = [0]  # of the document and of each collection that is open
    anchors: list[str | None] = []
    for event in yaml.parse(text, _SafeLoader):
        if isinstance(event, (yaml.ScalarEvent, yaml.AliasEvent)):
            size = 1
            if isinstance(event, yaml.AliasEvent):
                size = sizes.get(event.anchor or "", 1)
                if not size:
                    raise _unfit("an alias contains itself", event)
            elif event.anchor:
                sizes[event.anchor] = 1
            counts[-1] += size
            if counts[-1] > MOST_VALUES:
                raise _unfit("its aliases, written out, are too many values", event)
        elif isinstance(event, yaml.CollectionStartEvent):
            if len(counts) > DEEPEST:
                raise _unfit(f"it is nested more than {DEEPEST} levels deep", event)
            if event.anchor:
                sizes[event.anchor] = 0
            anchors.append(event.anchor)
            counts.append(1)
        elif isinstance(event, yaml.CollectionEndEvent):
            size, anchor = counts.pop(), anchors.pop()
            if anchor:
                sizes[anchor] = size
            counts[-1] += size
        elif isinstance(event, yaml.DocumentStartEvent):
            sizes, counts = {}, [0]


def _unfit(problem: str, event: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)


@contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    # a date that there is not is a ValueError, as is what msgspec refuses
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise YamlError(error) from error


def _values(loader: Any, node: Node) -> object:
    with _refusing():
        return loader.construct_document(node)


class _Strict(_SafeLoader):
    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[object, object]:
        for key in repeated_keys(node):
            raise ValueError(f"line {key.start_mark.line + 1} has {key.value!r} again")
        return super().construct_mapping(node, deep)


class _Dumper(_SafeDumper):
    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002
        return True  # anchors are hard to read, and not every reader takes them


def _text(dumper: yaml.SafeDumper, value: str) -> Node:
    plain = value.replace("_", "")  # 1_000 is a number too
    style = "'" if NO_TEXT.fullmatch(plain) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)
