"""Labels to the answers that wait for them: from requests, and from files in a place.

`--labels` names a file of JSON lines, a folder of them, or `s3://`, `gs://`, `abfs://` or
`minio://bucket/prefix`; `.gz` files are decompressed. It is looked through at the start and every
`--label-poll` seconds; a file is read when it is new or has changed, and a label that came before
is repeated then, and changes nothing.
"""

from __future__ import annotations

import logging
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from edgeline.errors import EdgelineError, first_line
from edgeline.monitoring.decay import Decay
from edgeline.monitoring.joining import LabelPiece
from edgeline.monitoring.labels import (
    LONGEST,
    PIECE,
    RESULTS,
    LabelResults,
    lines_of,
    read_line,
)
from edgeline.monitoring.line_files import check_place, files_of, lines_in
from edgeline.server.settings import ServerSettings
from edgeline.server.watching.watched_models import Watching

log = logging.getLogger("edgeline.server")
_MOST_PLACES = 100_000  # files that are remembered

OnLabels = Callable[[str, list[Mapping[str, Any]]], None]  # of a model


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
            check_place(self._place, "--labels")
            threading.Thread(target=self._run, name="labels", daemon=True).start()

    def join(self, data: Iterable[bytes], model: str = "", where: str = "Line") -> LabelResults:
        """Join JSON lines.

        Args:
            data: the lines.
            model: what lines are of that name none; "": the only one that is served.
            where: what a line is called in problems, before its number.
        """
        results = LabelResults()
        pieces: dict[str, LabelPiece] = {}
        for place, line in lines_of(data, results, where):
            try:
                name = self._name(line.get("model") or model)
                if model and name != model:
                    raise EdgelineError(f"it names {name[:100]!r}, and {model[:100]!r} was asked")
                found = read_line(line)
                if name not in pieces:
                    pieces[name] = LabelPiece(self._decays(name))
                told = {field: value for field, value in line.items() if field != "model"}
                pieces[name].add(found, place, told if self._on_labels else None)
            except EdgelineError as error:
                results.refuse(place, str(error).rstrip("."))
                continue
            if len(pieces[name].keys) >= PIECE:
                self._tell(name, pieces.pop(name).join(results))
        for name, piece in pieces.items():
            self._tell(name, piece.join(results))
        with self._lock:
            self.counts.update(results.counts)
        return results

    def _tell(self, model: str, lines: list[Mapping[str, Any]]) -> None:
        if self._on_labels is not None and lines:
            self._on_labels(model, lines)

    def look(self) -> LabelResults:
        """Read what is new in the place of `--labels`; what came of its lines."""
        results = LabelResults()
        assert self._place
        for file in files_of(self._place):
            name = file.name
            if self._stop.is_set() or self._seen.get(name) == file.state:
                continue
            try:
                with file.open() as stream:
                    lines = lines_in(stream, 2 * LONGEST)
                    found = self.join(lines, where=f"{name} line")
            except (EdgelineError, OSError, EOFError, zlib.error) as error:
                self.files["failed"] += 1
                log.warning("The labels in %s cannot be read (%s).", name, first_line(error))
                continue
            self.files["read"] += 1
            results.counts += found.counts
            if len(self._seen) >= _MOST_PLACES:
                self._seen.clear()
            self._seen[name] = file.state
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
