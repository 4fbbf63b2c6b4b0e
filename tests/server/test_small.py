"""What a server imports before it serves: memory on a small device that most never use."""

from __future__ import annotations

import json
import subprocess
import sys

# each with what brings it in: an option, a protocol, or a command of edgeline's own
UNUSED = {
    *("email", "importlib.metadata", "zipfile", "csv", "http.client", "multiprocessing"),
    *("hpack", "PIL", "tuf", "securesystemslib", "cryptography", "yaml"),
    *("click", "rich", "jinja2", "numpy.random", "numpy.fft", "numpy.ma"),
}


def test_a_server_is_imported_without_what_one_option_needs():
    code = (
        "import json, sys; before = set(sys.modules)\n"
        "import edgeline.server.__main__\n"
        "from edgeline.runtimes.interpreter import runtime; runtime()\n"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(json.loads(done.stdout)) & UNUSED == set()
