"""The documentation as a site: `make site` writes it to build/site.

The pages are the repository's own Markdown at their own places, so that a link leads to the same
page on a code host and on the site. docs/reference is written first, by reference.py.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]

import reference  # noqa: E402

from edgeline import __version__  # noqa: E402

project = "Edgeline"
copyright = "The Edgeline authors, Apache-2.0"  # noqa: A001
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "docs/index"
include_patterns = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "docs/**.md",
    "components/**/README.md",
    "images/README.md",
    "manifests/**.md",
    "benchmarks/README.md",
    "examples/target-mnn/README.md",
]
exclude_patterns = ["**/.venv", "**/node_modules"]
myst_heading_anchors = 4
suppress_warnings = ["myst.header"]  # a component's README begins with a comment

autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
autodoc_typehints = "signature"
napoleon_use_ivar = True

default_role = "code"  # as single backticks mean in our docstrings
html_theme = "furo"
html_static_path = ["site/wide.css"]
html_css_files = ["wide.css"]
html_title = f"Edgeline {release}"
html_copy_source = False
html_show_sphinx = False
html_extra_path = ["site/index.html"]  # leads from the site's root to docs/index.html


def setup(app):
    app.connect("config-inited", lambda *_: reference.main())
