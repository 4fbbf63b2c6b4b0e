"""An image that is signed with a key of one's own, as images/README.md shows, by the real cosign.

NOT TESTED: a signature without a key, which Sigstore's services on the Internet make.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgeline.sites.render import push_image

ROOT = Path(__file__).parents[2]
CACHE = Path(os.environ.get("EDGELINE_TEST_CACHE", "~/.cache/edgeline-tests")).expanduser()
COSIGN = CACHE / "bin" / "cosign"
INSECURE = "--allow-insecure-registry"  # the tests' registry has no TLS

pytestmark = pytest.mark.skipif(
    not COSIGN.exists(),
    reason="NOT TESTED: signatures of images; tests/images/build_cosign.sh builds cosign",
)

Run = Callable[[str], "subprocess.CompletedProcess[str]"]


def shown(verb: str) -> str:
    """The line of images/README.md that begins with `cosign VERB --key`."""
    text = (ROOT / "images" / "README.md").read_text().replace("\\\n", " ")
    [line] = re.findall(rf"^cosign {verb} --key .*$", text, re.MULTILINE)
    return str(line)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs a line in a folder with a key pair."""

    def call(line: str) -> subprocess.CompletedProcess[str]:
        _, verb, *rest = shlex.split(line)
        insecure = [INSECURE] if verb != "generate-key-pair" else []
        return subprocess.run(
            [COSIGN, verb, *insecure, *rest], cwd=tmp_path, capture_output=True, text=True,
            timeout=120, check=False,
            env={**os.environ, "COSIGN_PASSWORD": "of the tests", "HOME": str(tmp_path)},
        )  # fmt: skip

    made = call("cosign generate-key-pair")
    assert made.returncode == 0, made.stderr
    return call


def test_what_was_signed_is_verified_and_nothing_else(
    pixels: Path, registry: Any, run: Run, tmp_path: Path
) -> None:
    place = f"{registry.address}/models/mixed"
    image = push_image(str(pixels), place)
    signed = run(shown("sign").replace("IMAGE@DIGEST", image))
    assert signed.returncode == 0, signed.stderr
    verify = shown("verify").replace("IMAGE@DIGEST", image)
    verified = run(verify)
    assert verified.returncode == 0, verified.stderr
    assert image.partition("@")[2] in verified.stdout

    (tmp_path / "cosign.key").unlink()
    (tmp_path / "cosign.pub").unlink()
    assert run("cosign generate-key-pair").returncode == 0
    other_key = run(verify)
    assert other_key.returncode != 0 and "no matching" in other_key.stderr


def test_an_image_without_a_signature_is_refused(pixels: Path, registry: Any, run: Run) -> None:
    image = push_image(str(pixels), f"{registry.address}/models/mixed")
    refused = run(shown("verify").replace("IMAGE@DIGEST", image))
    assert refused.returncode != 0 and "no signatures found" in refused.stderr
