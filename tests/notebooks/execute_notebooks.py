"""Execute the notebooks: for the tests, and for `make notebooks`, which commits their outputs.

The notebook of the cluster meets KFP's API as documented (tests/kubeflow/documented_server.py), no
real server, and a real S3 server with what the quickstart's run has left, laid as KFP's launcher
does.
"""

from __future__ import annotations

import io
import json
import os
import re
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
NOTEBOOKS = ROOT / "notebooks"
for shared in ("kubeflow", "components/publish"):
    sys.path.append(str(ROOT / "tests" / shared))

LARGEST = 8000  # characters of HTML that are committed; what is larger stays as its plain text
STYLED = "<pre style="  # text with colours, which is there as plain text, too
HOST = "https://kubeflow.example.com"  # in the place of the test server's address
BUCKET, PIPELINE_ROOT = "mlpipeline", "s3://mlpipeline/pipelines"
PUBLISHED = b"s3://mlpipeline/models/taxi/1"
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
# and digests: a version is called after its content
NUMBER = re.compile(
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|-?[0-9a-f]{16}|-?\d[\d.,:+-]*(e[+-]?\d+)?"
)
QUICK = """\
import functools
from edgeline.client import server
server.RemoteRun = functools.partial(server.RemoteRun, poll=0.01)
"""


def execute(name: str, folder: Path, variables: Mapping[str, str], before: str = "") -> Any:
    """A notebook with its outputs, executed in a folder.

    Args:
        variables: of the environment, beside those of this process.
        before: a cell that is executed first and left out of what is returned.
    """
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(NOTEBOOKS / name, as_version=4)
    if before:
        notebook.cells.insert(0, nbformat.v4.new_code_cell(before))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    resources = {"metadata": {"path": str(folder)}}
    client = NotebookClient(notebook, timeout=540, kernel_name="python3", resources=resources)
    client.execute(env={**os.environ, "PATH": path, "PYTHONWARNINGS": "ignore", **variables})
    if before:
        del notebook.cells[0]
    return notebook


def texts(notebook: Any) -> list[str]:
    """What each code cell shows, HTML where there is some."""
    return [
        "".join(
            output.get("text")
            or output.get("data", {}).get("text/html")
            or output.get("data", {}).get("text/plain", "")
            for output in cell.outputs
        )
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def plain(notebook: Any) -> list[list[str]]:
    """The lines that each code cell shows, without what differs from run to run: numbers, the
    identifiers that are made of them, blanks, and the order of what ran side by side."""
    return [
        sorted(
            " ".join(NUMBER.sub("#", line).split()).replace(" ]", "]")  # numpy pads numbers
            for output in cell.outputs
            for text in [output.get("text") or output.get("data", {}).get("text/plain", "")]
            for line in text.splitlines()
            if line.strip()
        )
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def committed(notebook: Any, folder: Path, address: str = HOST) -> Any:
    """The notebook as it is committed: small, without this machine's paths and addresses."""
    for number, cell in enumerate(each for each in notebook.cells if each.cell_type == "code"):
        cell.metadata.pop("execution", None)
        cell.execution_count = number + 1
        kept = []
        for output in cell.outputs:
            if output.get("name") == "stderr":
                continue  # what TensorFlow says of this machine
            if "execution_count" in output:
                output.execution_count = number + 1
            data = output.get("data", {})
            shown = data.get("text/html", "")
            if len(shown) > LARGEST or shown.startswith(STYLED):
                del data["text/html"]
            for place, key in ((output, "text"), (data, "text/plain"), (data, "text/html")):
                if key in place:
                    text = place[key].replace(f"{folder}/", "").replace(str(folder), ".")
                    place[key] = COLOUR.sub("", text).replace(address, HOST)
            if output.get("text", "x").strip() or data:
                kept.append(output)
        cell.outputs = kept
    return notebook


@contextmanager
def cluster(run: Path, published: Path, s3: Any) -> Iterator[Mapping[str, str]]:
    """A server that runs what is submitted, whose tasks leave what those of a local run left.

    Args:
        run: the folder of the local run.
        published: the bundle of that run.
        s3: a running S3 server.

    Yields:
        The variables of the environment that say where both are.
    """
    from documented_server import DocumentedServer

    record = json.loads((run / "run.json").read_text("utf-8"))
    files = s3.client
    files.make_bucket(BUCKET)

    def put(key: str, content: bytes) -> None:
        files.put_object(BUCKET, key, io.BytesIO(content), len(content))

    for file in published.iterdir():
        put(f"models/taxi/1/{file.name}", file.read_bytes())

    class Cluster(DocumentedServer):
        def make(self, where: dict[str, Any], key: str, **fields: Any) -> Any:
            made = super().make(where, key, **fields)
            if where is self.runs:
                self.tasks[made["display_name"]] = list(_tasks(record))
                for path, content in _outputs(record):
                    put(f"pipelines/taxi/{made['run_id']}/{path}", content)
            return made

    server = Cluster()
    try:
        yield {
            "KF_PIPELINES_ENDPOINT": server.address,
            "PIPELINE_ROOT": PIPELINE_ROOT,
            "AWS_ENDPOINT_URL": f"http://{s3.address}",
            "AWS_ACCESS_KEY_ID": s3.access_key,
            "AWS_SECRET_ACCESS_KEY": s3.secret_key,
            "AWS_REGION": "us-east-1",
        }
    finally:
        server.shutdown()
        server.server_close()


def _tasks(record: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    for task in record["tasks"].values():
        if task["state"] in ("succeeded", "cached"):
            yield {
                "display_name": task["plan"]["name"],
                "state": "SUCCEEDED",
                "start_time": "2026-01-01T00:00:00Z",
                "end_time": "2026-01-01T00:00:07Z",
            }


def _outputs(record: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
    """What the tasks left that a client reads, below the folder of a run."""
    for task in record["tasks"].values():
        execution = uuid.uuid4()
        yield f"{task['plan']['name']}/{execution}/executor-logs-0", b""
        for name, output in task["outputs"].items():
            if not isinstance(output, dict) or not output.get("uri"):
                continue
            path, below = Path(output["uri"]), f"{task['plan']['name']}/{execution}/{name}"
            if path.is_file():
                yield below, path.read_bytes()
            for file in path.glob("*.json") if path.is_dir() else ():
                content = file.read_bytes()
                if name == "bundle":  # it was published to the bucket
                    content = re.sub(
                        rb'"uri": *"[^"]*"', b'"uri": "s3://mlpipeline/models/taxi/1"', content
                    )
                yield f"{below}/{file.name}", content


def main() -> None:
    """Execute both and write them with their outputs."""
    import nbformat
    import s3_server

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)

        class Folders:
            def mktemp(self, name: str) -> Path:
                (folder / name).mkdir()
                return folder / name

        quickstart = execute("quickstart.ipynb", folder, {})
        nbformat.write(committed(quickstart, folder), NOTEBOOKS / "quickstart.ipynb")
        (run,) = (folder / "edgeline-runs").glob("taxi-*")
        running = s3_server.running(Folders())
        with cluster(run, folder / "published" / "taxi" / "1", next(running)) as variables:
            notebook = execute("cluster.ipynb", folder, variables, QUICK)
        running.close()
        notebook = committed(notebook, folder, variables["KF_PIPELINES_ENDPOINT"])
        nbformat.write(notebook, NOTEBOOKS / "cluster.ipynb")


if __name__ == "__main__":
    main()
