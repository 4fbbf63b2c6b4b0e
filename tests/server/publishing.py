"""For the tests of updates: a publisher, models that tell their version, a web server's faults."""

from __future__ import annotations

import shutil
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
from running import DATA, MIXED

from edgeline.artifacts import sha256, vectors
from edgeline.artifacts.bundle import Bundle, write_manifest
from edgeline.repository import actions, keys
from edgeline.server.models.loading import load
from edgeline.server.updates.order import UpdateResult

LSTM = DATA / "coral" / "keras_lstm_mnist_ptq.tflite"
# what a flipped byte makes of a model in LiteRT 2.x
CRASHING = LSTM, 12322, 1  # SIGSEGV when it is loaded or first run
HANGING = MIXED, 2171, 8  # never loaded
FAILING = MIXED, 1780, 4  # one row is answered, three are not

ROW = {"instances": [{"amount": [1, 2], "count": [1], "name": ["a"]}]}
ROWS = {"instances": ROW["instances"] * 3}
PASSPHRASE = "a passphrase of the tests"


def model(weight: float) -> bytes:
    """The mixed model with another weight: `score` of ROW is 3 * weight + 1."""
    data, two = MIXED.read_bytes(), np.float32(2.0).tobytes()
    place = data.index(two)
    return data[:place] + np.float32(weight).tobytes() + data[place + 4 :]


def broken(file: Path, place: int, value: int) -> bytes:
    """A model with one byte changed."""
    data = bytearray(file.read_bytes())
    data[place] = value
    return bytes(data)


def bundle(
    folder: Path,
    data: bytes,
    extra: bytes = b"",
    recorded: float | None = None,
    like: Path = MIXED,
) -> Path:
    """A bundle `m` of a model.

    Args:
        data: the model.
        extra: the content of one more file.
        recorded: the score that its test vectors say for ROW, None for no vectors.
        like: a model with the same signature.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "model.tflite").write_bytes(data)
    if extra:
        (folder / "extra.bin").write_bytes(extra)
    signature = load(like, "m", 1, 1, 1)[0].description.signature
    if recorded is not None:
        rows = {
            "amount": np.array([[1, 2]], np.float32),
            "count": np.array([[1]], np.int64),
            "name": np.array([[b"a"]], object),
        }
        answers = {"score": np.array([[recorded]], np.float32)}
        vectors.write(folder / vectors.FILE, vectors.Vectors(rows, answers, 1e-5))
    files = {
        file.name: {"sha256": sha256(file), "size": file.stat().st_size}
        for file in folder.iterdir()
    }
    write_manifest(
        folder,
        Bundle(
            name="m",
            version=1,
            target="litert",
            model="model.tflite",
            task="regression",
            quantisation="none",
            takes="raw",
            signature=signature,
            features=(),
            files=files,
        ),
    )
    return folder


def versions(result: UpdateResult) -> list[int]:
    """Those of `m` that a device has."""
    return sorted(result.models.get("m", {}))


def file_of(tmp_path: Path, version: int, name: str = "model.tflite") -> Path:
    """A file of `m` on the device whose state lies below a folder."""
    return tmp_path / "state" / "models" / "m" / str(version) / name


class Publisher:
    """A signed repository below a folder: `root` is what a device trusts."""

    def __init__(self, folder: Path, days: dict[str, float] | None = None) -> None:
        self.folder, self.path = folder, folder / "repository"
        self.keys = folder / "keys"
        actions.init(str(self.path), {}, self.keys, days=days)
        self.root = folder / "root.json"
        shutil.copy(self.path / "metadata" / "1.root.json", self.root)

    def add(self, data: bytes, **more) -> int:
        """Publish a model; its version."""
        labels, candidate = more.pop("labels", ()), more.pop("candidate", "")
        made, outcome = actions.add(
            str(self.path),
            bundle(self.folder / "bundle", data, **more),
            [str(self.keys)],
            labels,
            candidate=candidate,
        )
        assert outcome.live
        return made.version

    def withdraw(self, version: int) -> None:
        """Take a version back."""
        _, outcome = actions.withdraw(str(self.path), "m", version, [str(self.keys)])
        assert outcome.live

    def sign(self) -> None:
        """What cron does."""
        actions.sign(str(self.path), [str(self.keys)])

    def key(self, name: str) -> str:
        """A new key; its reference."""
        keys.generate(self.folder / f"{name}.pem")
        return str(self.folder / f"{name}.pem")

    def file(self, version: int, name: str = "model.tflite") -> Path:
        return self.path / "targets" / "m" / str(version) / name

    def metadata(self, name: str) -> Path:
        return self.path / "metadata" / name


class Web:
    """A web server of a folder, with ranges.

    Attributes:
        cut: bytes of each answer below targets/ after which the connection breaks; None for
            never.
        sent: bytes of answers, by path.
        stall: whether they stay open then, with nothing coming.
        down: whether connections are closed without an answer.
        refuse: a status that answers everything; 0 for none.
        ranges: the ranges that were asked for.
    """

    def __init__(self, folder: Path) -> None:
        self.cut: int | None = None
        self.sent: dict[str, int] = {}
        self.ranges: list[str] = []
        self.down = self.stall = False
        self.refuse = 0
        handler = partial(_Handler, self, directory=str(folder))
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, web: Web, *arguments, **options) -> None:
        self._web = web
        super().__init__(*arguments, **options)

    def do_GET(self) -> None:
        web, file = self._web, Path(self.translate_path(self.path))
        if web.down:
            self.close_connection = True
            return
        if web.refuse or not file.is_file():
            self.send_error(web.refuse or 404)
            return
        content, start = file.read_bytes(), 0
        if asked := self.headers.get("Range"):
            web.ranges.append(asked)
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        body = content[start:]
        if web.cut is not None and self.path.startswith("/targets/"):
            body = body[: web.cut]
            self.close_connection = True
        web.sent[self.path] = web.sent.get(self.path, 0) + len(body)
        self.wfile.write(body)
        while web.stall and web.cut is not None:
            time.sleep(0.05)

    def log_message(self, *_) -> None:
        pass
