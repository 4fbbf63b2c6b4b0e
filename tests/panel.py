"""A report as Kubeflow's pages show it: in a frame that is 522 px wide, in a real browser."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

WIDTH = 522
BROWSER = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--window-size=1000,600", "--dump-dom",
)  # fmt: skip
# of each frame, what is wider than its box, ends beyond the window, or is not shown of a matrix;
# the graph of a model's operators is a map
LOOK = """<script>
addEventListener("load", () => {
  const cut = {};
  for (const frame of document.querySelectorAll("iframe")) {
    const page = frame.contentWindow, found = [];
    for (const element of page.document.body.querySelectorAll("*")) {
      const box = element.getBoundingClientRect();
      if (!box.width || element.closest(".ops") || element.parentElement.closest("svg")) continue;
      const clips = page.getComputedStyle(element).overflowX != "visible";
      const wide = clips && element.scrollWidth > element.clientWidth + 1;
      const shown = element.innerText === undefined || element.innerText.trim();
      const hidden = element.closest(".matrix") && element.textContent.trim() &&
        (!shown || page.getComputedStyle(element).fontSize == "0px");
      if (hidden || box.right > page.innerWidth + 1 || wide)
        found.push(element.tagName + " " + element.textContent.trim().slice(0, 80));
    }
    cut[frame.title] = [page.innerWidth, found];
  }
  document.body.textContent = JSON.stringify(cut);
});
</script>"""


def cut_in_panel(pages: dict[str, str], folder: Path, wide: int = WIDTH) -> dict[str, list[str]]:
    """What of pages, by name, cannot be seen there without scrolling to the right."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("NO CHROMIUM: the pages were not opened in a real browser")
    policy = re.compile(r"<meta http-equiv[^>]*>")  # which lets no script look into the frame
    frames = [
        f'<iframe title="{name}" width="{wide}" height="600" style="border:0" '
        f'srcdoc="{html.escape(policy.sub("", page))}"></iframe>'
        for name, page in pages.items()
    ]
    file = folder / "panels.html"
    file.write_text(f"<!doctype html><meta charset=utf-8>{LOOK}<body>{''.join(frames)}")
    command = [chromium, *BROWSER, f"--user-data-dir={folder / 'profile'}", f"file://{file}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    told = re.search(r"<body[^>]*>(\{.*\})</body>", done.stdout, re.DOTALL)
    assert told, done.stderr
    found = json.loads(html.unescape(told[1]))
    assert {name: width for name, (width, _) in found.items()} == dict.fromkeys(pages, wide)
    return {name: cut for name, (_, cut) in found.items() if cut}
