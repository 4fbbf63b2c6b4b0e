"""Labels to the answers that wait for them: from requests, and from files in a place.

`--labels` names a file of JSON lines, a folder of them, or `s3://`, `gs://`, `abfs://` or
`minio://bucket/prefix`; `.gz` files are decompressed. It is looked through at the start and every
`--label-poll` seconds; a file is read when it is new or has changed, and a label that came before
is repeated then, and changes nothing.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import itertools
import logging
import math
import threading
import zlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from edgeline.errors import EdgelineError, UsageError, first_line
from edgeline.server.settings import ServerSettings
from edgeline.server.watching.decay import Decay
from edgeline.server.watching.labels import (
    LONGEST,
    PIECE,
    RESULTS,
    LabelLine,
    LabelResults,
    lines_of,
    read_line,
)
from edgeline.server.watching.watched_models import Watching
from edgeline.stores.endpoints import STORES
from edgeline.stores.objects import Objects

log = logging.getLogger("edgeline.server")
ENDINGS = (".jsonl", ".json", ".jsonl.gz", ".json.gz")
MOST_BYTES = 1 << 30  # of a file, decompressed
_MOST_PLACES = 100_000  # files that are remembered

OnLabels = Callable[[str, list[dict[str, Any]]], None]  # of a model


class Labelling:
    """The labels of all models. Safe for threads.

    Attributes:
        counts: labels by result.
        files: what came of files: read, failed.
    """

    def __init__(
        self,
        settings: ServerSettings,
        watching: Watching,
        models: Callable[[], Iterable[str]],
        on_labels: OnLabels | None = None,
    ) -> None:
        """`models` gives the names of the models that are served, and `on_labels` is told of labels
        that have found their answers.

        Raises:
            UsageError: `labels` is a place that cannot be read from.
            EdgelineError: the environment has no keys for it.
        """
        self._watching, self._models, self._on_labels = watching, models, on_labels
        self.counts: Counter[str] = Counter()
        self.files: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._seen: dict[str, object] = {}
        self._place, self._every = settings.labels, settings.label_poll
        self._stop = threading.Event()
        if self._place:
            _check(self._place)
            threading.Thread(target=self._run, name="labels", daemon=True).start()

    def join(self, data: Iterable[bytes], model: str = "", where: str = "Line") -> LabelResults:
        """Join JSON lines.

        Args:
            data: the lines.
            model: what lines are of that name none; "": the only one that is served.
            where: what a line is called in problems, before its number.
        """
        results = LabelResults()
        pieces: dict[str, _Piece] = {}
        for place, line in lines_of(data, results, where):
            try:
                name = self._name(line.get("model") or model)
                if model and name != model:
                    raise EdgelineError(f"it names {name[:100]!r}, and {model[:100]!r} was asked")
                found = read_line(line)
                if name not in pieces:
                    on_labels = partial(self._on_labels, name) if self._on_labels else None
                    pieces[name] = _Piece(self._decays(name), on_labels)
                pieces[name].add(found, place, line)
            except EdgelineError as error:
                results.refuse(place, str(error).rstrip("."))
                continue
            if len(pieces[name].keys) >= PIECE:
                pieces.pop(name).join(results)
        for piece in pieces.values():
            piece.join(results)
        with self._lock:
            self.counts.update(results.counts)
        return results

    def look(self) -> LabelResults:
        """Read what is new in the place of `--labels`; what came of its lines."""
        results = LabelResults()
        for name, state, opened in self._files():
            if self._stop.is_set() or self._seen.get(name) == state:
                continue
            try:
                with opened() as stream:
                    found = self.join(_lines(stream), where=f"{name} line")
            except (EdgelineError, OSError, EOFError, zlib.error) as error:
                self.files["failed"] += 1
                log.warning("The labels in %s cannot be read (%s).", name, first_line(error))
                continue
            self.files["read"] += 1
            results.counts += found.counts
            if len(self._seen) >= _MOST_PLACES:
                self._seen.clear()
            self._seen[name] = state
            counts = ", ".join(f"{found.counts[each]} {each}" for each in RESULTS)
            log.info("Labels of %s: %s.", name, counts)
            for problem in found.problems:
                log.warning("%s.", problem)
        return results

    @property
    def totals(self) -> dict[str, int]:
        """Labels by what came of them, of all requests and files."""
        return {result: self.counts[result] for result in RESULTS}

    def lines(self) -> Iterator[str]:
        """The counts as metrics for Prometheus."""
        for result in RESULTS:
            yield f'edgeline_labels_total{{result="{result}"}} {self.counts[result]}'
        if self._place:
            for result in ("read", "failed"):
                yield f'edgeline_label_files_total{{result="{result}"}} {self.files[result]}'

    def close(self) -> None:
        """Look for no more files."""
        self._stop.set()

    def _name(self, asked: Any) -> str:
        names = list(self._models())
        if asked in names:
            return str(asked)
        if asked:
            raise EdgelineError(f"there is no model {str(asked)[:100]!r}")
        if len(names) == 1:
            return names[0]
        raise EdgelineError(f"{len(names)} models are served: name one in 'model'")

    def _decays(self, name: str) -> list[Decay]:
        decays = self._watching.decays(name)
        if not decays:
            raise EdgelineError(
                f"no answer of {name[:100]!r} waits for labels: its bundle has no reference, its "
                "task is not known, or --drift-rate is 0"
            )
        return decays

    def _run(self) -> None:
        while not any(self._watching.decays(name) for name in list(self._models())):
            if self._stop.wait(min(1.0, self._every)):  # no model is there whose labels they are
                return
        pause = 0.0
        while not self._stop.wait(pause):
            pause = self._every
            try:
                self.look()
            except (EdgelineError, OSError) as error:
                self.files["failed"] += 1
                log.warning("Labels cannot be looked for (%s).", first_line(error))
            except Exception:
                self.files["failed"] += 1
                log.exception("Looking for labels failed.")

    def _files(self) -> Iterator[tuple[str, object, Callable[[], Any]]]:
        """The files of the place: what each is called, what changes with it, and how to open it."""
        assert self._place
        if "://" in self._place:
            yield from _objects(self._place)
            return
        place = Path(self._place)
        files = [place] if place.is_file() else sorted(place.rglob("*"))
        for file in files:
            if file.is_file() and (file == place or file.name.endswith(ENDINGS)):
                state = file.stat()
                opened = gzip.open if file.name.endswith(".gz") else open
                yield str(file), (state.st_size, state.st_mtime_ns), partial(opened, file, "rb")


class _Piece:
    """Labels that are joined at once, as each version reads them: NaN where it cannot."""

    def __init__(
        self, decays: list[Decay], on_labels: Callable[[list[dict[str, Any]]], None] | None = None
    ) -> None:
        self._decays, self._on_labels = decays, on_labels
        self._lines: list[tuple[int, int, dict[str, Any]]] = []  # the labels of each, where told
        self.keys, self._truth = array("Q"), [array("d") for _ in decays]
        self._doubts: list[tuple[int, int, str, str]] = []  # labels, where they stood, and why

    def add(self, line: LabelLine, place: str, sent: Mapping[str, Any]) -> None:
        """Take in a line, and how it was sent.

        Raises:
            EdgelineError: no version can read it.
        """
        found: list[tuple[float, ...] | None] = []
        doubt: EdgelineError | None = None
        for decay in self._decays:
            try:
                found.append(decay.of.reader.read(line.values))
            except EdgelineError as error:
                doubt = error
                found.append(None)
        if doubt is not None and not any(each is not None for each in found):
            raise doubt
        if doubt is not None:
            first = len(self.keys)
            why = str(doubt).rstrip(".")
            self._doubts.append((first, first + len(line.keys), place, why))
        if self._on_labels is not None:
            told = {name: value for name, value in sent.items() if name != "model"}
            self._lines.append((len(self.keys), len(self.keys) + len(line.keys), told))
        self.keys.extend(line.keys)
        for truth, values in zip(self._truth, found, strict=True):
            truth.extend(
                values if values is not None else itertools.repeat(math.nan, len(line.keys))
            )

    def join(self, results: LabelResults) -> None:
        """Give the labels to the versions that can read them. One that some version cannot read,
        and no other one knows, is refused."""
        keys = np.array(self.keys, np.uint64)
        fresh, known, thinned = np.zeros((3, len(keys)), bool)
        for decay, values in zip(self._decays, self._truth, strict=True):
            truth = np.array(values, np.float64)
            read = np.flatnonzero(~np.isnan(truth))
            found = decay.join(keys[read], truth[read])
            fresh[read] |= found.fresh
            known[read] |= found.known
            thinned[read] |= found.thinned
        if self._on_labels is not None:
            joined = [told for first, last, told in self._lines if fresh[first:last].any()]
            if joined:
                self._on_labels(joined)
        unknown = ~known
        for first, last, place, why in self._doubts:
            if not known[first:last].any():
                unknown[first:last] = False
                results.refuse(place, why)
        results.counts["joined"] += int(fresh.sum())
        results.counts["repeated"] += int((known & ~fresh).sum())
        results.counts["thinned"] += int((unknown & thinned).sum())
        results.counts["unknown"] += int((unknown & ~thinned).sum())


def _objects(place: str) -> Iterator[tuple[str, object, Callable[[], Any]]]:
    parts = urlsplit(place)
    objects = _bucket(place)
    folder = parts.path.strip("/")
    for entry in objects.below(folder + "/" if folder else ""):
        if entry.key.endswith(ENDINGS):
            opened = partial(_object, objects, entry.key)
            yield f"{parts.scheme}://{parts.netloc}/{entry.key}", entry.modified, opened


def _bucket(place: str) -> Objects:
    from edgeline.stores.buckets import open_bucket

    parts = urlsplit(place)
    return open_bucket(parts.scheme, parts.netloc)


@contextlib.contextmanager
def _object(objects: Objects, key: str) -> Iterator[Any]:
    stream = objects.stream(key)
    try:
        yield gzip.GzipFile(fileobj=stream) if key.endswith(".gz") else _Plain(stream)
    finally:
        stream.close()


class _Plain(io.RawIOBase):
    """An object's stream, read by lines."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _lines(stream: Any) -> Iterator[bytes]:
    """Lines of a file, however long it takes them to end; an endless one comes in pieces."""
    buffered = stream if isinstance(stream, io.BufferedIOBase) else io.BufferedReader(stream)
    read = 0
    while line := buffered.readline(2 * LONGEST):
        read += len(line)
        if read > MOST_BYTES:
            raise EdgelineError(f"it has more than {MOST_BYTES:,} bytes: divide it")
        yield line


def _check(place: str) -> None:
    """Refuse a place that cannot be read from, as far as nobody is asked for that."""
    scheme = urlsplit(place).scheme if "://" in place else ""
    if scheme and scheme not in STORES:
        raise UsageError(
            f"--labels is {place}: give a file or a folder of JSON lines, or s3://, gs://, abfs:// "
            "or minio://bucket/prefix."
        )
    if scheme:
        _bucket(place)
    elif not Path(place).exists():
        raise UsageError(f"--labels is {place}, which does not exist: create it first.")
