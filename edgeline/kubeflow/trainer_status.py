"""Kubeflow Trainer, told the metrics of the TrainJob that this process is a node of.

Trainer's controller (from 2.2, with its feature gate TrainJobStatus) says by three variables where
it listens, and puts a certificate and a token into files. What it is sent stands in the TrainJob's
status, from which an OptimizationJob takes its objective.
https://github.com/kubeflow/trainer/tree/master/docs/proposals/2779-trainjob-progress
"""

from __future__ import annotations

import json
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path

from edgeline.errors import EdgelineError, first_line

URL, CERTIFICATE, TOKEN = (
    f"KUBEFLOW_TRAINER_SERVER_{name}" for name in ("URL", "CA_CERT", "TOKEN")
)
TIMEOUT = 30.0  # seconds


def is_there() -> bool:
    """Whether this is a node of a TrainJob whose controller takes metrics."""
    return all(os.environ.get(name) for name in (URL, CERTIFICATE, TOKEN))


def tell(metrics: Mapping[str, float]) -> None:
    """Put the metrics of a job that is done into its status.

    Raises:
        EdgelineError: the controller cannot be reached, or refuses.
    """
    url = os.environ[URL]
    status = {
        "progressPercentage": 100,
        "metrics": [{"name": name, "value": repr(value)} for name, value in metrics.items()],
        "lastUpdatedTime": datetime.now(timezone.utc).isoformat(),
    }
    try:
        if not url.startswith("https://"):
            raise ValueError("its address is not https://")
        token = Path(os.environ[TOKEN]).read_text().strip()
        request = urllib.request.Request(
            url,
            json.dumps({"trainerStatus": status}).encode(),
            {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
            method="POST",
        )
        context = ssl.create_default_context(cafile=os.environ[CERTIFICATE])
        with urllib.request.urlopen(request, timeout=TIMEOUT, context=context):
            pass
    except (OSError, ValueError) as error:
        answer = ""
        if isinstance(error, urllib.error.HTTPError):
            answer = ": " + " ".join(error.read(500).decode(errors="replace").split())
        raise EdgelineError(
            f"Kubeflow Trainer was not told this trial's metrics ({first_line(error)}{answer}), so "
            "that its OptimizationJob cannot count it: look at the log of Trainer's controller."
        ) from error
