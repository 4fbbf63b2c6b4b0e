"""What `edgeline compile-model` is asked for, refused before any work where it cannot be meant."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeline.errors import EdgelineError, UsageError, did_you_mean
from edgeline.formats.quantisation import NAMES

if TYPE_CHECKING:
    from edgeline.components.compile.target import Target


@dataclass(frozen=True)
class Request:
    """What the command line asks for; see `compile_model`."""

    model: str
    targets: Sequence[str]
    quantisation: str = ""
    representative: str = ""
    scaling: str = ""
    settings: Sequence[str] = ()
    output: str = ""
    requirements: str = ""


def find_targets(names: Sequence[str]) -> tuple[dict[str, Target], dict[str, str]]:
    """Targets by name, and why one of another package cannot be loaded.

    Raises:
        UsageError: there is no such target.
    """
    from edgeline.components.compile import target

    found: dict[str, Target] = {}
    broken: dict[str, str] = {}
    for name in names:
        try:
            found[name] = target.find(name)
        except UsageError:
            raise
        except EdgelineError as error:
            broken[name] = str(error)
    return found, broken


def check_values(request: Request) -> None:
    """Refuse what no model could have: reading one takes a while.

    Raises:
        UsageError: names the option.
    """
    from edgeline import artifacts
    from edgeline.artifacts import examples
    from edgeline.components.compile.rows import check_rows
    from edgeline.components.import_model.wanted import SCALINGS

    for option, given, known in (
        ("quantisation", request.quantisation, NAMES),
        ("scaling", request.scaling, SCALINGS),
    ):
        if given and given not in known:
            hint = did_you_mean(given, filter(None, known))
            raise UsageError(f"--{option} {given}: there is no such {option}. {hint}")
    if request.representative and artifacts.schema_of(request.representative) != examples.SCHEMA:
        check_rows(Path(request.representative))


def parse_options(
    settings: Sequence[str], targets: Mapping[str, Target], broken: Collection[str] = ()
) -> dict[str, dict[str, str]]:
    """`target.option=value` by target; what is set of a `broken` one is passed over.

    Raises:
        UsageError: a setting is not of this form or there twice, or names no target asked for or
            no option.
    """
    from edgeline.components.compile.compile import options_of

    found: dict[str, dict[str, str]] = {name: {} for name in (*targets, *broken)}
    for setting in settings:
        name, equals, value = setting.partition("=")
        target, dot, option = name.partition(".")
        if not equals or not dot:
            raise UsageError(f"--set {setting}: write it as TARGET.OPTION=VALUE.")
        if target not in found:
            hint = did_you_mean(target, found, "It has")
            raise UsageError(f"--set {name}: this call has no target {target!r}. {hint}")
        if option in found[target]:
            raise UsageError(f"--set {name} is given twice: leave one out.")
        found[target][option] = value
    for name, each in targets.items():
        options_of(each, found[name])
    return found
