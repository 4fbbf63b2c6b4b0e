"""`edgeline compile` writes what KFP and Kubernetes take, and nothing of this machine."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import jsonschema
import pytest
import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2
from small_pipeline import SMALL, cli, documents, small

from edgeline import images
from edgeline.client.compiling import compile_pipeline
from edgeline.formats.names import PIPELINE
from edgeline.pipelines import catalogue

__all__ = ["small"]
ROOT = Path(__file__).parents[1]
CRDS = Path(__file__).parent / "data" / "crds"

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


@pytest.fixture(scope="module", params=catalogue.names())
def compiled(request, tmp_path_factory) -> Path:
    return compile_pipeline(request.param, str(tmp_path_factory.mktemp("ir") / "pipeline.yaml"))


@pytest.fixture(scope="module", params=catalogue.names())
def manifests(request, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("manifests") / "pipeline.yaml"
    return compile_pipeline(request.param, str(output), kubernetes=True, namespace="team-a")


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
