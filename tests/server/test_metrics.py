"""What Prometheus reads: every metric once, under its head, named as promtool wants it."""

from __future__ import annotations

import re
from pathlib import Path

from edgeline.server import metrics
from edgeline.server.metrics import METRICS, Metrics

SERVER = Path(metrics.__file__).parent


def rendered(*others: str) -> list[str]:
    made = Metrics()
    for version in (1, 2):
        made.of("m", version).done(0.1, 0.2, None)
        made.of("m", version).rejected("queue_full")
    made.loads["m", "ok"] += 1
    made.statuses[200] += 1
    reporters = [lambda line=line: [line] for line in others]
    return made.render([("m", 2, 0)], reporters).decode().splitlines()


def test_every_metric_stands_once_under_its_head() -> None:
    """However many parts of a server count it: webhook and payloads have events each."""
    lines = rendered(
        'edgeline_events_total{to="webhook",result="sent"} 1',
        "edgeline_update_stale 0",
        'edgeline_events_total{to="payloads",result="sent"} 2',
    )
    name, seen = "", []
    for place, line in enumerate(lines):
        if line.startswith("# HELP "):
            name, about = line.removeprefix("# HELP ").split(" ", 1)
            seen.append(name)
            assert lines[place + 1] == f"# TYPE {name} {METRICS[name][0]}"
            assert about == METRICS[name][1]
        elif not line.startswith("#"):
            assert re.fullmatch(rf"{name}(_bucket|_sum|_count)?(\{{.*\}})? [0-9.e+-]+", line)
    assert len(seen) == len(set(seen)) > 10
    assert sum(line.startswith("edgeline_events_total") for line in lines) == 2


def test_names_are_as_promtool_check_metrics_wants_them() -> None:
    for name, (kind, about) in METRICS.items():
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", name)
        assert name.endswith("_total") == (kind == "counter")
        assert not name.endswith(("_count", "_sum", "_bucket"))
        assert about.endswith(".")
        assert not {"\\", "\n"} & set(about)


def test_whatever_the_server_counts_is_in_the_table() -> None:
    text = "".join(file.read_text() for file in SERVER.rglob("*.py"))
    told = set(re.findall(r"edgeline_(?:[a-z]+_)*[a-z]+(?=\{\{\{|['\" ]|\{labels)", text))
    of_code = {name for name in told if re.search(rf"yield .*{name}[{{ ]", text)}
    assert of_code
    assert of_code <= METRICS.keys()
