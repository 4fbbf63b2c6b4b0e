"""The faces of edgeline's components, which a compiled pipeline names and every image holds.

    python3 -m edgeline.kubeflow.task --face_digest=DIGEST ... --function_to_execute NAME

kfp writes a face's source into the task's command, and Argo keeps that command nine times in a
run's workflow. The digest of the source is enough: a task refuses a face that has another one.
kfp's executor runs the bare source, since in a task `kfp.dsl` has no decorator of components.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from edgeline.errors import EdgelineError
from edgeline.formats.bare_python import bare_source
from edgeline.version import __version__

FUNCTION = "--function_to_execute"
DIGEST = "--face_digest="  # the digest in the same word, which no YAML takes for a number
# the same of a task that is given an object of `settings`: an image of a release that knows none,
# and would run the face with its defaults, does not start it
DIGEST_WITH_SETTINGS = "--face="
COMPONENTS = Path(__file__).parents[1] / "components"
NUMBERS = ("int", "float")
PLAIN = ("str", "bool", "list", "dict", *NUMBERS)  # types of parameters; others are artifacts
# what kfp writes above a component's function
IMPORTS = "import kfp\nfrom kfp import dsl\nfrom kfp.dsl import *\nfrom typing import *\n"


@dataclass(frozen=True)
class Optional:
    """A parameter of a face that need not be given.

    Attributes:
        kind: the name of its Python type: str, int, float, bool, list or dict.
        default: what it is where it is not given.
    """

    kind: str
    default: Any

    def cast(self, value: Any) -> Any:
        """A number as the parameter has it: inside of an object KFP makes each a double."""
        return {"int": int, "float": float}[self.kind](value) if self.kind in NUMBERS else value


@dataclass(frozen=True)
class Face:
    """A component of edgeline, as a compiled pipeline names it.

    Attributes:
        name: the function's, which is that of the component's folder.
        digest: of its source, as `digest` gives it.
    """

    name: str
    digest: str

    def source(self) -> str:
        """The source that was compiled, from this installation.

        Raises:
            EdgelineError: this installation has no such face, or another version of it.
        """
        found = source(self.name)
        if found is None:
            raise EdgelineError(
                f"edgeline {__version__} has no component {self.name}, which this pipeline was "
                "compiled with: compile it again, or use the image of its release."
            )
        if digest(found) != self.digest:
            raise EdgelineError(
                f"edgeline {__version__} holds another version of {self.name} than this pipeline "
                "was compiled with: compile it again, or use the image of its release."
            )
        return found


def in_command(words: Sequence[str]) -> Face | None:
    """The face that a task's command with its arguments names; None where it names none."""
    digests = [
        word.partition("=")[2] for word in words if word.startswith((DIGEST, DIGEST_WITH_SETTINGS))
    ]
    if not digests or FUNCTION not in words[:-1]:
        return None
    return Face(words[words.index(FUNCTION) + 1], digests[0])


def of_container(container: Mapping[str, Any]) -> Face | None:
    """The face that a container of a compiled pipeline names; None where it names none."""
    return in_command([*container.get("command", []), *container.get("args", [])])


def embedded(container: Mapping[str, Any]) -> Face | None:
    """The face whose source kfp wrote into a container, if it is this installation's."""
    command, args = container.get("command", []), container.get("args", [])
    if command[:2] != ["sh", "-ec"] or len(command) != 4 or FUNCTION not in args[:-1]:
        return None
    name = args[args.index(FUNCTION) + 1]
    installed = source(name)
    written = bare_source(command[-1])
    return Face(name, digest(written)) if written == installed else None


def digest(bare: str) -> str:
    """Of a face's bare source: the first 16 digits of its sha256."""
    return hashlib.sha256(bare.encode()).hexdigest()[:16]


@lru_cache(maxsize=64)
def optional(name: str) -> Mapping[str, Optional]:
    """The parameters with defaults of an installed face, without its artifacts; none where there
    is no such face."""
    for entry in ast.parse(source(name) or "").body:
        if isinstance(entry, ast.FunctionDef) and entry.name == name:
            last = entry.args.args[len(entry.args.args) - len(entry.args.defaults) :]
            return {
                each.arg: Optional(each.annotation.id, ast.literal_eval(default))
                for each, default in zip(last, entry.args.defaults, strict=True)
                if isinstance(each.annotation, ast.Name) and each.annotation.id in PLAIN
            }
    return {}


@lru_cache(maxsize=64)
def source(name: str) -> str | None:
    """The bare source of an installed face, as kfp writes it; None where there is none."""
    file = COMPONENTS / name / "component.py"
    if not (name.isidentifier() and file.is_file()):
        return None
    text = file.read_text("utf-8")
    for entry in ast.parse(text).body:
        if isinstance(entry, ast.FunctionDef) and entry.name == name:
            lines = text.split("\n")[entry.lineno - 1 : entry.end_lineno]
            return bare_source(IMPORTS + "\n".join(lines) + "\n")
    return None
