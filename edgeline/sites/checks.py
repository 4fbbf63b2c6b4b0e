"""What is not a site's settings, as far as it shows without the bundle: told before any work."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from edgeline.errors import EdgelineError, UsageError, did_you_mean
from edgeline.formats.doubles import whole
from edgeline.sites import accelerators, base, kserve, tokens
from edgeline.sites.settings import DEFAULTS, FORMS, IN_CLUSTER, ON_DEVICES, SiteSettings
from edgeline.stores import registry

LITERT = "litert"  # the target of bundles that run on a CPU
_FOLDER = re.compile(r"(/(?!\.{1,2}(/|\Z))[A-Za-z0-9._-]+)+")


def parse(given: Mapping[str, Any]) -> SiteSettings:
    """Settings that somebody wrote as an object, checked; KFP makes doubles of whole numbers.

    Raises:
        EdgelineError: a name is unknown, a value is of another type, or as `check`.
    """
    for name, value in given.items():
        if name not in DEFAULTS:
            hint = did_you_mean(str(name), DEFAULTS, "A site has")
            raise EdgelineError(f"there is no setting {name!r}. {hint}")
        kind = type(DEFAULTS[name])
        if type(whole(value)) is not kind:
            wanted = "an integer" if kind is int else "a text"
            raise EdgelineError(f"{name} is {value!r}, but must be {wanted}.")
    settings = SiteSettings(**whole(given))
    check(settings)
    return settings


def check(settings: SiteSettings) -> None:
    """Refuse settings that no site has.

    Raises:
        UsageError: one is malformed, does not fit the form or another one, or would not be used.
    """
    form = settings.form
    if form not in FORMS:
        raise UsageError(f"There is no kind of site {form!r}. {did_you_mean(form, FORMS)}")
    tokens.of(settings.tokens, not settings.is_on_device)
    model_source(settings)
    if settings.modelcar_base:
        base.check(settings.modelcar_base)
    of_devices = [name for name in ("port", "login") if getattr(settings, name) != DEFAULTS[name]]
    if of_devices and not settings.is_on_device:
        raise UsageError(
            f"The form {form} takes no {of_devices[0]}, which is for single devices "
            f"({', '.join(ON_DEVICES)}): a cluster has a Service, and the login in the Secret "
            "NAME-registry."
        )
    if not 1 <= settings.port <= 65535:
        raise UsageError(f"The port {settings.port} is not one: give an integer from 1 to 65535.")
    if settings.login and not _FOLDER.fullmatch(settings.login):
        raise UsageError(
            f"The login {settings.login!r} is not the absolute path of a folder on the device, "
            "with Docker's config.json in it."
        )
    if settings.server and not registry.parse(settings.server).digest:
        raise UsageError(
            f"The server {settings.server!r} has no digest: name it as REPOSITORY@sha256:...."
        )
    accelerators.check(settings.accelerator, not settings.is_on_device, bool(settings.server))


def check_in_cluster(form: str) -> None:
    """Refuse a form whose files something else than a cluster takes.

    Raises:
        UsageError: names the forms that one does take.
    """
    if form not in IN_CLUSTER:
        raise UsageError(f"A cluster does not take {form}: use {' or '.join(IN_CLUSTER)}.")


def model_source(settings: SiteSettings) -> str:
    """Where KServe takes the model from; "" where the form is another than KServe's.

    Raises:
        UsageError: see `kserve.source_of`.
    """
    given = (settings.model_from, settings.kserve_version, settings.modelcar_base)
    return kserve.source_of(settings.form, *given)


def bundle_target(settings: SiteSettings) -> str:
    """The target of the bundle that such a site runs."""
    return accelerators.EDGE_TPU if settings.accelerator in accelerators.CORAL else LITERT
