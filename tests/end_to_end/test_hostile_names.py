"""Columns, classes and values that a page could take for markup, in every report of a run.

They are looked at in a real browser, without the policy that lets no script run: what keeps a page
whole is that names are text.
"""

from __future__ import annotations

import csv
import html
import http.client
import json
import random
import re
import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest
from command import Finished, edgeline

pytestmark = pytest.mark.slow

BROWSER = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
SCRIPT = "<script>parent.ran=1</script>"
COLUMNS = (  # of numbers
    f"</script>{SCRIPT}",
    '"><img src=x onerror="parent.ran=1">',
    "$\\frac{$ or {{7*7}} %s ${x}",
    "\u202etxt.exe\u202c " + "long " * 40 + "end",
)
TEXT = "' onmouseover='parent.ran=1' x='"  # a column of texts
LABEL = "<svg onload=parent.ran=1>"
CLASSES = (
    "a</td></title></style>" + SCRIPT,
    "$5 & <b>\u202ebold</b>",
    "`'\"javascript:parent.ran=1",
)
VALUES = ("<iframe srcdoc='<script>parent.parent.ran=1</script>'>", "&lt;escaped&gt;", "]]>-->")
MODULE = f"""
from edgeline.preprocessing import fill_missing

LABEL, TEXT = {LABEL!r}, {TEXT!r}

def preprocessing_fn(inputs):
    import tensorflow_transform as tft

    found = {{}}
    for name, values in inputs.items():
        if name == LABEL:
            found[name] = tft.compute_and_apply_vocabulary(values, vocab_filename="kinds")
        elif name == TEXT:
            found[name] = tft.compute_and_apply_vocabulary(
                fill_missing(values, "none"), num_oov_buckets=1
            )
        else:
            found[name] = tft.scale_to_z_score(fill_missing(values, 0.0))
    return found

def build_model(features, hyperparameters):
    import keras

    inputs = {{k: keras.Input(v.shape[1:], dtype=v.dtype.name) for k, v in features.items()}}
    parts = [
        keras.layers.Flatten()(keras.layers.Embedding(5, 2)(value)) if name == TEXT else value
        for name, value in inputs.items()
    ]
    joined = keras.layers.Concatenate()(parts)
    model = keras.Model(inputs, keras.layers.Dense(3, "softmax")(joined))
    model.compile(keras.optimizers.Adam(0.1), "sparse_categorical_crossentropy")
    return model
"""
# every page in a frame of its own, which has the origin of the page around it; what each shows, the
# names that it has in attributes, and what could run in it
LOOK = """<script>
addEventListener("load", () => setTimeout(() => {
  const found = {ran: window.ran || 0, pages: {}};
  for (const frame of document.querySelectorAll("iframe")) {
    found.ran ||= frame.contentWindow.ran || 0;  // of a frame within it
    const page = frame.contentDocument, all = [...page.querySelectorAll("*")];
    const attributes = all.flatMap(e => [...e.attributes]);
    found.pages[frame.title] = {
      text: page.documentElement.textContent,
      attributes: attributes.map(a => a.value).join("\\n"),
      scripts: [...page.scripts].map(e => e.textContent),
      elements: [...new Set(all.map(e => e.localName))],
      handlers: attributes.filter(a => a.name.startsWith("on")).map(a => a.name),
      links: attributes.filter(a => /^(src|href|xlink:href)$/.test(a.name)).map(a => a.value),
    };
  }
  document.body.textContent = JSON.stringify(found);
}, 500));
</script>"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "module.py").write_text(MODULE)
    draw = random.Random(1)
    with open(folder / "data.csv", "w", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream)
        rows.writerow([*COLUMNS, TEXT, LABEL])
        for _ in range(600):
            kind = draw.randrange(3)
            numbers = [round(draw.gauss(kind * 2, 1), 3) for _ in COLUMNS]
            rows.writerow([*numbers, VALUES[draw.randrange(3)], CLASSES[kind]])
    return edgeline(
        folder,
        *("run", "tabular", "--module", "module.py", "--set", "data=data.csv"),
        *("--set", f"label={LABEL}", "--set", "label_vocabulary=kinds"),
        *("--set", "task=multiclass_classification", "--set", "steps=100"),
        *("--set", "batch_size=32", "--set", "model_name=hostile", "--set", "destination=models"),
    )


@pytest.fixture(scope="module")
def pages(run: Finished) -> dict[str, str]:
    """Every page of the run by its name, without its policy."""
    assert run.code == 0, run.output
    found = {"run": run.page.read_text("utf-8")}
    for task, facts in run.record["tasks"].items():
        for name, output in facts.get("outputs", {}).items():
            uri = output.get("uri", "") if isinstance(output, dict) else ""
            if uri and Path(uri).is_file() and Path(uri).read_bytes()[:15] == b"<!doctype html>":
                found[f"{task}.{name}"] = Path(uri).read_text("utf-8")
    return {name: re.sub("<meta http-equiv[^>]*>", "", page) for name, page in found.items()}


@pytest.fixture(scope="module")
def shown(pages: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict:
    return looked_at(pages, tmp_path_factory.mktemp("browser"))


def looked_at(pages: dict[str, str], folder: Path) -> dict:
    """What a browser makes of pages."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("NO CHROMIUM: the reports were not opened in a real browser")
    frames = "".join(
        f'<iframe title="{html.escape(name)}" srcdoc="{html.escape(page)}"></iframe>'
        for name, page in pages.items()
    )
    (folder / "all.html").write_text(f"<!doctype html><meta charset=utf-8><body>{frames}{LOOK}")
    done = subprocess.run(
        [chromium, *BROWSER, f"--user-data-dir={folder / 'profile'}",
         "--virtual-time-budget=10000", "--dump-dom", f"file://{folder / 'all.html'}"],
        capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    body = re.search(r"<body>(\{.*\})</body>", done.stdout, re.DOTALL)
    assert body, done.stderr[-2000:]
    return json.loads(html.unescape(body[1]))


def test_a_browser_would_run_what_the_names_hold(tmp_path: Path) -> None:
    """That the test's own names are dangerous: as markup they run."""
    found = looked_at({"x": f"<!doctype html><p>{COLUMNS[1]}</p>{CLASSES[0]}"}, tmp_path)
    assert found["ran"] == 1


def test_nothing_of_a_name_runs(shown: dict) -> None:
    assert shown["ran"] == 0
    own = resources.files("edgeline.reports").joinpath("report.js").read_text("utf-8")
    for name, page in shown["pages"].items():
        # the page of a run has frames, and each page its own script
        never = {"img", "object", "embed", "base", "form"}
        never |= set() if name == "run" else {"iframe"}
        assert not never & set(page["elements"]), name
        assert page["scripts"] == [own], name
        assert page["handlers"] == [], name
        assert not [link for link in page["links"] if "javascript:" in link], name


def test_no_report_is_missing(shown: dict) -> None:
    tasks = {name.partition(".")[0] for name in shown["pages"]}
    assert tasks >= {
        *("run", "ingest", "validate", "transform", "train", "analyze", "convert", "verify"),
    }


@pytest.mark.parametrize("name", [*COLUMNS, TEXT], ids=range(5))
def test_no_column_is_lost(shown: dict, name: str) -> None:
    """It is in full where the columns are told, as a reader sees it."""
    for report in ("ingest", "validate", "transform", "convert"):
        assert name in all_of(shown, report), report


@pytest.mark.parametrize("name", CLASSES, ids=range(3))
def test_no_class_is_lost(shown: dict, name: str) -> None:
    for report in ("validate", "analyze"):
        assert name in all_of(shown, report), report


def test_the_server_s_page_shows_drift_by_their_names(run: Finished, tmp_path: Path) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("NO CHROMIUM: the server's page was not opened in a real browser")
    command = [sys.executable, "-m", "edgeline", "serve", str(run.folder / "models")]
    options = ("--port", "0", "--drift-rows", "20", "--drift-rate", "1000")
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        port = int(dict(p.split("=") for p in process.stdout.readline().split()[1:])["http"])
        row = {**dict.fromkeys(COLUMNS, 1e6), TEXT: "<img src=x onerror=document.title='ran'>"}
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        document = json.dumps({"instances": [row] * 50})
        connection.request("POST", "/v1/models/hostile:predict", document)
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        connection.close()
        done = subprocess.run(
            [chromium, *BROWSER, f"--user-data-dir={tmp_path}", "--virtual-time-budget=5000",
             "--dump-dom", f"http://127.0.0.1:{port}/"],
            capture_output=True, text=True, timeout=200,
        )  # fmt: skip
        process.terminate()
    assert "<title>ran" not in done.stdout
    body = done.stdout[done.stdout.index("<body") :]
    seen = html.unescape(re.sub("<[^>]*>", "", body))
    assert not [name for name in (*COLUMNS, TEXT) if name not in seen]
    assert "<img" not in body


def all_of(shown: dict, task: str) -> str:
    """What the pages of a task show, with white space as in the data."""
    found = [page for name, page in shown["pages"].items() if name.partition(".")[0] == task]
    return " ".join(page["text"] + page["attributes"] for page in found)
