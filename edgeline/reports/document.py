"""A whole HTML document in one file: style, body and a script that its policy names by its hash.

No script but that one runs, and it is the same bytes in every document: a name or a value from the
data is never a part of it. Nothing is loaded from outside; a document without the script can be
read, too.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from importlib import resources
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

if TYPE_CHECKING:
    from jinja2 import Template

HERE = "edgeline.reports"
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def document(
    title: str,
    body: Markup,
    script: str,
    style: str = "",
    frames: str = "",
    reload: int = 0,
) -> str:
    """The HTML of a document.

    Args:
        title: text, escaped here.
        script: JavaScript, which must not hold anything of the data.
        style: CSS beside the one of all documents.
        frames: sources of the policy's `frame-src`; "" where it has no frame.
        reload: seconds after which a browser loads it again; 0 for never.
    """
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"{POLICY}; script-src 'sha256-{digest}'"
    return template(HERE, "document.html").render(
        title=title,
        body=body,
        script=Markup(script),
        style=Markup(text(HERE, "style.css") + style),
        policy=Markup(f"{policy}; frame-src {frames}" if frames else policy),
        reload=reload,
    )


def fill(package: str, name: str, /, **values: Any) -> Markup:
    """A template of a package with its values, which are escaped unless they are `Markup`."""
    return Markup(template(package, name).render(**values))


@functools.cache
def text(package: str, name: str) -> str:
    """A file of a package."""
    return resources.files(package).joinpath(name).read_text(encoding="utf-8")


@functools.cache
def template(package: str, name: str) -> Template:
    """A template of a package, in which everything is escaped that is not `Markup`."""
    from jinja2 import Environment

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(text(package, name))
