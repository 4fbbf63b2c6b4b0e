"""Take docs/run.png: the page of the newest taxi run in this folder, in a headless Chromium.

`make screenshot` runs the pipeline first. docs/run.sha256 records the sources that draw the page:
`tests/test_docs.py` fails if one has changed since.
"""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PICTURE, RECORD = (ROOT / "docs" / name for name in ("run.png", "run.sha256"))
SOURCES = (
    "edgeline/local/graph.py",
    "edgeline/local/overview.html",
    "edgeline/local/overview.py",
    "edgeline/local/page.py",
    "edgeline/local/run.css",
    "edgeline/local/run.html",
    "edgeline/local/tabs.py",
    "edgeline/reports/report.py",
    "edgeline/reports/style.css",
    "pipelines/taxi/pipeline.py",
)
SIZE = "1300,1010"


def digests() -> str:
    """The sources and their digests, as `sha256sum` prints them."""
    files = ((name, (ROOT / name).read_bytes()) for name in SOURCES)
    return "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in files)


def main() -> None:
    pages = Path("edgeline-runs").glob("taxi-*/index.html")
    page = max(pages, key=lambda file: file.stat().st_mtime)
    with tempfile.TemporaryDirectory() as folder:
        shown = Path(folder) / "run.html"
        # nobody else has this folder
        shown.write_text(page.read_text("utf-8").replace(f"{Path.cwd()}/", ""), "utf-8")
        subprocess.run(
            ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
             "--no-first-run", "--disable-background-networking", f"--user-data-dir={folder}/user",
             f"--window-size={SIZE}", f"--screenshot={PICTURE}", shown.as_uri()],
            check=True,
        )  # fmt: skip
    RECORD.write_text(digests())


if __name__ == "__main__":
    main()
