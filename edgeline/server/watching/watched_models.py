"""All versions that are watched: those that serve, and of each model the one that went last.

A thread counts for their watches, judges them from time to time, and saves the answers that wait
for labels. An error in one version's watch leaves the others as they are.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from time import monotonic
from typing import Any

from edgeline.artifacts.reference import Reference
from edgeline.errors import first_line
from edgeline.monitoring.column_counts import SIDES
from edgeline.monitoring.decay import Decay
from edgeline.server.metrics import escaped
from edgeline.server.settings import ServerSettings
from edgeline.server.watching.decays import gone_before
from edgeline.server.watching.drift_watch import Watch

log = logging.getLogger("edgeline.server")
_TICK = 0.2  # seconds
_LOADING = 600.0  # seconds for which a version may be loaded before it serves
_SAVE = 600.0  # seconds between two times that answers are written, where a state is kept

OnReport = Callable[[str, int, dict[str, Any]], None]  # model, version, report


class Watching:
    """The watches of all versions that serve, and the thread that counts for them.

    Labels come when a version may be gone: of each model the one that went last is kept for them.
    """

    def __init__(
        self,
        settings: ServerSettings,
        serving: Callable[[], Iterable[tuple[str, int, int]]],
        on_report: OnReport,
        on_decay: OnReport = lambda *_: None,
    ) -> None:
        self._settings, self._serving = settings, serving
        self._on_report, self._on_decay = on_report, on_decay
        self._watches: dict[tuple[str, int], Watch] = {}
        self._gone: dict[str, tuple[int, Watch]] = {}
        self.decay_told: list[dict[str, Any]] = []  # at the last look of the thread
        self.forgotten = 0  # answers that waited for labels when their version was forgotten
        self.failing: dict[tuple[str, int], str] = {}  # versions that could not be judged, and why
        self._restored: set[str] = set()  # models whose files of before were looked through
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watching", daemon=True)

    def observer(
        self, name: str, version: int, reference: Reference | None, decay: Decay | None = None
    ) -> Any:
        """What workers of a version call after each prediction; None where nothing is watched."""
        with self._lock:
            before = self._watches.pop((name, version), None)
            if before is None and self._gone.get(name, (0,))[0] == version:  # a rollback
                _, before = self._gone.pop(name)
            heir = self._heir(before, decay)
            if reference is None or not self._settings.drift_rate:
                return None
            watch = self._watches[name, version] = Watch(reference, self._settings, heir)
        if not self._thread.ident:
            self._thread.start()
        return watch.observe

    def _heir(self, before: Watch | None, decay: Decay | None) -> Decay | None:
        """What goes on with the answers that wait: those of the same bundle of before, if it was
        there, else of the state's folder."""
        if before is None or before.decay is None:
            if decay is not None:
                decay.restore()
            return decay
        before.drain()
        if decay is None or decay.of.digest != before.decay.of.digest:
            self.forgotten += before.decay.waiting
            return decay
        if before.decay.answers:
            return before.decay
        _saved(before.decay)  # it was restored to wait alone
        decay.restore()
        return decay

    def reports(self) -> list[dict[str, Any]]:
        """A report of each version that serves and has a reference."""
        self._forget()
        self._drain()
        found = []
        for (name, version), watch in sorted(self._watches.items()):
            if watch.served:
                found.append({"model": name, "version": version, **watch.report()})
        return found

    def decay_reports(self) -> list[dict[str, Any]]:
        """How good each version still is that serves, or served last and waits for labels."""
        self._forget()
        found, failing = [], {}
        for (name, version), watch in self._by_version():
            try:
                report = watch.decay_report()
            except Exception as error:  # the others are told nevertheless
                failing[name, version] = first_line(error)
                if (name, version) not in self.failing:
                    log.exception("The decay of %s %d cannot be told.", name, version)
                continue
            if report is not None:
                served = (name, version) in self._watches
                found.append({"model": name, "version": version, "served": served, **report})
        self.failing = failing
        return found

    def decays(self, model: str) -> list[Decay]:
        """What waits for labels of a model, with all that was sampled until now."""
        self._forget()
        self._drain()
        return [
            watch.decay
            for (name, _), watch in self._by_version()
            if name == model and watch.decay is not None
        ]

    def lines(self) -> Iterator[str]:
        """The statistics as metrics for Prometheus."""
        reports = self.reports()
        for name in ("rows", "drifting"):
            for report in reports:
                value = report["rows"] if name == "rows" else len(report["drifting"])
                yield f"edgeline_drift_{name}{{{_labels(report)}}} {value}"
        for name in ("psi", "ks", "unseen", "missing"):
            for report in reports:
                for side in SIDES:
                    for column, found in report[side].items():
                        value = found["missing"]["live"] if name == "missing" else found.get(name)
                        if value is not None:
                            labels = f'{_labels(report)},side="{side}",column="{escaped(column)}"'
                            yield f"edgeline_drift_{name}{{{labels}}} {value:.6g}"

    def close(self) -> None:
        """End the thread, and keep what waits for labels."""
        self._stop.set()
        self._save()

    def _by_version(self) -> list[tuple[tuple[str, int], Watch]]:
        gone = {(name, version): watch for name, (version, watch) in list(self._gone.items())}
        here = {key: watch for key, watch in list(self._watches.items()) if watch.known}
        return sorted({**gone, **here}.items(), key=lambda item: item[0])

    def _run(self) -> None:
        judged = saved = monotonic()
        while not self._stop.wait(_TICK):
            now = monotonic()
            try:
                self._drain()
                if now - judged >= self._settings.drift_judge:
                    judged = now
                    for report in self.reports():
                        self._on_report(report["model"], report["version"], report)
                    self.decay_told = self.decay_reports()
                    for report in self.decay_told:
                        self._on_decay(report["model"], report["version"], report)
                if now - saved >= _SAVE:
                    saved = now
                    self._save()
            except Exception:
                log.exception("Watching failed for a moment.")

    def _save(self) -> None:
        self._drain()
        for _, watch in self._by_version():
            if watch.decay is not None:
                _saved(watch.decay)

    def _drain(self) -> None:
        gone = [((name, version), watch) for name, (version, watch) in list(self._gone.items())]
        for (name, version), watch in [*list(self._watches.items()), *gone]:
            try:
                watch.drain()
            except Exception:  # the others are counted nevertheless
                log.exception("Watching %s %d failed for a moment.", name, version)

    def _forget(self) -> None:
        """Move what does not serve any more to the gone; restore those of before the start."""
        try:
            serving = {(name, version) for name, version, _ in self._serving()}
        except RuntimeError:  # a version came or went this very moment
            return
        with self._lock:
            for key, watch in list(self._watches.items()):
                watch.served = watch.served or key in serving
                loading = not watch.served and monotonic() - watch.began < _LOADING
                if loading or key in serving:
                    continue
                del self._watches[key]
                if watch.decay is None or not watch.known:
                    continue
                before = self._gone.get(key[0])
                self._gone[key[0]] = key[1], watch
                if before is not None and before[1].decay is not None:
                    self.forgotten += before[1].decay.waiting
            for name in {name for name, _ in self._watches} - self._restored:
                self._restored.add(name)
                served = {version for model, version in serving if model == name}
                decay = gone_before(self._settings, name, served)
                if decay is not None and name not in self._gone:
                    self._gone[name] = (
                        decay.of.version,
                        Watch(Reference({}, {}), self._settings, decay),
                    )


def _saved(decay: Decay) -> None:
    try:
        decay.save()
    except OSError as error:
        log.warning("Answers that wait for labels cannot be kept (%s).", error)


def _labels(report: Mapping[str, object]) -> str:
    return f'model="{report["model"]}",version="{report["version"]}"'
