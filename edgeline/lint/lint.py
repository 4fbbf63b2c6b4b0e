"""Every rule on every file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgeline.lint import (
    access,
    caching,
    controller,
    destinations,
    environments,
    gitops,
    gpus,
    images,
    kserve,
    locked,
    pipelines,
    references,
    schedules,
    security,
    sizes,
    traps,
    windows,
    workloads,
)
from edgeline.lint.documents import read
from edgeline.lint.rule import Finding, findings

RULES = (
    *pipelines.rules,
    *traps.rules,
    *sizes.rules,
    *destinations.rules,
    *schedules.rules,
    *environments.rules,
    *caching.rules,
    *controller.rules,
    *images.rules,
    *locked.rules,
    *security.rules,
    *gpus.rules,
    *gitops.rules,
    *references.rules,
    *workloads.rules,
    *kserve.rules,
    *windows.rules,
    *access.rules,
)


def lint(paths: Sequence[str | Path]) -> list[Finding]:
    """What is wrong in compiled pipelines and manifests, by file and line.

    Raises:
        EdgelineError: a path is not there, or holds nothing to lint.
    """
    tree = read(paths)
    found = [finding for rule in RULES for finding in findings(rule, tree)]
    return sorted(found, key=lambda finding: (finding.file, finding.line, finding.rule))
