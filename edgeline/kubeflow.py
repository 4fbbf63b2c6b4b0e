"""The API server of Kubeflow Pipelines: how it is reached, and its refusals in one sentence."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from edgeline.errors import EdgelineError

Answer = TypeVar("Answer")


def connect(host: str | None = None, namespace: str | None = None) -> Any:
    """A `kfp.Client`, with the token of the service account where there is one.

    Args:
        host: the API's address; by default KF_PIPELINES_ENDPOINT.
        namespace: a profile's, where KFP has several users.

    Raises:
        EdgelineError: no address is known, or no server answers there.
    """
    import kfp

    host = host or os.environ.get("KF_PIPELINES_ENDPOINT")
    if not host:
        raise EdgelineError("Which server? Give its address, or set KF_PIPELINES_ENDPOINT.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # about servers before 2.0
        client = asking(lambda: kfp.Client(host=host, credentials=_credentials()), host)
    if namespace:
        client.set_user_namespace(namespace)
    return client


def asking(ask: Callable[[], Answer], host: str = "The server") -> Answer:
    """What the server says.

    Raises:
        EdgelineError: it refuses, or cannot be reached.
    """
    import kfp_server_api
    import urllib3

    try:
        return ask()
    except kfp_server_api.ApiException as error:
        said = str(error.body or error.reason or "").strip().splitlines() or [""]
        raise EdgelineError(f"{host} refuses ({error.status}): {said[0]}") from error
    except (urllib3.exceptions.HTTPError, TimeoutError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise EdgelineError(f"{host} cannot be asked ({reason}): is the address right?") from error


def _credentials() -> Any:
    from kfp.client import (
        KF_PIPELINES_SA_TOKEN_ENV,
        KF_PIPELINES_SA_TOKEN_PATH,
        ServiceAccountTokenVolumeCredentials,
    )

    path = os.environ.get(KF_PIPELINES_SA_TOKEN_ENV, KF_PIPELINES_SA_TOKEN_PATH)
    return ServiceAccountTokenVolumeCredentials(path=path) if Path(path).exists() else None
