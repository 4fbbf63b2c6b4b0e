"""The API server of Kubeflow Pipelines: how it is reached, and its refusals in one sentence."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from edgeline.errors import EdgelineError, first_line

TIMEOUT = (10.0, 60.0)  # seconds to connect, and of silence
AGAIN = (429, 502, 503, 504)  # what a server, or Envoy before it, says when it is busy or restarts
UNAVAILABLE = 14  # gRPC's code of a server that is not ready and did nothing
TOKEN_HINT = "name the file of a token in KF_PIPELINES_SA_TOKEN_PATH"
Answer = TypeVar("Answer")


def connect(host: str | None = None, namespace: str | None = None) -> Any:
    """A `kfp.Client` that asks again where that is safe and may help.

    A token is read before each request, so it may change: from the file that
    KF_PIPELINES_SA_TOKEN_PATH names, else from where a pod has its service account's. The CA of
    a server that browsers do not know is the file that SSL_CERT_FILE names.

    Args:
        host: the API's address; by default KF_PIPELINES_ENDPOINT.
        namespace: a profile's, where KFP has several users.

    Raises:
        EdgelineError: no address is known, the token is missing, or no server answers there.
    """
    host = host or os.environ.get("KF_PIPELINES_ENDPOINT")
    if not host:
        raise EdgelineError("Which server? Give its address, or set KF_PIPELINES_ENDPOINT.")
    if not host.startswith(("http://", "https://")):
        raise EdgelineError(f"{host} is no address of a server: begin it with https:// or http://.")
    given = {"credentials": _credentials(), "ssl_ca_cert": os.environ.get("SSL_CERT_FILE")}
    if namespace:
        given["namespace"] = namespace
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # about servers before 2.0
        client = asking(lambda: _patient_client()(host=host, **given), host)
    _guard(client, host)
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
        said = f"{host} refuses ({error.status}): {_said(error)}"
        raise EdgelineError(f"{said}: {TOKEN_HINT}." if error.status == 401 else said) from error
    except urllib3.exceptions.HTTPError as error:
        mend = "is the address right?"
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            mend = "name the file of its CA in SSL_CERT_FILE."
        raise EdgelineError(f"{host} cannot be asked ({first_line(error)}): {mend}") from error
    except (OSError, RuntimeError, ValueError) as error:
        # kfp's own: a token's file that is gone, a name that is there twice
        raise EdgelineError(f"{host}: {first_line(error)}.") from error


def called(name: str) -> str:
    """The filter of a list for what is shown by a name."""
    equal = {"operation": "EQUALS", "key": "display_name", "stringValue": name}
    return json.dumps({"predicates": [equal]})


def pipeline_id(client: Any, name: str) -> str | None:
    """The identifier of a pipeline: the profile's own, else a shared one."""
    for namespace in dict.fromkeys((client.get_user_namespace() or None, None)):
        if found := client.list_pipelines(filter=called(name), namespace=namespace).pipelines:
            return str(found[0].pipeline_id)
    return None


def pipeline_version(client: Any, pipeline: str, name: str = "") -> Any:
    """A version by its name, or the newest; None where there is none."""
    if name:
        found = client.list_pipeline_versions(pipeline, page_size=1, filter=called(name))
    else:
        found = client.list_pipeline_versions(pipeline, page_size=1, sort_by="created_at desc")
    return (found.pipeline_versions or [None])[0]


def grpc_code(error: Any) -> int | None:
    """gRPC's code in a refusal, an `ApiException`; None where a proxy or nobody says one."""
    try:
        return int(json.loads(error.body)["code"])
    except (TypeError, ValueError, KeyError):
        return None


def _patient_client() -> Any:
    import kfp
    import urllib3

    class Client(kfp.Client):  # type: ignore[misc]
        def _load_config(self, *given: Any) -> Any:
            config = super()._load_config(*given)
            config.retries = urllib3.Retry(
                total=5,
                connect=2,
                read=1,
                other=0,  # a certificate does not get better
                backoff_factor=0.5,
                status_forcelist=AGAIN,
                allowed_methods=("GET",),  # a second POST could be a second run
                raise_on_status=False,
            )
            return config

        def get_kfp_healthz(self, sleep_duration: int = 0) -> Any:  # noqa: ARG002
            """Once: kfp asks five times in 25 s, whatever the answer, and prints each traceback."""
            return self._healthz_api.healthz_service_get_healthz(_request_timeout=TIMEOUT)

    return Client


def _guard(client: Any, host: str) -> None:
    """No request waits for ever, and no page to sign in on passes for an empty answer."""
    rest = client._healthz_api.api_client.rest_client  # which all parts of the client share
    ask = rest.request

    def request(method: str, url: str, **given: Any) -> Any:
        answer = ask(method, url, **{**given, "_request_timeout": TIMEOUT})
        if "html" in answer.urllib3_response.headers.get("Content-Type", ""):
            raise EdgelineError(f"{host} answers with a page to sign in on: {TOKEN_HINT}.")
        return answer

    rest.request = request


def _said(error: Any) -> str:
    """What a refusal says: the detail that is written for people, where there is one."""
    try:
        body = json.loads(error.body)
        details = body.get("details") or [{}]
        texts = (details[0].get("message"), body.get("message"), body.get("error_message"))
        text = next(text for text in texts if text and text != "Internal Server Error")
    except (TypeError, ValueError, AttributeError, StopIteration):
        body = error.body.decode(errors="replace") if isinstance(error.body, bytes) else error.body
        text = error.reason if not body or body.lstrip().startswith("<") else body
    return (str(text or "").strip().splitlines() or [""])[0].rstrip(".")


def _credentials() -> Any:
    from kfp.client import (
        KF_PIPELINES_SA_TOKEN_ENV,
        KF_PIPELINES_SA_TOKEN_PATH,
        ServiceAccountTokenVolumeCredentials,
    )

    named = os.environ.get(KF_PIPELINES_SA_TOKEN_ENV)
    if named and not Path(named).is_file():
        raise EdgelineError(f"{KF_PIPELINES_SA_TOKEN_ENV} names {named}, which is not there.")
    path = named or KF_PIPELINES_SA_TOKEN_PATH
    return ServiceAccountTokenVolumeCredentials(path=path) if Path(path).is_file() else None
