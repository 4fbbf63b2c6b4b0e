"""A rule on pipelines whose workflow gets too large for Kubeflow Pipelines while it runs."""

from __future__ import annotations

from collections.abc import Iterator

from edgeline.lint import controller, workflow, workflow_size
from edgeline.lint.documents import Tree
from edgeline.lint.fitting import Targets, fitting
from edgeline.lint.rule import WARNING, Found, Rule
from edgeline.lint.workflow_size import WorkflowSize

NEAR = 0.9  # of the limit: the estimate is within a tenth of what was measured
NAMED = 3  # kinds, and of each the largest, that a sentence names
SMALL = 0.01  # of a workflow, what a sentence does not name
CUTS = {
    workflow_size.SOURCE: "the source of",
    workflow_size.INTERFACE: "the interface of",
    workflow_size.METADATA: "the metadata of the inputs of",
    workflow_size.PARAMETERS: "the parameters of",
    workflow_size.ENVIRONMENT: "the variables, secrets and resources of",
    workflow_size.OTHER: "the nodes of",
}


def _too_large(tree: Tree) -> Iterator[Found]:
    tries = 1 if controller.writes_nodes_once(tree) else workflow.TRIES
    for document in tree.of("IR", "PipelineVersion"):
        above, pipeline = document.pipeline or ((), {})
        platform = tree.platform_of(document)
        size = workflow.estimate(pipeline, platform, tries=tries)
        if size.total > NEAR * workflow.COMPRESSED:
            fits = fitting((pipeline, platform), {}, tries)
            yield Found(document, (*above, "pipelineInfo", "name"), _said(size) + _of(fits))


def _of(targets: Targets) -> str:
    """How many of its targets fit; nothing where all do, or none makes the difference."""
    few, all_ = len(targets.fit), len(targets.given)
    return f"; {few} of its {all_} targets fit" if 0 < few < all_ else ""


def _said(size: WorkflowSize) -> str:
    kinds = sorted(CUTS, key=size.of, reverse=True)[:NAMED]
    parts = (f"{CUTS[kind]} {_largest(size, kind)}" for kind in kinds)
    return (
        f"its workflow becomes some {size.total / 1000:,.0f} kB while it runs, of at most "
        f"{workflow.COMPRESSED / 1000:,.0f} kB, most of it {'; '.join(parts)}"
    )


def _largest(size: WorkflowSize, kind: str) -> str:
    first, *others = size.largest(kind, NAMED)
    named = [first, *(entry for entry in others if entry[1] > SMALL * size.total)]
    return ", ".join(f"{name.rpartition('/')[2]} {count / 1000:,.0f} kB" for name, count in named)


rules = (
    Rule(
        "workflow-too-large",
        "Argo compresses the nodes of a workflow above 1 MiB, and KFP 2.17 then no longer tells "
        "how tasks end: a run that succeeded looks stuck. What a task is given is written six "
        "times: a folder of edgeline's is some 3 kB in all, another artifact 6 kB, with how its "
        "store is reached; source and interface nine times.",
        "have Argo write each node once, not twice (manifests/components/small-workflows); give "
        "loops fewer rounds, tasks fewer artifacts, or split the pipeline; compile with `edgeline "
        "compile`, which cuts comments, docstrings and groups of one task; move code into the "
        "image, and long facts from artifacts' metadata into files",
        _too_large,
        WARNING,
    ),
)
