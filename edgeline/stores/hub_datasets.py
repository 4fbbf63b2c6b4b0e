"""Files of data sets on Hugging Face's hub: `hf://datasets/owner/name@revision/path`.

By the hub's own client, with its settings (`HF_ENDPOINT`, `HF_TOKEN`). A branch or tag, or none,
becomes the commit that it is at, so what is recorded names what was read.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any

from edgeline.errors import EdgelineError, UsageError
from edgeline.extras import install_hint

SCHEME = "hf"
PLACE = re.compile(r"datasets/([^/@]+/[^/@]+)(?:@([^/]+))?(?:/(.*))?")


def at_commit(location: str) -> str:
    """A location without its scheme, with the commit in place of the revision.

    Raises:
        UsageError: it names no data set.
        EdgelineError: the hub does not answer, or has no such data set or revision.
    """
    name, revision, inner = _parts(location)
    with _naming(location) as hub:
        commit = hub.HfApi().dataset_info(name, revision=revision or None).sha
    return f"datasets/{name}@{commit}/{inner}"


def keys(location: str) -> list[str]:
    """Every file of the data set that a location is in, as `at_commit` writes them."""
    name, revision, _ = _parts(location)
    with _naming(location) as hub:
        listed = hub.HfApi().list_repo_files(name, revision=revision, repo_type="dataset")
    return [f"datasets/{name}@{revision}/{file}" for file in listed]


def address(location: str) -> tuple[str, dict[str, str]]:
    """The web address of a file, and the headers that the hub asks for."""
    name, revision, inner = _parts(location)
    with _naming(location) as hub:
        url = hub.hf_hub_url(name, inner, repo_type="dataset", revision=revision)
        return url, hub.utils.build_hf_headers()


def _parts(location: str) -> tuple[str, str, str]:
    found = PLACE.fullmatch(location.partition("://")[2])
    if not found:
        raise UsageError(
            f"{location} names no data set of the hub: write "
            f"{SCHEME}://datasets/owner/name@revision/path."
        )
    return found[1], found[2] or "", (found[3] or "").strip("/")


@contextlib.contextmanager
def _naming(location: str) -> Iterator[Any]:
    """The hub's client, and what it says where it fails."""
    try:
        import huggingface_hub

        yield huggingface_hub
    except ModuleNotFoundError as error:
        raise EdgelineError(f"{location}: {install_hint(error)}.") from error
    except Exception as error:  # the client has a family of exceptions, and its transport's
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise EdgelineError(
            f"{location} could not be read ({lines[0][:250].rstrip('.:')}): check the name, the "
            "revision, the network and HF_TOKEN."
        ) from error
