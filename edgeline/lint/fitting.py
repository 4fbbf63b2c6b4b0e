"""How many targets a run may have before its workflow gets too large for Kubeflow Pipelines."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeline.formats import plain_yaml
from edgeline.lint.documents import at, mapped
from edgeline.lint.workflow import COMPRESSED, TRIES, estimate

TARGETS = "targets"  # the parameter, or the field of one, that a round of the loop is made for
ERROR = 0.03  # of the estimate, by what real runs took
MOST = COMPRESSED * (1 - ERROR)


@dataclass(frozen=True)
class Targets:
    """Those of a run, and the first of them with which its workflow is small enough."""

    given: Sequence[str]
    fit: Sequence[str]


@dataclass(frozen=True)
class TooLarge:
    """A workflow above the limit.

    Attributes:
        size: bytes that it becomes where nothing is taken from the cache.
        once: the same where Argo's controller writes each node once.
        targets: how many fit.
    """

    size: int
    once: int
    targets: Targets

    def __str__(self) -> str:
        ways = []
        if self.targets.fit:
            ways.append(
                f"{len(self.targets.fit)} of its {len(self.targets.given)} targets fit, "
                f"{json.dumps(self.targets.fit)}, the others in a run after it"
            )
        if self.once <= MOST:
            ways.append(
                "with manifests/components/small-workflows in the cluster it is some "
                f"{self.once / 1000:,.0f} kB"
            )
        return (
            f"the workflow of this run becomes some {self.size / 1000:,.0f} kB, and above "
            f"{COMPRESSED / 1000:,.0f} kB Kubeflow Pipelines 2.17 no longer tells how its tasks "
            f"end: {'; '.join(ways) or 'give its loops fewer rounds, or split the pipeline'}."
        )


def too_large(documents: Sequence[Mapping[str, Any]], given: Mapping[str, Any]) -> TooLarge | None:
    """What is too large of a run's workflow, under KFP's own settings of Argo; None where nothing.

    Args:
        documents: KFP's IR and, where there is one, the platform document beside it.
        given: the run's parameters; the others have their defaults.
    """
    whole = _size(documents, given, TRIES)
    if whole <= MOST:
        return None
    return TooLarge(whole, _size(documents, given, 1), fitting(documents, given, TRIES))


def fitting(
    documents: Sequence[Mapping[str, Any]], given: Mapping[str, Any], tries: int
) -> Targets:
    """How many of a run's targets fit; none where it is too large without any, or has none.

    Args:
        documents: see `too_large`.
        given: see `too_large`.
        tries: how often Argo's controller writes each node.
    """
    defined = mapped(documents[0], "root", "inputDefinitions", "parameters")
    values = {name: at(each, "defaultValue") for name, each in defined.items()} | dict(given)
    targets = _targets(values)
    counts = range(1, len(targets) + 1)
    fit = bisect_right(
        counts, MOST, key=lambda n: _size(documents, _with(values, targets[:n]), tries)
    )
    return Targets(targets, targets[:fit])


def _size(documents: Sequence[Mapping[str, Any]], given: Mapping[str, Any], tries: int) -> int:
    platform = documents[1] if len(documents) > 1 else {}
    return estimate(documents[0], platform, given=given, tries=tries).total


def documents_of(path: Path) -> list[Mapping[str, Any]]:
    """The pipeline in what `edgeline compile` wrote, and its platform document where it has one.

    Args:
        path: KFP's YAML, or manifests with a PipelineVersion; a pipe, which took it, has none.
    """
    if not path.is_file():
        return []
    documents = plain_yaml.read(path.read_bytes())
    for document in documents:
        if pipeline := mapped(document, "spec", "pipelineSpec"):
            return [pipeline, mapped(document, "spec", "platformSpec")]
    return [
        document for document in documents if "pipelineInfo" in document or "platforms" in document
    ]


def _targets(values: Mapping[str, Any]) -> list[str]:
    for holder in (values, *(each for each in values.values() if isinstance(each, Mapping))):
        if isinstance(found := holder.get(TARGETS), list):
            return [str(each) for each in found]
    return []


def _with(values: Mapping[str, Any], targets: list[str]) -> dict[str, Any]:
    """A run's parameters with other targets."""
    if TARGETS in values:
        return {**values, TARGETS: targets}
    return {
        name: {**each, TARGETS: targets}
        if isinstance(each, Mapping) and isinstance(each.get(TARGETS), list)
        else each
        for name, each in values.items()
    }
