"""What setup.cfg cannot say: an index shows the README alone, so its links are absolute there.

They lead to the release's own files, as they are under its tag.
"""

import re
from pathlib import Path

from setuptools import setup

HERE = Path(__file__).resolve().parent
HOST = "https://github.com/edgeline/edgeline"
RAW = "https://raw.githubusercontent.com/edgeline/edgeline"
LINK = re.compile(r"(?P<picture>!?)\[(?P<text>[^\]]*)\]\((?P<to>(?!https?://|#)[^)\s]+)\)")


def readme() -> str:
    """The README with absolute links."""
    found = re.search(
        r'__version__ = "(.+)"', (HERE / "edgeline" / "version.py").read_text("utf-8")
    )
    assert found
    tag = f"v{found[1]}"

    def absolute(link: re.Match[str]) -> str:
        base = f"{RAW}/{tag}" if link["picture"] else f"{HOST}/blob/{tag}"
        return f"{link['picture']}[{link['text']}]({base}/{link['to']})"

    return LINK.sub(absolute, (HERE / "README.md").read_text("utf-8"))


setup(long_description=readme())
