"""The API server of Kubeflow Pipelines: how it is reached, and its refusals in one sentence."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from edgeline.errors import EdgelineError, UsageError, first_line
from edgeline.formats import names
from edgeline.kubeflow import endpoint, tokens, versions
from edgeline.kubeflow.refusals import TOKEN_HINT, refusal, token_file
from edgeline.kubeflow.sdk import import_client

if TYPE_CHECKING:
    from kfp import Client as KfpClient

TIMEOUT = (10.0, 60.0)  # seconds to connect, and of silence
AGAIN = (429, 502, 503, 504)  # what a server, or Envoy before it, says when it is busy or restarts
TOKEN_PATH = "KF_PIPELINES_SA_TOKEN_PATH"
CONFLICT = 409
FORBIDDEN = 403
SERVER_FAULT = 500
UNAVAILABLE = 14  # gRPC's code of a server that is not ready and did nothing
_LABEL = re.compile(r"[^][\s\"'<>\\^`{|}%()*+,;=!$&~]+")  # letters of other scripts, too
Answer = TypeVar("Answer")


class UnavailableError(EdgelineError):
    """The server does not answer, or says that it cannot: what it keeps goes on, and it may
    answer in a moment."""


def connect(host: str | None = None, namespace: str | None = None) -> KfpClient:
    """A `kfp.Client` that asks again where that is safe and may help.

    A token is read before each request, so it may change: from the file that
    KF_PIPELINES_SA_TOKEN_PATH names, else from where a pod has its service account's. The CA of
    a server that browsers do not know is the file that SSL_CERT_FILE names.

    Args:
        host: the API's address; by default KF_PIPELINES_ENDPOINT.
        namespace: a profile's, where KFP has several users; by default a pod's own. kfp's file
            of settings (~/.config/kfp) has no say in it, and nothing is written there.

    Raises:
        EdgelineError: no address is known, the token is missing or malformed, no server answers
            there, or it has several users and no namespace is given.
    """
    client = reach(host, namespace)
    require_namespace(client)
    return client


def reach(host: str | None = None, namespace: str | None = None) -> KfpClient:
    """As `connect`, where it may still turn out which namespace it is: see `require_namespace`."""
    host = endpoint.chosen(host)
    if not host.startswith(("http://", "https://")):
        raise UsageError(f"{host} is not a server's address: begin it with https:// or http://.")
    try:
        parts = urlsplit(host)
        if parts.port == 0 or not _is_host(parts.hostname or ""):
            raise ValueError
        if not host.isprintable() or " " in host:  # of which urlsplit drops some
            raise ValueError
    except ValueError:  # of a port, too; it repeats a password
        raise UsageError(
            "The server's address is malformed: is it https://HOST or https://HOST:PORT?"
        ) from None
    if "@" in parts.netloc:
        raise UsageError(
            f"The address of {parts.hostname} has a user or a password in it, which no "
            f"request carries: leave it out, and {TOKEN_HINT}."
        )
    if namespace is not None:
        names.check_namespace(namespace)
    token, authority = _credentials(), os.environ.get("SSL_CERT_FILE")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # about servers before 2.0
        make = _patient_client(host, namespace or "")
        client = asking(lambda: make(host=host, credentials=token, ssl_ca_cert=authority), host)
    asking(lambda: has_teams(client), host)
    return client


def require_namespace(client: KfpClient) -> None:
    """Refuse to go on where a server has several teams and nothing says whose turn it is.

    Raises:
        UsageError: it says which option to give.
    """
    if has_teams(client) and not client.get_user_namespace():
        raise UsageError(
            f"{client._get_url_prefix()} has several teams, and nothing says which one's this is: "
            "give --namespace, namespace= in Python, or, to submit, `namespace:` in the "
            "environment. Nothing was changed."
        )


def has_teams(client: KfpClient) -> bool:
    """Whether the server keeps several users apart, each with namespaces of their own."""
    return bool(client.get_kfp_healthz().multi_user)


def asking(ask: Callable[[], Answer], host: str = "The server") -> Answer:
    """What the server says. What kfp prints meanwhile goes to stderr: stdout is the command's.

    Raises:
        UnavailableError: it cannot be reached, or is not ready.
        EdgelineError: it refuses, or answers in no form of KFP's.
    """
    import kfp_server_api
    import urllib3

    try:
        with contextlib.redirect_stdout(sys.stderr):
            return ask()
    except kfp_server_api.ApiException as error:
        refused = refusal(error, host)
        if (error.status or 0) >= SERVER_FAULT or error.status in AGAIN:
            raise UnavailableError(str(refused)) from error
        raise refused from error
    except urllib3.exceptions.HTTPError as error:
        said = f"{host} cannot be asked ({_why(error)})"
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            fix = "name the file of its CA in SSL_CERT_FILE."
            raise EdgelineError(f"{said}: {fix}") from error
        raise UnavailableError(f"{said}: is the address right?") from error
    except (OSError, RuntimeError, ValueError) as error:
        # kfp's own: a token's file that is gone, a name that is there twice
        raise EdgelineError(f"{host}: {first_line(error)}.") from error
    except (AttributeError, LookupError, TypeError) as error:
        # null or a list where KFP has an object: a proxy's, or another server's
        kind = type(error).__name__
        raise EdgelineError(
            f"{host} answers otherwise than KFP does ({kind}: {first_line(error)}): is it a server "
            "of KFP 2, and is the address right?"
        ) from error


def _is_host(name: str) -> bool:
    labels = [name] if ":" in name else name.removesuffix(".").split(".")
    return all(0 < len(label) < 64 and _LABEL.fullmatch(label) for label in labels)


def _why(error: BaseException) -> str:
    """The cause of a request that failed, in the system's words and not in urllib3's objects."""
    cause: BaseException | None = getattr(error, "reason", None) or error
    first = cause
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return str(cause.strerror)
        cause = cause.__cause__ or cause.__context__
    said = first_line(first if isinstance(first, BaseException) else error)
    return re.sub(r"^(<[^>]*>|\w+\([^)]*\)): ", "", said)


def called(name: str) -> str:
    """The filter of a list for what is shown by a name."""
    equal = {"operation": "EQUALS", "key": "display_name", "stringValue": name}
    return json.dumps({"predicates": [equal]})


@dataclass(frozen=True)
class ServerPipeline:
    """A pipeline on the server: its identifier, and whether it belongs to all teams.

    Only a server with several teams has shared pipelines. Anybody can upload a version to one,
    and even somebody whom the server does not know.
    """

    id: str
    shared: bool = False


def pipelines_called(client: KfpClient, name: str) -> Iterator[ServerPipeline]:
    """Where a pipeline of a name is: the namespace's own first, and if that will not do, shared.

    A server that keeps pipelines in Kubernetes shows everybody those of its own namespace, and
    refuses their versions to whom it gave no role there: for them these are not shared.
    """
    teams, own = has_teams(client), client.get_user_namespace() or None
    for namespace in dict.fromkeys((own, None)):
        answer = client.list_pipelines(filter=called(name), namespace=namespace).pipelines
        for one in answer or ():
            place = ServerPipeline(str(one.pipeline_id), teams and namespace is None)
            if not place.shared or not one.namespace or _may_read(client, place):
                yield place
        if answer and not teams:
            return


def _may_read(client: KfpClient, place: ServerPipeline) -> bool:
    from kfp_server_api import ApiException

    try:
        client.list_pipeline_versions(place.id, page_size=1)
    except ApiException as error:
        if error.status == FORBIDDEN:
            return False
        raise
    return True


def find_version(
    client: KfpClient, pipeline: str, name: str = ""
) -> tuple[ServerPipeline | None, Any]:
    """A version by its name, or the newest, where there is one: an empty pipeline hides no other.

    Returns: the pipeline, None where there is none of its name, and the version, None likewise.
    """
    place = None
    for place in pipelines_called(client, pipeline):
        if version := pipeline_version(client, place.id, name):
            return place, version
    return place, None


def pipeline_id(client: KfpClient, name: str) -> str | None:
    """The identifier of a pipeline: the profile's own, else a shared one."""
    return next((place.id for place in pipelines_called(client, name)), None)


def pipeline_versions(client: KfpClient, pipeline: str, name: str) -> list[Any]:
    """All versions that are shown by a name; several may be."""
    found = client.list_pipeline_versions(pipeline, page_size=10, filter=called(name))
    return found.pipeline_versions or []


def pipeline_version(client: KfpClient, pipeline: str, name: str = "") -> Any:
    """A version by its name, or the newest; None where there is none.

    Raises:
        EdgelineError: the name has the digest of other content than the version has.
    """
    if not name:
        found = client.list_pipeline_versions(pipeline, page_size=1, sort_by="created_at desc")
        return (found.pipeline_versions or [None])[0]
    named = pipeline_versions(client, pipeline, name)
    true = [one for one in named if not versions.misnamed(name, one.pipeline_spec)]
    if named and not true:
        raise EdgelineError(
            f"Version {name} on the server has other content than its name says: somebody who may "
            "upload there took the name. Delete that version and upload your own."
        )
    return (true or [None])[0]


def experiment_id(client: KfpClient, name: str) -> str:
    """The identifier of an experiment, made where there is none.

    Of two who make it at once both get it: the server tells the second that it is there.

    Raises:
        ApiException: one may not look, or not make any.
    """
    from kfp_server_api import ApiException

    if found := _experiment(client, name):
        return found
    try:
        return new_experiment(client, name)
    except ApiException as error:
        if error.status == CONFLICT and (found := _experiment(client, name)):
            return found
        raise


def new_experiment(client: KfpClient, name: str) -> str:
    """The identifier of an experiment that is made now.

    Raises:
        ApiException: one may not make any, or it is there.
    """
    from kfp_server_api import V2beta1Experiment

    new = V2beta1Experiment(display_name=name, namespace=client.get_user_namespace())
    made = client._experiment_api.experiment_service_create_experiment(experiment=new)
    return str(made.experiment_id)


def _experiment(client: KfpClient, name: str) -> str | None:
    namespace = client.get_user_namespace() or None
    found = client.list_experiments(filter=called(name), namespace=namespace).experiments
    return str(found[0].experiment_id) if found else None


def _patient_client(host: str, namespace: str) -> KfpClient:
    import urllib3

    class Client(import_client().Client):  # type: ignore[misc]
        _health: Any = None

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

        def _load_context_setting_or_default(self) -> None:
            """Ours, not a file's: kfp takes `kubeflow` for none given, and asks its file then."""
            self._context_setting = {"namespace": namespace}

        def set_user_namespace(self, namespace: str) -> None:
            """For this client; kfp would note it in its file, for all clients after it."""
            self._context_setting["namespace"] = namespace.strip()

        def get_kfp_healthz(self, sleep_duration: int = 0) -> Any:  # noqa: ARG002
            """Once: kfp asks five times in 25 s, whatever the answer, and prints each traceback."""
            if self._health is None:
                _guard(self, host)  # this is the first request
                ask = self._healthz_api.healthz_service_get_healthz
                health = ask(_request_timeout=TIMEOUT)
                if getattr(health, "multi_user", None) is None:
                    # Kubeflow's pages leave it out while the API server behind them is not ready
                    raise EdgelineError(
                        f"{host} does not say whether it has several teams: is it a server of "
                        "KFP, and ready?"
                    )
                self._health = health
            return self._health

    return Client


def _guard(client: KfpClient, host: str) -> None:
    """No request waits for ever, no page to sign in on passes for an empty answer, no token shows.

    A server or a proxy may send back what it was sent; that must not reach a terminal or a log.
    """
    api = client._healthz_api.api_client
    rest = api.rest_client  # which all parts of the client share
    ask = rest.request

    def request(method: str, url: str, **given: Any) -> Any:
        try:
            answer = ask(method, url, **{**given, "_request_timeout": TIMEOUT})
        except Exception as error:
            token = api.configuration.api_key.get("authorization")
            if token and token in f"{error}{getattr(error, 'body', '')}":
                status = getattr(error, "status", None) or type(error).__name__
                said = f"{host} refuses ({status}), and repeats the token, which is not shown here"
                raise EdgelineError(f"{said}: {TOKEN_HINT}.") from None
            raise
        if "html" in answer.urllib3_response.headers.get("Content-Type", ""):
            raise EdgelineError(f"{host} answers with a page to sign in on: {TOKEN_HINT}.")
        return answer

    rest.request = request


def _credentials() -> Any:
    path = token_file()
    if not Path(path).exists():
        if os.environ.get(TOKEN_PATH):
            raise EdgelineError(f"{TOKEN_PATH} names {path}, which is not there.")
        return None
    tokens.read(path)
    return _TokenFile(path)


@dataclass(frozen=True)
class _TokenFile:
    """What kfp asks for a token before each request, as of its `TokenCredentialsBase`."""

    path: str

    def refresh_api_key_hook(self, config: Any) -> None:
        config.api_key["authorization"] = tokens.read(self.path)
