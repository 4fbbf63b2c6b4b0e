"""Each rule finds the fault that is seeded for it, and no rule finds another."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from edgeline.client.compiling import compile_pipeline
from edgeline.errors import EdgelineError
from edgeline.lint.lint import RULES, lint
from edgeline.lint.pipelines import ANNOTATION_BYTES, ETCD_BYTES

FAULTS = Path(__file__).parent / "faults"
TOO_LARGE_TO_KEEP = {"too-large-for-etcd": ETCD_BYTES, "too-large-for-apply": ANNOTATION_BYTES}
SEEDED = sorted(path for path in FAULTS.iterdir())
DIGEST = "sha256:" + "0" * 64


def test_every_rule_has_a_seeded_fault() -> None:
    names = {path.stem for path in SEEDED} | TOO_LARGE_TO_KEEP.keys()
    assert names == {rule.id for rule in RULES}


@pytest.mark.parametrize("path", SEEDED, ids=lambda path: path.stem)
def test_the_seeded_fault_is_found_and_no_other(path: Path) -> None:
    assert [finding.rule for finding in lint([path])] == [path.stem]


def test_the_whole_folder_has_each_fault_once() -> None:
    found = sorted(finding.rule for finding in lint([FAULTS]))
    assert found == sorted(path.stem for path in SEEDED)


@pytest.mark.parametrize(("rule", "size"), TOO_LARGE_TO_KEEP.items())
def test_an_object_that_is_too_large(rule: str, size: int, tmp_path: Path) -> None:
    manifest = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "large"},
        "data": {"text": "x" * size},
    }
    (tmp_path / "large.json").write_text(json.dumps(manifest))
    assert [finding.rule for finding in lint([tmp_path])] == [rule]


def test_a_finding_names_file_line_path_rule_and_fix() -> None:
    (finding,) = lint([FAULTS / "image-not-pinned.yaml"])
    assert str(finding) == (
        f"{FAULTS / 'image-not-pinned.yaml'}:12: warning: spec.template.spec.containers[0].image: "
        "image ghcr.io/example/server:1.2 has no digest: name it by digest "
        "(repository@sha256:...); `edgeline images lock` writes them [image-not-pinned]"
    )


def test_a_digest_set_by_kustomize_pins_the_image_of_its_base(tmp_path: Path) -> None:
    fault = (FAULTS / "image-not-pinned.yaml").read_text()
    (tmp_path / "deployment.yaml").write_text(fault)
    (tmp_path / "kustomization.yaml").write_text(
        "resources: [deployment.yaml]\n"
        f"images: [{{name: ghcr.io/example/server, digest: {DIGEST}}}]\n"
    )
    assert lint([tmp_path]) == []


@pytest.mark.parametrize(
    ("image", "entry", "rules"),
    [
        ("server", "newTag: '1.2'", ["image-not-pinned"]),
        ("server", "newTag: latest", ["image-tag-moves"]),
        ("server", "newName: ghcr.io/example/server", ["image-tag-moves"]),
        ("registry:5000/server", "newTag: latest", ["image-tag-moves"]),  # no entry for it
        ("registry:5000/server:1", "newTag: latest", ["image-not-pinned"]),
        (f"server:1.2@{DIGEST}", "newTag: latest", []),
    ],
)
def test_a_version_is_a_warning_and_a_moving_tag_an_error(
    image: str, entry: str, rules: list[str], tmp_path: Path
) -> None:
    fault = (FAULTS / "image-not-pinned.yaml").read_text()
    (tmp_path / "deployment.yaml").write_text(fault.replace("ghcr.io/example/server:1.2", image))
    (tmp_path / "kustomization.yaml").write_text(
        f"resources: [deployment.yaml]\nimages: [{{name: server, {entry}}}]\n"
    )
    assert [finding.rule for finding in lint([tmp_path])] == rules


def test_a_patch_is_not_taken_for_a_whole_object(tmp_path: Path) -> None:
    (tmp_path / "kustomization.yaml").write_text("patches: [{path: more-memory.yaml}]")
    (tmp_path / "more-memory.yaml").write_text(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: server}\nspec: {template: {spec: "
        "{containers: [{name: server, resources: {limits: {memory: 1Gi}}}]}}}"
    )
    assert lint([tmp_path]) == []


def test_an_annotation_says_which_rule_does_not_hold(tmp_path: Path) -> None:
    text = (FAULTS / "privileged.yaml").read_text()
    told = text.replace(
        "  name: sees-the-network\n",
        "  name: sees-the-network\n  annotations: {edgeline.dev/lint-ignore: privileged}\n",
    )
    (tmp_path / "plugin.yaml").write_text(told)
    assert lint([tmp_path]) == []


def test_a_secret_is_never_printed() -> None:
    for name in ("secret-in-clear", "default-credentials"):
        (finding,) = lint([FAULTS / f"{name}.yaml"])
        assert "hunter2" not in str(finding)
        assert "minio123" not in str(finding)


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [*a]\nkind: Pod\n",
        "".join(f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 9) if n else 1}]\n" for n in range(12)),
        "kind: [unclosed",
        "\x00",
        "[" * 5000,
        "a: !!python/object/apply:os.system [echo]",
    ],
    ids=["circle", "laughs", "unclosed", "binary", "deep", "code"],
)
def test_hostile_yaml_is_one_finding(text: str, tmp_path: Path) -> None:
    (tmp_path / "hostile.yaml").write_text(text)
    assert [finding.rule for finding in lint([tmp_path])] == ["no-yaml"]


@pytest.mark.parametrize(
    "text",
    ["kind: 3", "kind: Pod\nmetadata: []\nspec: {containers: [1, null]}", "kind: Role\nrules: 4"],
)
def test_malformed_manifests_do_not_stop_the_linter(text: str, tmp_path: Path) -> None:
    (tmp_path / "odd.yaml").write_text(text)
    assert isinstance(lint([tmp_path]), list)


@pytest.mark.slow
def test_a_schedule_is_held_against_what_is_compiled_beside_it(tmp_path: Path) -> None:
    current = tmp_path / "cluster" / "versions.yaml"
    for settings in ((), ("steps=7",)):
        compile_pipeline(
            "taxi",
            f"{tmp_path}/pipelines/",
            kubernetes=True,
            environment="gcp",
            settings=("destination=s3://bucket/models", *settings),
            current=str(current),
        )
    name = yaml.safe_load(current.read_text())["taxi"]
    file = tmp_path / "cluster" / "schedules.yaml"
    one = "schedules:\n- {name: n, pipeline: taxi, version: current, every: 3600, parameters: {}}\n"

    def said(text: str) -> list[str]:
        file.write_text(text)
        ours = [entry for entry in lint([tmp_path]) if entry.rule.startswith("schedule-")]
        return [f"{entry.rule}: {entry.message}" for entry in ours]

    assert said(one) == []
    assert said(one.replace("current", name)) == []
    (unknown,) = said(one.replace("current", "taxi-0"))
    assert "n runs taxi-0, which is not compiled here (taxi-" in unknown
    (parameter,) = said(one.replace("{}}", "{stepz: 3}}"))
    assert "stepz" in parameter and "Did you mean steps" in parameter
    (misspelt,) = said(one.replace("every: 3600", "crn: 0 0 3 * * *"))
    assert "contains unknown field `crn`" in misspelt
    (above,) = said(f"ownr: us\n{one}")
    assert "the schedules file is none (" in above and "`ownr`" in above
    # nor is one that looks like nothing of ours, where the Job gets it
    generator = "configMapGenerator: [{name: pipeline-schedules, files: [schedules.yaml]}]\n"
    (tmp_path / "cluster" / "kustomization.yaml").write_text(generator)
    (pipline,) = said(one.replace("pipeline:", "pipline:"))
    assert "unknown field `pipline`" in pipline
    (schedule,) = said(one.replace("schedules:", "schedule:"))
    assert "missing required field `schedules`" in schedule or "`schedule`" in schedule
    (tmp_path / "cluster" / "kustomization.yaml").unlink()
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "pipeline-schedules"}}
    data = {"schedules.yaml": one, "versions.yaml": "taxi: taxi-9"}
    assert len(said(yaml.safe_dump({**config, "data": data}))) == 1
    # each environment has its own: neither another's version nor one whose file has left will do
    here = tmp_path / "production"
    file.unlink()
    here.mkdir()
    for folder in ("cluster", "pipelines"):
        (tmp_path / folder).rename(here / folder)
    shutil.copytree(here, tmp_path / "staging")
    file = here / "cluster" / "schedules.yaml"
    assert said(one) == []
    for path in (here / "pipelines" / "versions").glob("taxi*"):
        path.unlink()
    (gone,) = said(one)
    assert f"n runs {name}, and nothing of taxi is compiled here" in gone


def test_nothing_to_lint_is_said(tmp_path: Path) -> None:
    with pytest.raises(EdgelineError, match=r"holds no \.yaml"):
        lint([tmp_path])
    with pytest.raises(EdgelineError, match="is not there"):
        lint([tmp_path / "absent"])


def test_the_command_fails_for_errors_only_and_writes_sarif(tmp_path: Path) -> None:
    def edgeline(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "edgeline", "lint", *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=FAULTS, check=False)

    assert edgeline("writable-root.yaml").returncode == 0  # a warning
    output = tmp_path / "found.sarif"
    done = edgeline(".", "--format", "sarif", "-o", str(output))
    assert done.returncode == 1
    (run,) = json.loads(output.read_text())["runs"]
    ids = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    for result in run["results"]:
        assert ids[result["ruleIndex"]] == result["ruleId"]
        (place,) = result["locations"]
        uri = place["physicalLocation"]["artifactLocation"]["uri"]
        lines = (FAULTS / uri).read_text().count("\n")
        assert 1 <= place["physicalLocation"]["region"]["startLine"] <= lines
    assert len(run["results"]) == len(SEEDED)


def test_a_root_that_the_launcher_does_not_know_is_found_in_a_pipeline_too(tmp_path: Path) -> None:
    text = (FAULTS / "artifact-type-rejected.yaml").read_text().replace("acme.", "system.")
    (tmp_path / "pipeline.yaml").write_text(f"{text}defaultPipelineRoot: azblob://models\n")
    (finding,) = lint([tmp_path])
    assert (finding.rule, finding.path) == ("pipeline-root-scheme", "defaultPipelineRoot")


def test_the_node_s_files_are_as_bad_as_its_network(tmp_path: Path) -> None:
    text = (FAULTS / "privileged.yaml").read_text()
    assert "      hostNetwork: true\n" in text
    volume = "      volumes: [{name: all, hostPath: {path: /}}]\n"
    (tmp_path / "pod.yaml").write_text(text.replace("      hostNetwork: true\n", volume))
    (finding,) = lint([tmp_path])
    assert (finding.rule, finding.path) == ("privileged", "spec.template.spec.volumes[0]")


def test_what_a_rule_asks_for_elsewhere_in_the_tree_is_seen(tmp_path: Path) -> None:
    """A runtime for the model, a rule for the node's label, a worker pool for Beam."""
    for name in ("no-serving-runtime", "coral-label-missing"):
        (tmp_path / f"{name}.yaml").write_text((FAULTS / f"{name}.yaml").read_text())
    assert len(lint([tmp_path])) == 2
    (tmp_path / "runtime.yaml").write_text(
        "kind: ServingRuntime\napiVersion: serving.kserve.io/v1alpha1\nmetadata: {name: ours}\n"
        "spec: {supportedModelFormats: [{name: tflite}]}\n"
    )
    (tmp_path / "rule.yaml").write_text(
        "kind: NodeFeatureRule\napiVersion: nfd.k8s-sigs.io/v1alpha1\nmetadata: {name: coral}\n"
        "spec: {rules: [{matchFeatures: [{matchExpressions: {class: {value: ['0880']}}}]}]}\n"
    )
    assert lint([tmp_path]) == []
    pipeline = (FAULTS / "artifact-type-rejected.yaml").read_text().replace("acme.", "system.")
    flink = (FAULTS / "beam-on-flink.yaml").read_text().replace("v2_0", "v1_19")
    (tmp_path / "beam.yaml").write_text(
        f"{pipeline}x: --environment_config=localhost:50000\n---\n{flink}"
    )
    assert lint([tmp_path]) == []
    (tmp_path / "beam.yaml").write_text(
        f"{pipeline}x: --environment_config=localhost:50000\n---\n"
        + flink.replace("--worker_pool", "--idle")
    )
    assert [finding.rule for finding in lint([tmp_path])] == ["beam-on-flink"]


@pytest.mark.parametrize(
    "text",
    [
        "apiVersion: pipelines.kubeflow.org/v2beta1\nkind: Pipeline\nmetadata: {name: p}\n---\n"
        "apiVersion: pipelines.kubeflow.org/v2beta1\nkind: PipelineVersion\n"
        "metadata: {name: p-0123456789abcdef, annotations: {argocd.argoproj.io/sync-wave: }}\n"
        "spec: {pipelineName: p}\n",
        "apiVersion: pipelines.kubeflow.org/v2beta1\nkind: Pipeline\nmetadata:\n",
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"
        "images: [{name: {a: b}}, {name: [c]}, {name: }]\n",
        "kind: Role\nmetadata: {name: r}\nrules: [{apiGroups: [[a], {b: c}, ]}]\n",
        "pipelineInfo: {name: p}\nroot: {}\ncomponents: {c: {executorLabel: e, outputDefinitions: "
        "{artifacts: {a: {artifactType: {schemaTitle: {}}}}}}}\n",
        "schedules: [{name: s, parameters: {destination: 's3://[models'}}]\n",
    ],
)
def test_a_value_of_another_kind_ends_in_no_traceback(text: str, tmp_path: Path) -> None:
    (tmp_path / "kustomization.yaml").write_text(text)
    (tmp_path / "objects.yaml").write_text(text)
    assert all(str(finding).count("\n") == 0 for finding in lint([tmp_path]))


def test_a_template_names_folders_that_a_team_has_yet_to_make(tmp_path: Path) -> None:
    text = (FAULTS / "folder-not-there" / "flux.yaml").read_text()
    (tmp_path / "environments").mkdir()
    for url, found in (("https://git.acme.org/x", True), ("https://git.example.com/x", False)):
        repository = f"kind: GitRepository\nmetadata: {{name: acme}}\nspec: {{url: '{url}'}}\n"
        (tmp_path / "environments" / "flux.yaml").write_text(
            f"{text}\n---\napiVersion: source.toolkit.fluxcd.io/v1\n{repository}"
        )
        assert ("folder-not-there" in {entry.rule for entry in lint([tmp_path])}) is found


def inference_service(
    folder: Path,
    uri: str = "oci+native://a",
    mode: str = "",
    name: str = "taxi",
    beside: tuple[str, ...] = (),
    **more: object,
) -> list[str]:
    """What the rules of KServe find in an InferenceService in `ml` with components `beside` its
    predictor."""
    annotations = {"serving.kserve.io/deploymentMode": mode} if mode else {}
    value = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name, "namespace": "ml", "annotations": annotations},
        "spec": {"predictor": {"model": {"storageUri": uri, "runtime": "ours"}, **more}},
    }
    value["spec"] |= {component: {"containers": []} for component in beside}
    (folder / "service.yaml").write_text(yaml.safe_dump(value))
    found = [entry for entry in lint([folder]) if entry.rule.startswith("kserve-")]
    return [entry.message.partition(": leave")[0].partition(": end")[0] for entry in found]


def test_what_either_mode_of_kserve_ignores_is_said_where_none_is_written(tmp_path: Path) -> None:
    standard = {"canaryTrafficPercent": 10, "minReplicas": 0}
    knative = {"autoScaling": {}, "deploymentStrategy": {"type": "Recreate"}}
    in_standard = ["canaryTrafficPercent divides no traffic", "minReplicas: 0 is taken for 1"]
    in_knative = ["autoScaling scales nothing", "deploymentStrategy changes nothing"]
    for mode in ("Standard", "RawDeployment"):
        assert inference_service(tmp_path, mode=mode, **standard, **knative) == in_standard
    for mode in ("Knative", "Serverless"):
        assert inference_service(tmp_path, mode=mode, **standard, **knative) == in_knative
    assert sorted(inference_service(tmp_path, **standard, **knative)) == sorted(
        [f"no mode is written, and in Standard {what}" for what in in_standard]
        + [f"no mode is written, and in Knative {what}" for what in in_knative]
    )
    assert inference_service(tmp_path, minReplicas=1, maxReplicas=4) == []


def test_a_name_that_kserve_never_starts_is_one_of_49_and_of_47_with_a_transformer(
    tmp_path: Path,
) -> None:
    """In a short namespace, where it is too long for a label and not for a host's name."""

    def found(length: int, mode: str = "Standard", beside: tuple[str, ...] = ()) -> bool:
        return bool(inference_service(tmp_path, mode=mode, name="a" * length, beside=beside))

    assert [found(48), found(49)] == [False, True]
    assert [found(46, beside=("transformer",)), found(47, beside=("transformer",))] == [False, True]
    assert [found(50, "Knative"), found(51, "Knative")] == [False, True]


@pytest.mark.parametrize(
    ("uri", "others"),
    [
        ("s3://b/models/taxi/1", "s3://b/models/taxi/10, "),
        ("s3://b/models/taxi", "s3://b/models/taxi-2, "),
        ("edgeline+s3://b/models/taxi/1", "edgeline+s3://b/models/taxi/10, "),
        ("s3://b/models/v1.2", "s3://b/models/v1.20, "),
        ("s3://b/taxi", "s3://b/taxi-2, "),
        ("s3://b/models/taxi/", ""),
        ("s3://b/models/taxi/model.tflite", ""),  # a file, and no other
        ("s3://b", ""),
        ("gs://b/models/taxi/1", ""),  # of Cloud Storage, KServe takes the folder
        ("pvc://models/taxi/1", ""),
    ],
)
def test_an_address_in_s3_is_a_prefix_unless_it_ends_in_a_slash(
    uri: str, others: str, tmp_path: Path
) -> None:
    found = inference_service(tmp_path, uri, mode="Standard")
    assert len(found) == bool(others)
    assert all(f"{uri} is also the beginning of {others}" in what for what in found)


def test_a_team_s_namespace_stands_in_argo_cd_s_project(tmp_path: Path) -> None:
    cluster = tmp_path / "environments" / "team-a" / "cluster"
    cluster.mkdir(parents=True)
    text = (FAULTS / "namespace-not-allowed.yaml").read_text()
    text = text.replace("nowhere", "environments/team-a/cluster")
    text = text.replace("namespace: team-a", "namespace: kubeflow")
    (tmp_path / "argocd.yaml").write_text(text)
    (cluster / "role.yaml").write_text("kind: ConfigMap\nmetadata: {name: a, namespace: team-b}\n")

    def found() -> list[str]:
        here = [entry for entry in lint([tmp_path]) if entry.rule == "namespace-not-allowed"]
        return [entry.message.partition(":")[0].rpartition(" ")[2] for entry in here]

    assert found() == ["team-b"]
    (cluster / "kustomization.yaml").write_text("namespace: team-a\nresources: [role.yaml]\n")
    assert found() == ["team-a"]
    (tmp_path / "argocd.yaml").write_text(text.replace("namespace: kubeflow}]", 'namespace: "*"}]'))
    assert found() == []


def test_a_version_of_a_pipeline_that_is_gone_is_named_once(tmp_path: Path) -> None:
    shutil.copytree(FAULTS / "version-left-over", tmp_path, dirs_exist_ok=True)
    (finding,) = lint([tmp_path])
    assert "gone is said to be at gone-0123456789abcdef, which is not compiled" in finding.message
    schedule = "{name: a, pipeline: gone, version: current, every: 3600}"
    (tmp_path / "schedules.yaml").write_text(f"schedules: [{schedule}]\n")
    assert [finding.rule for finding in lint([tmp_path])] == ["schedule-unfit"]
