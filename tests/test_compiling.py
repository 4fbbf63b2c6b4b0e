"""`edgeline compile` writes what KFP and Kubernetes take, and nothing of this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import jsonschema
import pytest
import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from edgeline import images
from edgeline.client.compiling import compile_pipeline
from edgeline.errors import EdgelineError
from edgeline.formats.names import PIPELINE
from edgeline.pipelines import catalogue

ROOT = Path(__file__).parents[1]
CRDS = Path(__file__).parent / "data" / "crds"

SMALL = """
from kfp import dsl

from edgeline.components.ingest.component import ingest
from edgeline.components.validate.component import validate


@dsl.pipeline(name="small", description="Read and look.")
def pipeline(data: str, split_key: str = "", skew_threshold: float = 0.1):
    read = ingest(data=data, split_key=split_key)
    validate(examples=read.outputs["examples"], skew_threshold=skew_threshold)
"""
PLATFORM = """
from kfp import dsl

from edgeline.components.ingest.component import ingest


@dsl.pipeline(
    name="with-workspace",
    pipeline_config=dsl.PipelineConfig(workspace=dsl.WorkspaceConfig(size="1Gi")),
)
def pipeline(data: str):
    ingest(data=data)
"""


@pytest.fixture
def small(tmp_path) -> str:
    file = tmp_path / "small.py"
    file.write_text(SMALL)
    return str(file)


@pytest.fixture(scope="module", params=catalogue.names())
def compiled(request, tmp_path_factory) -> Path:
    return compile_pipeline(request.param, str(tmp_path_factory.mktemp("ir") / "pipeline.yaml"))


@pytest.fixture(scope="module", params=catalogue.names())
def manifests(request, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("manifests") / "pipeline.yaml"
    return compile_pipeline(request.param, str(output), kubernetes=True, namespace="team-a")


def cli(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from edgeline.cli.main import main; main()", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONHASHSEED": str(len(arguments))},
        capture_output=True,
        text=True,
    )


def documents(file: Path) -> list[dict]:
    return list(yaml.load_all(file.read_text(), yaml.CSafeLoader))


def version_of(pipeline: str, output: Path, *settings: str) -> str:
    compile_pipeline(pipeline, str(output), kubernetes=True, settings=settings)
    return documents(output)[1]["metadata"]["name"]


def container_images(spec: dict) -> set[str]:
    executors = spec["deploymentSpec"]["executors"].values()
    return {executor["container"]["image"] for executor in executors}


def test_ir_is_a_pipeline_spec_without_an_unknown_field(compiled):
    spec, *platform = documents(compiled)
    message = pipeline_spec_pb2.PipelineSpec()
    json_format.ParseDict(spec, message, ignore_unknown_fields=False)
    assert message.root.dag.tasks
    assert not platform


def test_platform_features_are_a_platform_spec_beside_the_ir(tmp_path):
    (tmp_path / "pipeline.py").write_text(PLATFORM)
    output = tmp_path / "pipeline.yaml"
    compile_pipeline(str(tmp_path / "pipeline.py"), str(output))
    spec, platform = documents(output)
    json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec(), ignore_unknown_fields=False)
    message = pipeline_spec_pb2.PlatformSpec()
    json_format.ParseDict(platform, message, ignore_unknown_fields=False)
    assert list(message.platforms) == ["kubernetes"]

    compile_pipeline(str(tmp_path / "pipeline.py"), str(output), kubernetes=True)
    version = documents(output)[1]
    assert version["spec"]["platformSpec"] == platform


def test_ir_installs_nothing_and_runs_in_our_images_alone(compiled):
    text = compiled.read_text()
    assert "pip install" not in text and "pip3 install" not in text
    lock = yaml.load(
        (Path(images.__file__).parent / "images.lock.yaml").read_text(), yaml.CSafeLoader
    )
    assert container_images(documents(compiled)[0]) <= {images.reference(name) for name in lock}


# a test of each: one with both fixtures would compile every pair
def test_nothing_of_this_machine_is_compiled_in(compiled):
    assert not places_in(compiled)


def test_nothing_of_this_machine_is_in_the_manifests(manifests):
    assert not places_in(manifests)


def places_in(file: Path) -> list[Path | str]:
    text = file.read_text()
    return [place for place in (ROOT, sys.prefix, file.parent) if str(place) in text]


@pytest.mark.parametrize(("index", "kind"), [(0, "Pipeline"), (1, "PipelineVersion")])
def test_manifests_are_what_the_crds_describe(manifests, index, kind):
    manifest = documents(manifests)[index]
    crd = json.loads((CRDS / f"pipelines.kubeflow.org_{kind}_v2beta1.json").read_text())
    jsonschema.validate(manifest, crd["schema"])
    assert manifest["kind"] == crd["kind"]
    assert manifest["apiVersion"] == f"{crd['group']}/{crd['version']}"
    assert manifest["metadata"]["namespace"] == "team-a"
    assert PIPELINE.fullmatch(manifest["metadata"]["name"])
    # a server prunes what the schema does not know
    assert manifest["spec"].keys() <= crd["schema"]["properties"]["spec"]["properties"].keys()


def test_the_manifest_holds_the_ir(small, tmp_path):
    compile_pipeline(small, str(tmp_path / "ir.yaml"))
    compile_pipeline(small, str(tmp_path / "manifests.yaml"), kubernetes=True)
    pipeline, version = documents(tmp_path / "manifests.yaml")
    assert version["spec"]["pipelineSpec"] == documents(tmp_path / "ir.yaml")[0]
    assert version["spec"]["pipelineName"] == pipeline["metadata"]["name"] == "small"


def test_an_equal_pipeline_is_byte_for_byte_the_same_in_another_process(small, tmp_path):
    for name, extra in (("one.yaml", []), ("two.yaml", ["--namespace", "kubeflow"])):
        done = cli("compile", small, "--kubernetes", "-o", name, *extra, folder=tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"{name}\n"
    assert (tmp_path / "one.yaml").read_bytes() == (tmp_path / "two.yaml").read_bytes()


def test_comments_too_are_the_same_in_another_process(tmp_path):
    """taxi's defaults hold objects, whose keys protobuf gives in another order each time."""
    for name in ("one.yaml", "two.yaml"):
        done = cli("compile", "taxi", "-o", name, folder=tmp_path)
        assert done.returncode == 0, done.stderr
    assert "'metrics_specs'" in (tmp_path / "one.yaml").read_text().partition("\ncomponents:")[0]
    assert (tmp_path / "one.yaml").read_bytes() == (tmp_path / "two.yaml").read_bytes()


def test_another_default_is_another_version(small, tmp_path):
    names = {
        version_of(small, tmp_path / "a.yaml"),
        version_of(small, tmp_path / "b.yaml", "skew_threshold=0.2"),
        version_of(small, tmp_path / "c.yaml", "split_key=id"),
    }
    assert len(names) == 3 and all(name.startswith("small-") for name in names)


def test_a_compiled_pipeline_compiled_again_is_the_same_version(small, tmp_path):
    compile_pipeline(small, str(tmp_path / "ir.yaml"))
    again = version_of(str(tmp_path / "ir.yaml"), tmp_path / "again.yaml")
    assert again == version_of(small, tmp_path / "first.yaml")


def test_set_changes_a_default_and_keeps_the_types(small, tmp_path):
    output = tmp_path / "out.yaml"
    compile_pipeline(small, str(output), settings=("skew_threshold=0.25", "data=s3://b/d.csv"))
    parameters = documents(output)[0]["root"]["inputDefinitions"]["parameters"]
    assert parameters["skew_threshold"]["defaultValue"] == 0.25
    assert parameters["data"]["defaultValue"] == "s3://b/d.csv"


def test_a_long_name_still_leaves_room_for_the_digest(tmp_path):
    name = "a" * 99 + "-" + "b" * 28
    (tmp_path / "long.py").write_text(SMALL.replace('"small"', f'"{name}"'))
    version = version_of(str(tmp_path / "long.py"), tmp_path / "out.yaml")
    assert PIPELINE.fullmatch(version) and version.startswith("a" * 99)


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


def test_in_a_folder_older_versions_stay_beside_the_new_one(tmp_path):
    folder = f"{tmp_path}/compiled/"
    first = compile_pipeline("taxi", folder, kubernetes=True)
    assert compile_pipeline("taxi", folder, kubernetes=True) == first  # nothing has changed
    second = compile_pipeline("taxi", folder, kubernetes=True, settings=("steps=7",))
    found = sorted(path.relative_to(folder).as_posix() for path in Path(folder).rglob("*.yaml"))
    names = sorted(path.name for path in (first, second))
    pipelines = ["pipelines/folder.yaml", "pipelines/taxi.yaml"]
    versions = ["versions/folder.yaml", *(f"versions/{name}" for name in names)]
    assert found == pipelines + versions
    manifest = yaml.load(second.read_text(), yaml.CSafeLoader)
    assert manifest["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"] == "1"


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
    """Without an environment nothing is said of where it runs, and the laptop is no cluster."""
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


def test_a_pipeline_and_its_versions_stay_when_their_file_is_gone(manifests):
    for document in documents(manifests):
        annotations = document["metadata"]["annotations"]
        assert annotations["kustomize.toolkit.fluxcd.io/prune"] == "disabled"
        assert annotations["argocd.argoproj.io/compare-options"] == "IgnoreExtraneous"
        options = annotations["argocd.argoproj.io/sync-options"].split(",")
        assert {"Prune=false", "Delete=false"} <= {*options}


@pytest.fixture
def yaml_calls(monkeypatch) -> Counter[str]:
    """How often PyYAML is asked to read or to write, by whomever."""
    calls: Counter[str] = Counter()

    def counted(name: str):
        real = getattr(yaml, name)

        def call(*arguments, **options):
            calls[name] += 1
            return real(*arguments, **options)

        return call

    for name in ("load", "load_all", "dump_all"):
        monkeypatch.setattr(yaml, name, counted(name))
    return calls


def test_one_compile_writes_once_and_reads_what_it_is_given_once(small, tmp_path, yaml_calls):
    output = str(tmp_path / "out.yaml")
    images.entries(images.lock_file())  # read once in a process
    yaml_calls.clear()
    compile_pipeline(small, output)
    assert yaml_calls == {"dump_all": 1}
    compile_pipeline(small, output, kubernetes=True)
    assert yaml_calls == {"dump_all": 2}
    yaml_calls.clear()
    compile_pipeline(small, output, environment="onprem")  # an environment is a file
    assert yaml_calls == {"load": 1, "dump_all": 1}
    yaml_calls.clear()
    compile_pipeline(output, str(tmp_path / "again.yaml"), kubernetes=True)
    assert yaml_calls == {"load_all": 1, "dump_all": 1}


def test_compiling_imports_no_client_and_who_asks_for_it_gets_it(tmp_path):
    program = """
import sys
from edgeline.client.compiling import compile_pipeline
settings = ("destination=s3://models/taxi",)
compile_pipeline("taxi", "taxi.yaml", True, settings=settings, environment="onprem")
found = {"kubernetes", "kfp.client", "kfp_server_api", "requests", "google.auth"} & set(sys.modules)
assert not found, found
import kfp
from kfp import Client, components, dsl
assert kfp.Client is Client is sys.modules["kfp.client"].Client
assert kfp.components is components and kfp.dsl is dsl and kfp.compiler.Compiler
assert not hasattr(kfp, "nothing")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_a_default_of_several_lines_stays_in_the_comment(small, tmp_path):
    text = "one\n\ncomponents: {}\n"
    Path(small).write_text(SMALL.replace('split_key: str = ""', f"split_key: str = {text!r}"))
    path = compile_pipeline(small, str(tmp_path / "out.yaml"))
    (spec,) = documents(path)
    assert spec["root"]["inputDefinitions"]["parameters"]["split_key"]["defaultValue"] == text
    again = compile_pipeline(str(path), str(tmp_path / "again.yaml"))
    assert documents(again) == [spec]


def test_a_description_of_several_lines_survives_a_second_compiling(small, tmp_path):
    Path(small).write_text(SMALL.replace('"Read and look."', '"Read.\\n\\n  And look: #1"'))
    first = compile_pipeline(small, str(tmp_path / "ir.yaml"))
    again = compile_pipeline(str(first), str(tmp_path / "again.yaml"))
    assert again.read_text() == first.read_text()
    output = compile_pipeline(str(first), str(tmp_path / "out.yaml"), kubernetes=True)
    for manifest in documents(output):
        assert manifest["spec"]["description"] == "Read.\n\n  And look: #1"


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
