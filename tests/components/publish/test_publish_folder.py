"""What is particular to a folder: a kill, a full disk, damage."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from edgeline.components.publish.publish import publish
from edgeline.errors import EdgelineError
from edgeline.stores.store import fetch, open_store


def child(source, *arguments):
    """Run Python code in a process of its own."""
    code = textwrap.dedent(source)
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)


KILLED = """
    import json, os, shutil, signal, sys
    from edgeline.stores import folder_store
    from edgeline.components.publish.publish import publish

    def half(reader, writer, length):
        writer.write(reader.read(1 << 16))
        writer.flush()
        os.kill(os.getpid(), signal.SIGKILL)

    folder_store.shutil.copyfileobj = half
    publish(**json.loads(sys.argv[1]))
"""


def test_a_kill_in_the_middle_leaves_nothing_to_see(inputs, tmp_path):
    store = tmp_path / "store"
    arguments = {
        **inputs(size=1 << 20),
        "bundle_path": str(tmp_path / "output"),
        "name": "taxi",
        "destination": str(store),
    }
    assert child(KILLED, json.dumps(arguments)).returncode == -signal.SIGKILL
    (leftover,) = (store / "taxi").iterdir()
    assert any(file.stat().st_size for file in leftover.iterdir())
    assert open_store(str(store)).versions("taxi") == []
    assert not (tmp_path / "output").exists()

    yesterday = time.time() - 25 * 60 * 60
    os.utime(leftover, (yesterday, yesterday))
    assert publish(**arguments).version == 1
    assert [entry.name for entry in (store / "taxi").iterdir()] == ["1"]
    fetch(f"{store}/taxi/1", tmp_path / "fetched")


FULL = """
    import json, resource, sys
    from edgeline.stores.folder_store import FolderStore
    from edgeline.components.publish.publish import publish
    from edgeline.errors import EdgelineError

    put = FolderStore.put
    def limited(*arguments):  # no file beyond this size can be written from here on
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))
        return put(*arguments)

    FolderStore.put = limited
    try:
        publish(**json.loads(sys.argv[1]))
    except EdgelineError as error:
        print(error)
"""


def test_a_disk_that_takes_no_more(inputs, tmp_path):
    arguments = {
        **inputs(size=1 << 20),
        "bundle_path": str(tmp_path / "output"),
        "name": "taxi",
        "destination": str(tmp_path / "store"),
    }
    ran = child(FULL, json.dumps(arguments))
    assert "store cannot be used (File too large): check the path" in ran.stdout, ran.stderr
    assert list((tmp_path / "store/taxi").iterdir()) == []
    assert not list(tmp_path.glob("output*"))


@pytest.mark.parametrize("destination", ["{}", "file://{}"])
def test_damage_is_found_on_fetch(inputs, tmp_path, destination):
    store = tmp_path / "store"
    destination = destination.format(store)
    publish(**inputs(), bundle_path=tmp_path / "output", name="taxi", destination=destination)
    model = store / "taxi/1/model.tflite"
    model.write_bytes(model.read_bytes().replace(b"one", b"two"))
    with pytest.raises(EdgelineError, match=r"taxi/1/model.tflite is damaged: fetch or publish"):
        fetch(f"{destination}/taxi/1", tmp_path / "fetched")
    model.unlink()
    with pytest.raises(EdgelineError, match=r"taxi/1/model.tflite is missing"):
        fetch(f"{destination}/taxi/1", tmp_path / "fetched")
    (store / "taxi/1").rename(store / "taxi/5")
    with pytest.raises(EdgelineError, match=r"taxi/5/manifest.json belongs to taxi 1"):
        fetch(f"{destination}/taxi/5", tmp_path / "fetched")
    (store / "taxi/5/manifest.json").write_text("{")
    with pytest.raises(EdgelineError, match=r"taxi/5/manifest.json is not JSON"):
        fetch(f"{destination}/taxi/5", tmp_path / "fetched")
    assert not list(tmp_path.glob("fetched*"))


def test_a_destination_that_is_a_file(inputs, tmp_path):
    Path(tmp_path / "store").write_text("")
    with pytest.raises(EdgelineError, match=r"store cannot be used \(Not a directory\)"):
        publish(
            **inputs(),
            bundle_path=tmp_path / "output",
            name="taxi",
            destination=str(tmp_path / "store"),
        )
