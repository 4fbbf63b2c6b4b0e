"""h2spec's 145 cases of HTTP/2 on both ports, asked for a REST route; tests/server/build_h2spec.sh
builds it."""

from __future__ import annotations

import itertools
import os
import subprocess
import xml.etree.ElementTree as ET
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

CACHE = Path(os.environ.get("EDGELINE_TEST_CACHE", Path.home() / ".cache" / "edgeline-tests"))
H2SPEC = CACHE / "bin" / "h2spec"
CASES = 145
# what the port for both says to a client that speaks neither is said in HTTP/1.1
NOT_ON_THE_SHARED_PORT = {"Sends invalid connection preface"}
# h2spec's headers are above 16 kB, and the server takes frames of up to 1 MiB; see LARGE
NEEDS_LARGER_HEADERS = {"Sends a large size HEADERS frame that exceeds the SETTINGS_MAX_FRAME_SIZE"}
LARGE = ("http2/4.2/3", "--max-header-length", "250000")

pytestmark = pytest.mark.skipif(
    not H2SPEC.exists(), reason="NOT TESTED: HTTP/2 by h2spec: run tests/server/build_h2spec.sh"
)


def failures(port: int, report: Path, *arguments: str) -> tuple[int, set[str]]:
    """How many cases ran, and what those that failed do."""
    subprocess.run(
        [H2SPEC, "-h", "127.0.0.1", "-p", str(port), "-P", "/v2/health/live", "-o", "10", "-j",
         str(report), *arguments],
        capture_output=True, timeout=300, check=False,
    )  # fmt: skip
    text = report.read_text().replace("\0", "")  # of a payload, which is not XML
    cases = list(ET.fromstring(text).iter("testcase"))
    failed = {
        case.attrib["classname"]
        for case in cases
        if case.find("failure") is not None or case.find("error") is not None
    }
    return len(cases), failed


def test_both_ports_speak_http2_as_h2spec_has_it(start, store, tmp_path):
    server = start(store)
    with ThreadPoolExecutor() as pool:  # it waits more than it computes
        asked = [
            (port, arguments, pool.submit(failures, port, tmp_path / f"{place}.xml", *arguments))
            for place, (port, arguments) in enumerate(
                itertools.product((server.http, server.grpc), ((), LARGE))
            )
        ]
    for port, arguments, found in asked:
        excused = NOT_ON_THE_SHARED_PORT if port == server.http else set()
        wanted = (1, set()) if arguments else (CASES, NEEDS_LARGER_HEADERS | excused)
        assert found.result() == wanted, (port, arguments)
