"""The faces of all components, so that a pipeline imports those that it uses in one line.

from edgeline.components.faces import ingest, train, transform, validate
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeline.components.acceptance.component import acceptance
    from edgeline.components.analyze.component import analyze
    from edgeline.components.check.component import check
    from edgeline.components.choose.component import choose
    from edgeline.components.compile.component import compile  # noqa: A004
    from edgeline.components.convert.component import convert
    from edgeline.components.explain.component import explain
    from edgeline.components.import_model.component import import_model
    from edgeline.components.ingest.component import ingest
    from edgeline.components.model_card.component import model_card
    from edgeline.components.monitor.component import monitor
    from edgeline.components.notify.component import notify
    from edgeline.components.plan.component import plan
    from edgeline.components.publish.component import publish
    from edgeline.components.publish_candidates.component import publish_candidates
    from edgeline.components.serve.component import serve
    from edgeline.components.settings.component import settings
    from edgeline.components.train.component import train
    from edgeline.components.train_candidate.component import train_candidate
    from edgeline.components.transform.component import transform
    from edgeline.components.tune.component import tune
    from edgeline.components.validate.component import validate
    from edgeline.components.verify.component import verify

__all__ = [
    "acceptance",
    "analyze",
    "check",
    "choose",
    "compile",
    "convert",
    "explain",
    "import_model",
    "ingest",
    "model_card",
    "monitor",
    "notify",
    "plan",
    "publish",
    "publish_candidates",
    "serve",
    "settings",
    "train",
    "train_candidate",
    "transform",
    "tune",
    "validate",
    "verify",
]


def __getattr__(name: str) -> Any:
    """A face when it is asked for: kfp reads the source of each, and no pipeline has them all."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"edgeline.components.{name}.component"), name)
