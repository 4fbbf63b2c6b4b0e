"""What `edgeline compile` refuses: names, places and parameters that KFP or Kubernetes would."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from small_pipeline import cli, documents, small

from edgeline.client.compiling import compile_pipeline
from edgeline.errors import EdgelineError
from edgeline.pipelines import catalogue

__all__ = ["small"]


@pytest.mark.parametrize("name", ["a" * 129, "Bad_Name", "-x", "", "x\n"])
def test_a_name_that_the_server_refuses_is_refused_here(small, tmp_path, name):
    compile_pipeline(small, str(tmp_path / "ir.yaml"))
    spec = documents(tmp_path / "ir.yaml")[0]
    spec["pipelineInfo"]["name"] = name
    (tmp_path / "named.yaml").write_text(yaml.safe_dump(spec))
    with pytest.raises(EdgelineError, match=r"Pipeline name .* is refused .*a-z, 0-9 and -"):
        compile_pipeline(str(tmp_path / "named.yaml"), str(tmp_path / "out.yaml"))
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize("namespace", ["Team A", "", "a" * 64, "x.y"])
def test_a_namespace_that_cannot_be_is_refused(small, tmp_path, namespace):
    with pytest.raises(EdgelineError, match=r"Namespace .* is refused by Kubernetes"):
        compile_pipeline(small, str(tmp_path / "out.yaml"), True, namespace)
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize("output", ["", "small.py/out.yaml"])
def test_a_file_that_cannot_be_written_is_named(small, tmp_path, output):
    before = sorted(tmp_path.parent.iterdir())
    with pytest.raises(EdgelineError, match=r"cannot be written .*name another file with -o"):
        compile_pipeline(small, str(tmp_path / output))
    assert sorted(tmp_path.parent.iterdir()) == before


@pytest.mark.parametrize(
    ("setting", "answer"),
    [
        ("split_kye=id", "has no such parameter. Did you mean split_key?"),
        ("colour=red", "The pipeline has data, split_key, skew_threshold."),
        ("skew_threshold", "write it as NAME=VALUE"),
        ("skew_threshold=much", "'much' is not a number"),
    ],
)
def test_a_wrong_setting_is_wrong_usage(small, tmp_path, setting, answer):
    done = cli("compile", small, "-o", "out.yaml", "--set", setting, folder=tmp_path)
    assert done.returncode == 2
    assert answer in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.glob("out*"))


def test_an_unknown_pipeline_is_refused_with_those_there_are(tmp_path):
    done = cli("compile", "taxy", folder=tmp_path)
    assert done.returncode == 2
    assert "There is no pipeline 'taxy'. Did you mean taxi?" in done.stderr
    done = cli("compile", "unlike-any", folder=tmp_path)
    assert done.returncode == 2
    assert ", ".join(catalogue.names()) in done.stderr


@pytest.mark.parametrize("environment", ["onprem", "gcp", "aws", "azure", "edge", "mine.yaml"])
@pytest.mark.parametrize("setting", [None, "destination=./x", "destination=~/x"])
def test_for_a_cluster_no_pipeline_publishes_to_a_pod_s_own_disk(environment, setting, tmp_path):
    (tmp_path / "mine.yaml").write_text("name: mine\n")
    place = environment if "." not in environment else str(tmp_path / environment)
    settings = (setting,) if setting else ()
    for pipeline in ("taxi", "digits") if environment == "mine.yaml" else ("taxi",):
        with pytest.raises(EdgelineError) as caught:
            compile_pipeline(
                pipeline, str(tmp_path / "out.yaml"), settings=settings, environment=place
            )
        where = setting.partition("=")[2] if setting else "edgeline-models"
        if where.startswith("~"):
            assert "'~/x', ~ would be the name of a folder here" in str(caught.value)
            continue
        assert str(caught.value) == (
            f"The destination {where} is a folder on the own disk of the task's pod, and what is "
            "published there is gone when the pod is: give --set destination=s3://bucket/prefix."
        )
    assert not list(tmp_path.glob("out*"))


def test_here_a_folder_is_as_good_as_before(tmp_path):
    """Without an environment nothing is said of where it runs, and the laptop is not a cluster."""
    for environment in ("", "laptop"):
        output = compile_pipeline("taxi", str(tmp_path / "out.yaml"), environment=environment)
        parameters = documents(output)[0]["root"]["inputDefinitions"]["parameters"]
        assert parameters["destination"]["defaultValue"] == "edgeline-models"


def test_a_run_s_own_destination_counts(tmp_path):
    given = {"destination": "s3://models/taxi"}
    output = str(tmp_path / "out.yaml")
    path = compile_pipeline("taxi", output, environment="gcp", given=given)
    assert "s3://models/taxi" not in path.read_text()  # it is the run's
    settings, given = ("destination=s3://models/taxi",), {"destination": "models"}
    with pytest.raises(EdgelineError, match="The destination models is a folder"):
        compile_pipeline("taxi", output, settings=settings, environment="gcp", given=given)


def test_a_compiled_pipeline_is_not_compiled_over_itself(small, tmp_path):
    compile_pipeline(small, str(tmp_path / "small.yaml"))
    before = (tmp_path / "small.yaml").read_bytes()
    done = cli("compile", "small.yaml", "--env", "onprem", folder=tmp_path)
    assert done.returncode == 2
    assert "small.yaml would be compiled over itself: name another file with -o." in done.stderr
    assert (tmp_path / "small.yaml").read_bytes() == before


def test_a_download_to_a_workspace_that_is_not_there_is_refused(tmp_path):
    text = """
from kfp import dsl

from edgeline.components.ingest.component import ingest


@dsl.pipeline(name="small")
def pipeline(data: str):
    dsl.importer(artifact_uri="s3://b/a", artifact_class=dsl.Dataset, download_to_workspace=True)
    ingest(data=data)
"""
    (tmp_path / "small.py").write_text(text)
    with pytest.raises(
        EdgelineError, match=r"importer downloads to a workspace, .* has none: give"
    ):
        compile_pipeline(str(tmp_path / "small.py"), str(tmp_path / "out.yaml"))
    assert not (tmp_path / "out.yaml").exists()


@pytest.mark.parametrize(("root", "said"), [("nonsense", "'nonsense'"), ("s3:///a", "'s3:///a'")])
def test_a_root_that_the_launcher_cannot_write_to_is_refused_for_a_cluster(
    root: str, said: str, tmp_path: Path
) -> None:
    own = tmp_path / "own.py"
    own.write_text(
        "from kfp import dsl\nfrom edgeline.components.ingest.component import ingest\n\n"
        f"@dsl.pipeline(name='own', pipeline_root={root!r})\n"
        "def pipeline(data: str):\n    ingest(data=data)\n"
    )
    compile_pipeline(str(own), str(tmp_path / "here.yaml"))  # kfp.local writes to any folder
    with pytest.raises(
        EdgelineError, match=f"^Pipeline own has the pipeline_root {said}, which KFP"
    ):
        compile_pipeline(str(own), str(tmp_path / "there.yaml"), environment="onprem")
    assert not (tmp_path / "there.yaml").exists()
