"""Kubeflow's registry of models (Hub, formerly Model Registry): published versions in it.

The client is the one that `kubeflow.hub` is a face of: `mr_openapi` of the package model-registry,
generated from the server's API, and imported here alone. The face registers in three requests that
it does not take up again, knows no externalId, refuses https without a token, and sends a pod's own
token to any address where none is given.

All that is done here may be done twice without effect: a version and its artifact are looked up by
their externalId, which stands for name, content and place, before they are made, and the server
takes each externalId and each name once.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from edgeline.errors import EdgelineError, UsageError, first_line
from edgeline.tracking.entries import OURS, VersionToRegister

URL, TOKEN, TOKEN_FILE = (
    "MODEL_REGISTRY_URL",
    "MODEL_REGISTRY_TOKEN",
    "MODEL_REGISTRY_TOKEN_FILE",
)
TIMEOUT = 15.0  # seconds for an answer
AUTHOR = "edgeline"
FORMATS = {"litert": "tflite", "tflite-micro": "tflite", "onnx": "onnx", "openvino": "openvino"}
LONGEST = 250  # characters of a name that the server's tables take

_Found = TypeVar("_Found")


class RegistryError(EdgelineError):
    """The registry did not take something: it does not answer, or refuses."""


@dataclass(frozen=True)
class RegistryAddress:
    """Where a registry is, and who asks.

    Attributes:
        url: as `http://host:port`, without user, password and query.
        token: of who asks; "" for none. It is shown nowhere.
    """

    url: str
    token: str = field(default="", repr=False)


def address() -> RegistryAddress | None:
    """The registry that the environment names: MODEL_REGISTRY_URL, with a token in
    MODEL_REGISTRY_TOKEN or in the file that MODEL_REGISTRY_TOKEN_FILE names; None for none.

    Raises:
        UsageError: the address is not one, or the file cannot be read.
    """
    given = os.environ.get(URL, "").strip().rstrip("/")
    if not given:
        return None
    try:
        parts = urlsplit(given)
        known = parts.scheme in ("http", "https") and parts.hostname and (parts.port or True)
    except ValueError:
        known = False
    if not known:
        raise UsageError(f"{URL} is not an address: give one such as http://host:8080.")
    if "@" in parts.netloc or parts.query or parts.fragment:  # which may be secrets
        raise UsageError(
            f"{URL} has a user, a query or a fragment: leave it out, and give a token in {TOKEN} "
            f"or {TOKEN_FILE}."
        )
    return RegistryAddress(given, _token())


def _token() -> str:
    file = os.environ.get(TOKEN_FILE, "")
    if not file:
        return os.environ.get(TOKEN, "").strip()
    try:  # each time, since Kubernetes renews it
        token = Path(file).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not text"
        raise UsageError(f"{TOKEN_FILE} names {file}, which cannot be read ({why}).") from error
    if not token:
        raise UsageError(f"{TOKEN_FILE} names {file}, which is empty.")
    return token


def external_id(version: VersionToRegister) -> str:
    """What tells a published version from all others: 64 hexadecimal digits of its name, content
    and place."""
    known = (version.name, version.tags.get(f"{OURS}bundle_digest", ""), version.uri)
    return f"edgeline-{hashlib.sha256(chr(0).join(known).encode()).hexdigest()}"


def register(place: RegistryAddress, versions: Sequence[VersionToRegister]) -> None:
    """Register published versions, each with its artifact; those that are there stay as they are.

    Raises:
        RegistryError: the registry does not answer, or refuses.
        ModuleNotFoundError: model-registry is not installed.
    """
    import asyncio

    import aiohttp
    from mr_openapi.exceptions import ApiException, OpenApiException

    try:
        asyncio.run(_register(place, versions))
    except ApiException as error:
        raise RegistryError(_refusal(place, error)) from None  # whose text has all headers
    except (OpenApiException, LookupError, TypeError, ValueError) as error:  # of its schemas
        raise RegistryError(
            f"The registry at {place.url} answers in another form than Kubeflow's: "
            f"{type(error).__name__}."
        ) from None
    except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
        said = first_line(error) or f"no answer in {TIMEOUT:g} s"
        raise RegistryError(f"The registry at {place.url} does not answer: {said[:300]}.") from None


async def _register(place: RegistryAddress, versions: Iterable[VersionToRegister]) -> None:
    from mr_openapi import ApiClient, Configuration, ModelRegistryServiceApi

    settings = Configuration(host=place.url, access_token=place.token or None)
    async with ApiClient(settings) as client:
        api = ModelRegistryServiceApi(client)
        # else a 404 of another server would be taken for a model that is not there
        await api.get_registered_models(page_size="1", _request_timeout=TIMEOUT)
        for version in versions:
            await _register_one(api, version)


async def _register_one(api: Any, version: VersionToRegister) -> None:
    from mr_openapi import (
        Artifact,
        ModelArtifact,
        ModelVersionCreate,
        RegisteredModelCreate,
    )

    key, name = external_id(version), version.name[:LONGEST]
    model = await _found_or_made(
        lambda: api.find_registered_model(name=name, _request_timeout=TIMEOUT),
        lambda: api.create_registered_model(
            RegisteredModelCreate(name=name, owner=AUTHOR), _request_timeout=TIMEOUT
        ),
    )
    number = version.tags.get(f"{OURS}version", "")
    own = ModelVersionCreate(
        name=await _free_name(api, model.id, number, key),
        external_id=key,
        registered_model_id=model.id,
        author=AUTHOR,
        description=_description(version),
        custom_properties=_properties(version),
    )
    registered = await _found_or_made(
        lambda: api.find_model_version(external_id=key, _request_timeout=TIMEOUT),
        lambda: api.create_model_version(own, _request_timeout=TIMEOUT),
    )
    artifact = ModelArtifact(
        artifact_type="model-artifact",
        name=name,  # by which kubeflow.hub asks for it
        external_id=key,
        uri=_uri(version.uri),
        model_format_name=FORMATS.get(version.tags.get(f"{OURS}target", ""), "edgeline"),
        model_format_version="1",
        model_source_kind=AUTHOR,
        model_source_class="run",
        model_source_group=version.tags.get(f"{OURS}pipeline"),
        model_source_id=version.tags.get(f"{OURS}run"),
        model_source_name=f"{version.name}/{number}",
        custom_properties=_properties(version),
    )
    await _found_or_made(
        lambda: api.find_model_artifact(external_id=key, _request_timeout=TIMEOUT),
        lambda: api.upsert_model_version_artifact(
            registered.id, Artifact(artifact), _request_timeout=TIMEOUT
        ),
    )


async def _free_name(api: Any, model: str, number: str, key: str) -> str:
    """The bundle's number; where another content has it in this registry, the number and a part of
    the content's key."""
    from mr_openapi.exceptions import NotFoundException

    try:
        other = await api.find_model_version(
            name=number, parent_resource_id=model, _request_timeout=TIMEOUT
        )
    except NotFoundException:
        return number
    return number if other.external_id == key else f"{number}-{key.rpartition('-')[2][:12]}"


async def _found_or_made(
    find: Callable[[], Awaitable[_Found]], make: Callable[[], Awaitable[_Found]]
) -> _Found:
    """What is there, or is made; another process may do so at the same time.

    The server calls a second one a conflict, of an artifact an error of its own.
    """
    from mr_openapi.exceptions import ConflictException, NotFoundException, ServiceException

    with contextlib.suppress(NotFoundException):
        return await find()
    try:
        return await make()
    except (ConflictException, ServiceException):
        with contextlib.suppress(NotFoundException):
            return await find()
        raise


def _properties(version: VersionToRegister) -> dict[str, Any]:
    from mr_openapi import MetadataStringValue, MetadataValue

    return {
        name: MetadataValue(
            MetadataStringValue(string_value=value, metadata_type="MetadataStringValue")
        )
        for name, value in version.tags.items()
    }


def _description(version: VersionToRegister) -> str:
    told = version.tags.get
    waits = f", waits as candidate {told(f'{OURS}candidate')}" if told(f"{OURS}candidate") else ""
    return f"{told(f'{OURS}target')}, {told(f'{OURS}quantisation')}{waits}"


def _uri(uri: str) -> str:
    """Where the bundle is; of a folder, on which machine."""
    return uri if "://" in uri else f"file://{socket.gethostname()}{Path(uri).as_posix()}"


def _refusal(place: RegistryAddress, error: Any) -> str:
    """Why the registry refuses, without what it was sent."""
    if error.status in (401, 403):
        given = f"the token of {TOKEN_FILE if os.environ.get(TOKEN_FILE) else TOKEN}"
        what = f"{given} is not enough" if place.token else f"give a token in {TOKEN_FILE}"
        return f"The registry at {place.url} refuses ({error.status} {error.reason}): {what}."
    if error.status == 404:
        return (
            f"At {place.url} is no registry of models that speaks Kubeflow's API v1 (404): correct "
            f"{URL}, or take Hub 0.3 or later."
        )
    return f"The registry at {place.url} refuses: {error.status} {error.reason}."
