"""The command line in this process, in a folder with files of many kinds."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
from pathlib import Path

import pytest

from edgeline.cli import main as cli


class Edgeline:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch, self.capsys = monkeypatch, capsys

    def __call__(self, *arguments: str) -> tuple[int, str]:
        """Exit code and all that is printed, in one line."""
        done = self.ended(*arguments)
        return done.returncode, " ".join((done.stdout + done.stderr).split())

    def ended(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The command as a process of its own would have ended, without the time to start one."""
        self.monkeypatch.setattr("sys.argv", ["edgeline", *arguments])
        # a handler of a test before may write to what captured that test, which is closed
        streams = {each: getattr(each, "stream", None) for each in logging.root.handlers}
        handlers = [each for each in streams if not getattr(streams[each], "closed", False)]
        logging.root.handlers[:] = handlers
        before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGHUP)}
        code: object = 0
        try:
            cli.main()
        except SystemExit as ended:
            code = ended.code or 0
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)
            logging.root.handlers[:] = handlers  # `serve` logs to what is captured here
        out, err = self.capsys.readouterr()
        assert isinstance(code, int)
        return subprocess.CompletedProcess(arguments, code, out, err)


@pytest.fixture
def edgeline(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Edgeline:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KF_PIPELINES_ENDPOINT", raising=False)
    monkeypatch.setenv("EDGELINE_KEY_PASSPHRASE", "a passphrase of the tests")
    (tmp_path / "model.tflite").touch()
    (tmp_path / "bundle").mkdir()
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "snapshot.pem").touch()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "manifest.json").write_text("{}")
    (tmp_path / "broken.yaml").write_text("a: [1\n")
    (tmp_path / "list.yaml").write_text("[]\n")
    (tmp_path / "none.py").write_text("pipeline = 5\n")
    (tmp_path / "raises.py").write_text("import nowhere_to_be_found\n")
    (tmp_path / "one.py").write_text(
        "from kfp import dsl\n\n\n"
        "@dsl.component\ndef pipeline(a: dsl.Input[dsl.Dataset]):\n    pass\n"
    )
    (tmp_path / "other.yaml").write_text("name: other\nfrobnicate: 1\n")
    (tmp_path / "ok.yaml").write_text("kind: ConfigMap\n")
    (tmp_path / "deep.yaml").write_text("[" * 100_000)
    (tmp_path / "three.yaml").write_text("3\n")
    (tmp_path / "info.yaml").write_text("{pipelineInfo: 3}\n")
    (tmp_path / "root.yaml").write_text("{pipelineInfo: {name: a}, root: 3}\n")
    (tmp_path / "text.onnx").write_text("text\n")
    (tmp_path / "text.npz").write_text("text\n")
    (tmp_path / "dir.py").mkdir()
    for name in ("pipe.tflite", "pipe.pem", "pipe.py", "pipe.yaml"):
        os.mkfifo(tmp_path / name)
    (tmp_path / "circle.yaml").symlink_to("circle.yaml")
    for name in ("huge.yaml", "huge.tflite"):
        with open(tmp_path / name, "wb") as file:
            file.truncate(5 << 30)  # of which the disk has nothing
    return Edgeline(monkeypatch, capsys)
