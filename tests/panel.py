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
    f"--window-size={WIDTH},600", "--dump-dom",
)  # fmt: skip
# what is wider than its box, or ends beyond the window; the graph of a model's operators is a map
LOOK = """<script>
const found = [];
for (const element of document.body.querySelectorAll("*")) {
  const box = element.getBoundingClientRect();
  if (!box.width || element.closest(".ops") || element.parentElement.closest("svg")) continue;
  const clips = getComputedStyle(element).overflowX != "visible";
  if (box.right > innerWidth + 1 || (clips && element.scrollWidth > element.clientWidth + 1))
    found.push(element.tagName + " " + element.textContent.trim().slice(0, 80));
}
document.body.dataset.found = JSON.stringify([innerWidth, found]);
</script></body>"""


def cut_in_panel(page: str, folder: Path) -> list[str]:
    """What of a page cannot be seen there without scrolling to the right."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("NO CHROMIUM: the page was not opened in a real browser")
    policy = re.compile(r"<meta http-equiv[^>]*>")  # which lets no script run
    file = folder / "page.html"
    file.write_text(policy.sub("", page).replace("</body>", LOOK))
    command = [chromium, *BROWSER, f"--user-data-dir={folder / 'profile'}", f"file://{file}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    told = re.search(r'data-found="([^"]*)"', done.stdout)
    assert told, done.stderr
    width, found = json.loads(html.unescape(told[1]))
    assert width == WIDTH
    return list(found)
