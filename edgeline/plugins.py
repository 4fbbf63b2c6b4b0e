"""What other installed packages bring, by entry points; nothing is imported before it is used.

    [project.entry-points."edgeline.targets"]
    acme-npu = "acme_edgeline:target"

The name is what users type, the value a module, or an object in it. A name of edgeline's own
stays edgeline's, and one that two packages bring is neither's: `refused` says so.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path
from typing import Any

from edgeline.errors import EdgelineError, first_line

TARGETS, PIPELINES = "edgeline.targets", "edgeline.pipelines"
KIND = {TARGETS: "target", PIPELINES: "pipeline"}
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")  # folders and options are called so


@dataclass(frozen=True)
class Plugin:
    """One entry point.

    Attributes:
        distribution: the package that brings it, by its name on an index.
        value: `module` or `module:attribute`.
    """

    group: str
    name: str
    value: str
    distribution: str

    @property
    def words(self) -> str:
        """What messages call it."""
        return f"{KIND[self.group].capitalize()} {self.name} of package {self.distribution}"

    def load(self) -> Any:
        """Import what it names.

        Raises:
            EdgelineError: that fails, in whatever way; the sentence names the package.
        """
        try:
            return metadata.EntryPoint(self.name, self.value, self.group).load()
        except (Exception, SystemExit) as error:
            raise self.broken(f"{type(error).__name__}: {first_line(error)}") from error

    def broken(self, why: str) -> EdgelineError:
        """The error for one that is there and cannot be used."""
        return EdgelineError(
            f"{self.words} cannot be loaded ({why}): install a version of {self.distribution} "
            "that works with this edgeline, or uninstall it."
        )


def found(group: str, own: Collection[str]) -> dict[str, Plugin]:
    """The plug-ins of a group that can be asked for, by name and in its order.

    Args:
        own: edgeline's own names, which no plug-in gets.
    """
    plugins, _ = _sorted(group, own)
    return plugins


def refused(group: str, own: Collection[str]) -> dict[str, str]:
    """Why a plug-in of a group cannot be asked for, by its name, a sentence each."""
    _, sentences = _sorted(group, own)
    return sentences


def digest() -> str:
    """A sha256 of every plug-in's code and version; that of nothing where there are none."""
    total = hashlib.sha256()
    plugins = _all(*KIND)
    names = {plugin.distribution for plugin in plugins}
    modules = {plugin.value.partition(":")[0] for plugin in plugins}
    for name in sorted(names):
        total.update(f"{name} {metadata.version(name)}\n".encode())
    files = {file for name in names for file in _installed(name)}
    files |= {file for module in modules for file in _beside(module)}
    for file in sorted(files):
        total.update(file.read_bytes())
    return total.hexdigest()


def _sorted(group: str, own: Collection[str]) -> tuple[dict[str, Plugin], dict[str, str]]:
    plugins: dict[str, Plugin] = {}
    sentences: dict[str, str] = {}
    for plugin in sorted(_all(group), key=lambda each: (each.name, each.distribution)):
        name, change = plugin.name, "ask its author for another name, or uninstall it."
        if name in own:
            sentences[name] = f"{plugin.words} is refused, for edgeline has one itself: {change}"
        elif not NAME.fullmatch(name):
            sentences[name] = f"{plugin.words} is refused, for that is not a name: {change}"
        elif name in plugins:
            other = plugins.pop(name).distribution
            sentences[name] = (
                f"{plugin.words} is refused, for {other} brings one of that name, too: uninstall "
                "one of the two."
            )
        elif name not in sentences:
            plugins[name] = plugin
    return plugins, sentences


def _all(*groups: str) -> list[Plugin]:
    """Every entry point of the groups, of each distribution the first that is on the path."""
    plugins: dict[tuple[str, str, str], Plugin] = {}
    for distribution in metadata.distributions():
        text = distribution.read_text("entry_points.txt") or ""
        if not any(group in text for group in groups):  # as of nearly all, some 250 here
            continue
        try:
            points = [point for point in distribution.entry_points if point.group in groups]
        except (TypeError, ValueError):  # a malformed file, which pip would not have installed
            continue
        for point in points:
            if owner := distribution.metadata["Name"]:
                plugin = Plugin(point.group, point.name, point.value, owner)
                plugins.setdefault((point.group, owner, point.name), plugin)
    return list(plugins.values())


def _installed(distribution: str) -> list[Path]:
    """The Python files that a distribution lists; an editable one lists hardly any."""
    files = metadata.files(distribution) or []
    paths = [Path(str(file.locate())) for file in files if file.suffix == ".py"]
    return [path for path in paths if path.is_file()]


def _beside(module: str) -> list[Path]:
    """The Python files of a module's topmost package, which is found without being imported."""
    try:
        spec = util.find_spec(module.partition(".")[0])
    except (ImportError, ValueError):
        return []
    if spec is None:
        return []
    folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
    files = [file for folder in folders for file in folder.rglob("*.py")]
    return files or ([Path(spec.origin)] if spec.origin and Path(spec.origin).is_file() else [])
