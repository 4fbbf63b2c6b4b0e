"""The page of a run: its answers, its tabs, its files, in a real browser opened from the disk."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from edgeline import artifacts
from edgeline.artifacts.outcomes import RequirementOutcome
from edgeline.local import concerns
from edgeline.local.page import write_page
from edgeline.local.plan import PlannedTask
from edgeline.local.tasks import RunResult, TaskResult
from edgeline.reports import report

pytestmark = pytest.mark.slow

BROWSER = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
MET = RequirementOutcome("auc of all rows", 0.9, True, 0.9509)
HEAD = {
    "pipeline": "taxi",
    "source": "taxi",
    "started": "2026-01-31T12:00:00Z",
    "docker": False,
    "given": {"data": "taxi.csv#sha256=" + "c" * 64, "with_training": {"steps": 300}},
    "parameters": {"data": "taxi.csv#sha256=" + "c" * 64, "with_training": {"steps": 300}},
    "pins": {},
    "pipeline_digest": "5c8153a7da38" + "0" * 52,
    "edgeline": "0.1.0",
    "code": "46a9b45260af",
    "packages": {"tensorflow": "2.21.0"},
    "host": {"name": "vm", "system": "Linux", "machine": "x86_64", "cpus": 2, "memory": 25e9}
    | {"python": "3.11.7"},
    "attempts": [{"started": "2026-01-31T12:00:00Z", "state": "succeeded"}],
}
# what is wider than the window, or cannot be seen without scrolling to the right
LOOK = """<script>
const wide = [...document.querySelectorAll("main *")].filter(each => {
  const box = each.getBoundingClientRect();
  return box.width && box.right > innerWidth + 1 && !each.closest("nav, .figure, .scroll");
}).map(each => each.tagName + " " + each.textContent.trim().slice(0, 60));
parent.postMessage(JSON.stringify(wide), "*");
</script></body>"""


def made(folder: Path, name: str, schema: str, files: dict[str, Any], /, **facts: Any) -> dict:
    """An artifact as a task's output has it."""
    with artifacts.writing(folder / name, schema) as draft:
        draft.metadata |= facts
        for file, content in files.items():
            artifacts.write_json(draft.path / file, content)
    return {"uri": str(folder / name), "metadata": {"edgeline_schema": schema}}


def a_run(folder: Path, **states: str) -> RunResult:
    """A run with what its tasks would have written."""
    work = folder / "work"
    work.mkdir(parents=True)
    report.write(
        work / "evaluation_report", "Evaluation", [report.Fact("auc", "0.9509")],
        [report.Section("Slices", report.table(["rows"], [(n,) for n in range(30)]))],
    )  # fmt: skip
    metrics = {
        "auc": {"value": 0.9509},
        "auc_tfma": {"value": 0.9508, "lower": 0.94, "upper": 0.96},
    }
    told = {
        "rows": 4896,
        "bounds": {"auc_tfma": {"lower": 0.92}},
        "slices": [{"metrics": metrics, "baseline": {"auc": {"value": 0.94}}}],
    }
    evaluation = made(
        work, "evaluation", "evaluation/v1", {"metrics.json": told},
        blessed=True, rows=4896, split="eval", requirements=[MET.to_json()],
        warnings=["the scores are not calibrated"],
    )  # fmt: skip
    edge = made(
        work, "edge", "edge_model/v1", {"size.json": 1}, size=182196, quantisation="float",
        notes=["nothing was pruned"],
    )  # fmt: skip
    digest = artifacts.folder.digest_of(edge["uri"])
    verification = made(
        work, "verification", "verification/v1", {"timing.json": {"p50_ms": 0.3, "p99_ms": 2.0}},
        approved=True, runtime="litert", edge_model_digest=digest,
    )  # fmt: skip
    bundle = made(work, "bundle", "bundle/v1", {"model.json": 1}, name="taxi", version=3)
    (folder / "logs").mkdir()
    (folder / "logs" / "publish.log").write_text(
        "one line\n</pre><script>bad()</script> the last\n"
    )
    examples = made(
        work, "examples", "examples/v1", {"rows.json": 1},
        splits={"train": {"rows": 10000}, "eval": {"rows": 4896}},
    )  # fmt: skip
    outputs: dict[str, dict[str, Any]] = {
        "ingest": {"examples": examples},
        "analyze": {
            "evaluation": evaluation,
            "evaluation_report": {"uri": str(work / "evaluation_report"), "metadata": {}},
        },
        "convert": {"edge_model": edge},
        "verify-2[1]": {"verification": verification, "max_difference": 1e-7},
        "publish": {"bundle": bundle, "uri": str(work / "bundle"), "version": 3},
        "notify": {},
    }
    tasks, before = {}, ""
    for name, value in outputs.items():
        task = TaskResult(
            PlannedTask(name, name, (before,) if before else ()),
            states.get(name, "succeeded"),  # type: ignore[arg-type]
            seconds=2.0,
            log=folder / "logs" / "publish.log" if name == "publish" else None,
        )
        if task.state == "succeeded":
            task.outputs = value
        if task.state == "failed":
            task.error = "the store is full"
        tasks[name], before = task, name
    return RunResult("taxi", folder, 12.3, tasks)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    return a_run(tmp_path_factory.mktemp("runs") / "taxi-1")


@pytest.fixture(scope="module")
def page(run: RunResult) -> Path:
    return write_page(run, HEAD)


def words(page: Path) -> str:
    """What a person reads, in one line."""
    text = re.sub(
        r"<(script|style)>.*?</\1>|<title>[^<]*</title>", " ", page.read_text(), flags=re.S
    )
    return " ".join(html.unescape(re.sub("<[^>]*>", " ", text)).split())


def browsed(page: Path, folder: Path, fragment: str = "") -> str:
    """The document after a browser has opened it from the disk."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("NO CHROMIUM: the page was not opened in a real browser")
    done = subprocess.run(
        [chromium, *BROWSER, f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=4000",
         "--dump-dom", f"{page.as_uri()}{fragment}"],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    return done.stdout


def test_the_first_screen_answers(page, run):
    said = words(page)
    digest = artifacts.folder.digest_of(run.folder / "work" / "examples")
    for answer in (
        "taxi published",
        "auc 0.9509 blessed",
        "95 % interval 0.94 to 0.96",
        "threshold at least 0.92, kept",
        "baseline 0.94 (+0.0109)",
        "evaluated on 4,896 rows of split eval",
        "requirements 1 of 1 met",
        "edge model verified approved",
        "taxi version 3",
        "float litert 182.2 kB 0.3 / 2 ms approved",
        "data taxi.csv (sha256 cccccccccccc)",
        f"rows eval 4,896, train 10,000 data digest sha256 {digest[:12]}",
        "pipeline taxi (sha256 5c8153a7da38)",
        "edgeline 0.1.0 (sha256 46a9b45260af), Python 3.11.7, TensorFlow 2.21.0",
        "2026-01-31 12:00 UTC",
        "vm, Linux, x86_64, 2 CPUs, 25 GB",
        "training.steps = 300",
        "1 warning, 1 note warning analyze The scores are not calibrated.",
    ):
        assert answer in said, answer


def test_reports_logs_and_artifacts_are_files_that_are_there(page):
    text = page.read_text()
    links = set(re.findall(r'(?:href|src)="([^"#]+)"', text))
    for link in links - {"run.json", "pipeline.yaml"}:  # which the recorder writes
        assert (page.parent / unquote(link)).exists(), link
    assert "reports/analyze.evaluation_report.html" in links
    assert "logs/publish.log" in links and "work/bundle" in links
    shown = (page.parent / "reports/analyze.evaluation_report.html").read_bytes()
    assert shown == (page.parent / "work/evaluation_report").read_bytes()
    assert set(re.findall('sandbox="([^"]*)"', text)) == {"allow-scripts"}


def test_every_link_within_the_page_has_its_end_and_the_graph_has_one_for_each_task(page, run):
    text = page.read_text()
    assert {"#task-analyze", "#task-verify-2[1]", "#_parameters"} <= set(
        re.findall('href="(#[^"]+)"', text)
    )
    for fragment in re.findall('href="#([^"]+)"', text):
        assert f'id="{fragment}"' in text
    graph = text[text.index("<h2>Pipeline</h2>") : text.index("<h2>Tasks</h2>")]
    assert graph.count('<a href="#task-') == len(run.tasks)


def test_a_browser_shows_the_tab_that_was_asked_for_and_its_report(page, tmp_path):
    shown = browsed(page, tmp_path, "#task-analyze")
    assert '<a class="succeeded" href="#task-analyze" aria-current="page">' in shown
    # the report told its height, from an origin of its own
    assert re.search(r'<iframe class="report"[^>]*style="height: \d{3,4}px;"', shown)


def test_no_script_but_its_own_runs(page, tmp_path):
    text = page.read_text()
    other = "<script>document.title = 'ran'</script></body>"
    copy = page.with_name("other.html")
    copy.write_text(text.replace("</body>", other))
    shown = browsed(copy, tmp_path)
    copy.unlink()
    assert "aria-current" in shown and "<title>ran" not in shown
    own = re.findall(r"<script>(.*?)</script>", text, re.S)
    assert len(own) == 1 and "analyze" not in own[0] and "taxi" not in own[0]


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_is_wider_than_the_window(page, tmp_path, width):
    text = re.sub(r"<meta http-equiv[^>]*>", "", page.read_text())
    everything = "<style>.tab { display: block !important }</style></head>"
    text = text.replace("</head>", everything).replace("</body>", LOOK)
    outer = tmp_path / "outer.html"
    outer.write_text(
        "<!doctype html><body><script>onmessage = e => { if (typeof e.data == 'string') "
        "document.body.dataset.wide = e.data }</script>"
        f'<iframe style="width:{width}px;height:900px;border:0" srcdoc="{html.escape(text)}">'
    )
    told = re.search(r'data-wide="([^"]*)"', browsed(outer, tmp_path))
    assert told and json.loads(html.unescape(told[1])) == []


def test_a_run_that_goes_on_and_one_that_failed(tmp_path):
    going = a_run(tmp_path / "a", publish="running", notify="waiting")
    going = RunResult("taxi", going.folder, 3.0, going.tasks, "running")
    text = write_page(going, HEAD).read_text()
    assert '<meta http-equiv="refresh" content="5">' in text
    assert "Nothing is published yet." in text and ">running</span>" in text
    failed = a_run(tmp_path / "b", publish="failed", notify="skipped")
    page = write_page(failed, HEAD)
    assert "refresh" not in page.read_text()
    assert "1 error, 1 warning, 1 note error publish the store is full" in words(page)
    # the end of its log, as text
    assert "one line\n&lt;/pre&gt;&lt;script&gt;bad()&lt;/script&gt; the last" in page.read_text()


def test_the_heaviest_comes_first_and_many_of_a_kind_are_cut(tmp_path):
    many = made(tmp_path, "many", "model/v1", {}, warnings=[f"w{n}" for n in range(9)])
    tasks = {
        "train": TaskResult(PlannedTask("train", "train", ()), "succeeded", outputs={"m": many}),
        "notify": TaskResult(PlannedTask("notify", "notify", ()), "failed", error="no token=x1y2"),
    }
    found = concerns.of(RunResult("p", tmp_path, 1.0, tasks, error="the disk is full"))
    assert [(each.weight, each.task, each.sentence) for each in found] == [
        ("error", "", "the disk is full"),
        ("error", "notify", "no token=(left out)"),
        *(("warning", "train", f"W{n}.") for n in range(5)),
        ("warning", "train", "4 more are in its report."),
    ]
