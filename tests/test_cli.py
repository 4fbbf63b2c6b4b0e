"""Every command: exit codes, the nearest name, and no option without a help text."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from cli_here import Edgeline, edgeline

from edgeline.cli import main as cli

__all__ = ["edgeline"]

USAGE, FAILED = 2, 1
LONG = "x" * 5000


def leaves(group: click.Group, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from leaves(command, *path, name)
        else:
            yield (*path, name), command


COMMANDS = dict(leaves(cli.cli))
PASSED_ON = ("serve",)  # to argparse, which the server's image has without click


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_and_option_has_a_help_text(
    path: tuple[str, ...], edgeline: Edgeline
) -> None:
    command = COMMANDS[path]
    assert command.help
    for parameter in command.params:
        assert isinstance(parameter, click.Argument) or getattr(parameter, "help", ""), parameter
    code, said = edgeline(*path, "--help")
    assert code == 0
    assert said.lower().startswith("usage: edgeline " + " ".join(path))


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_an_unknown_option_or_a_missing_argument_is_wrong_usage(
    path: tuple[str, ...], edgeline: Edgeline
) -> None:
    code, said = edgeline(*path, "--frobnicate")
    assert code == USAGE, said
    if path in (PASSED_ON,) or any(entry.required for entry in COMMANDS[path].params):
        code, said = edgeline(*path)
        assert code == USAGE, said


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_an_empty_value_is_wrong_usage(
    path: tuple[str, ...], edgeline: Edgeline, tmp_path: Path
) -> None:
    kept = sorted(tmp_path.iterdir())
    parameters = COMMANDS[path].params
    needed = ["x" for each in parameters if isinstance(each, click.Argument) and each.required]
    options = [each for each in parameters if isinstance(each, click.Option) and not each.is_flag]
    for option in options:
        code, said = edgeline(*path, *needed, option.opts[-1], "")
        assert code == USAGE, said
        assert "is empty" in said or "''" in said
    if any(isinstance(each, click.Argument) for each in parameters):
        code, said = edgeline(*path, "")
        assert code == USAGE, said
    assert sorted(tmp_path.iterdir()) == kept


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("frobnicate", "No such command 'frobnicate'"),
        ("complie taxi", "compile"),
        ("run taxy", "There is no pipeline 'taxy'. Did you mean taxi?"),
        ("run taxy --help", "Did you mean taxi?"),
        ("run TAXI", "Did you mean taxi?"),
        ("run nowhere.py", "nowhere.py does not exist: check the path"),
        ("run broken.yaml", "broken.yaml is not a compiled pipeline"),
        ("run deep.yaml", "nested more than 100 levels deep"),
        ("run huge.yaml", "it has more than 64 MiB"),
        ("pipelines deep.yaml", "nested more than 100 levels deep"),
        ("pipelines three.yaml", "three.yaml is not a compiled pipeline: it is not an object"),
        ("pipelines info.yaml", "pipelineInfo is not an object with a name"),
        ("pipelines root.yaml", "root.yaml is not a compiled pipeline: it is not of KFP's format"),
        ("pipelines pipe.yaml", "pipe.yaml is a pipe, not a pipeline"),
        ("pipelines circle.yaml", "circle.yaml is a link to itself, not a pipeline"),
        ("pipelines dir.py", "dir.py is a folder, not a pipeline"),
        (f"pipelines {LONG}", "There is no pipeline 'xxx"),
        (f"run {LONG}", "There is no pipeline 'xxx"),
        (f"run taxi --root {LONG}", "cannot be made (File name too long)"),
        ("run taxi --module bundle", "Parameter module: Module 'bundle' cannot be found"),
        ("run taxi --module model.tflite", "Parameter module: model.tflite is not a Python file"),
        (f"run taxi --module {LONG}", "Parameter module: Module 'xxx"),
        ("run taxi --module dir.py", "Parameter module: dir.py is a folder"),
        ("run taxi --module pipe.py", "Parameter module: pipe.py is a pipe, not a file"),
        ("run raises.py", "Importing raises.py failed at raises.py:1"),
        ("run one.py", "one.py holds the component pipeline, not a pipeline"),
        ("run taxi --root model.tflite", "'model.tflite' is a file: name a folder"),
        ("run taxi --set steps=1 --set steps=2", "--set steps is given twice"),
        ("run taxi --module none.py --set module=one.py", "--set module is given twice"),
        ("run taxi --set data=ftp://x/y", "has the scheme ftp://, which is not known"),
        ("run taxi --set steps=true", "true is not an integer"),
        ("run none.py", "none.py has no variable `pipeline` that is a kfp pipeline"),
        ("run model.tflite", "model.tflite is neither a Python file nor a compiled .yaml file"),
        ("run tabular", "Set data, destination, label, model_name, module with --set NAME=VALUE"),
        ("run taxi --set step=5", "Did you mean steps?"),
        ("run taxi --set steps", "write it as NAME=VALUE"),
        ("run taxi --set steps=many", "'many' is not an integer"),
        ("run taxi --set max_metric_drop=NaN", "max_metric_drop is NaN"),
        ("run taxi --set model_name=Taxi", "'Taxi' is impossible: use"),
        ("run taxi --set data=nowhere.csv", "Parameter data: nowhere.csv names no file"),
        ("run taxi --module nowhere.py", "Parameter module: nowhere.py names no file"),
        ("run taxi --set label=tip", "taxi/module.py returns no 'tip'. Did you mean big_tip?"),
        ("compile taxi --set label=tip", "module.py returns no 'tip'. Did you mean big_tip?"),
        ("submit taxi --host http://127.0.0.1:9 --set label=tip", "module.py returns no 'tip'."),
        ("compile taxi --set step=5", "Did you mean steps?"),
        ("compile deep.yaml", "nested more than 100 levels deep"),
        ("compile taxi --env deep.yaml", "nested more than 100 levels deep"),
        ("compile taxi --env pipe.yaml", "pipe.yaml cannot be read (it is not a regular file)"),
        ("compile taxi -o a -o b", "'-o' / '--output': it is given twice"),
        ("compile taxi -o a --output b", "'-o' / '--output': it is given twice"),
        ("compile taxi --namespace ns", "--namespace is for --kubernetes"),
        ("compile taxi --env onprme", "There is no environment 'onprme'. Did you mean onprem?"),
        ("compile taxi --set destination=ftp://x/y", "ftp://x/y is not a destination"),
        ("run taxi --set destination=", "The destination is empty"),
        ("run taxi --set destination=https://h/x", "https://h/x is not a destination"),
        ("run taxi --set label=null", "--set label is null"),
        ("compile taxi --env onprem", "gone when the pod is: give --set destination=s3://"),
        ("compile taxi --kubernetes --namespace Bad", "Namespace 'Bad' is refused by Kubernetes"),
        ("compile taxi --env nowhere.yaml", "There is no environment 'nowhere.yaml'."),
        ("compile taxi --env other.yaml", "Environment other.yaml is not valid"),
        ("compile taxi -o model.tflite/taxi.yaml", "'model.tflite' is a file"),
        ("submit taxi --host http://127.0.0.1:9 --env other.yaml", "other.yaml is not valid"),
        ("submit taxi --host http://me:secret@x", "has a user or a password in it"),
        ("submit taxi", "Which server? Give its address (--host)"),
        ("submit taxi --host http://127.0.0.1:x", "address is malformed"),
        ("submit taxi --host http://:80", "address is malformed"),
        ("submit taxi --host http://a..b", "address is malformed"),
        ("submit taxi --host http://a%20b", "address is malformed"),
        ("submit taxi --host ftp://x", "ftp://x is not a server's address"),
        ("submit taxy --host http://x", "Did you mean taxi?"),
        ("submit taxi --host http://x --set steps=null", "steps is null"),
        ("pipelines taxy", "Did you mean taxi?"),
        ("pipelines one.py", "one.py holds the component pipeline, not a pipeline"),
        ("components ingst", "There is no component 'ingst'. Did you mean ingest?"),
        ("lint", "There is nothing to lint"),
        ("lint --rules bundle", "--rules lists the rules and checks nothing"),
        ("lint --rules -o x", "--rules lists the rules and checks nothing"),
        (f"lint ok.yaml -o {LONG}", "cannot be made (File name too long)"),
        ("lint pipe.yaml", "'pipe.yaml' is a pipe, not a file"),
        ("lint nowhere", "'nowhere' does not exist"),
        ("lint bundle", "holds no"),
        ("lint list.yaml", "list.yaml holds no object"),
        ("lint broken.yaml -o bundle", "'bundle' is a folder: name a file"),
        ("verify bundle", "is not a bundle"),
        ("verify s3://bucket", "its URI ends in /NAME/VERSION"),
        ("verify nowhere", "'nowhere' does not exist"),
        ("check nowhere.tflite", "'nowhere.tflite' does not exist"),
        ("check bundle", "bundle is neither a .tflite file nor an edge_model/v1 folder"),
        ("check none.py", "none.py is not a .tflite model"),
        ("check model.tflite --report bundle", "'bundle' is a folder: name a file"),
        ("check model.tflite --target edgetup", "no static check for target 'edgetup'"),
        ("check model.tflite --target edgtpu", "Did you mean edgetpu?"),
        ("check huge.tflite", "a .tflite file has at most"),
        (f"check model.tflite --report {LONG}", "cannot be made (File name too long)"),
        ("check model.tflite --require-mapped nan", "nan is not a finite number"),
        ("check model.tflite --require-mapped 2", "2.0 is not in the range"),
        ("compile-model nowhere.tflite --target litert", "'nowhere.tflite' does not exist"),
        ("compile-model model.tflite --target ethos-u550", "Did you mean ethos-u55?"),
        ("compile-model model.tflite --target litert --quantisation int9", "Did you mean int8?"),
        ("compile-model model.tflite --target litert --scaling 0..2", "Did you mean 0..1?"),
        ("compile-model model.tflite --target litert --set a", "write it as TARGET.OPTION=VALUE"),
        (
            "compile-model model.tflite --target ethos-u55 --set ethosu55.x=1",
            "no target 'ethosu55'. Did you mean ethos-u55?",
        ),
        ("compile-model model.tflite --target litert --set litert.x=1", "has no option 'x'"),
        (
            "compile-model model.tflite --target ethos-u55 --set ethos-u55.optimise=size",
            "Option optimise of target ethos-u55 is 'size'. Did you mean Size?",
        ),
        (
            "compile-model model.tflite --target ethos-u55 --set ethos-u55.optimise=Size "
            "--set ethos-u55.optimise=Size",
            "--set ethos-u55.optimise is given twice",
        ),
        ("compile-model pipe.tflite --target litert", "'pipe.tflite' is a pipe, not a file"),
        ("compile-model huge.tflite --target litert", "a LiteRT model has at most"),
        ("compile-model bundle --target litert", "bundle holds nothing"),
        (f"compile-model model.tflite --target litert -o {LONG}", "(File name too long)"),
        (
            "compile-model model.tflite --target litert --representative text.npz",
            "text.npz is not an .npz or .npy file of numbers (it has another format)",
        ),
        ("compile-model none.py --target litert", "none.py is not a model of a known kind"),
        ("compile-model model.tflite --target litert --representative no.npz", "does not exist"),
        (
            "compile-model model.tflite --target litert --representative none.py",
            "is not an .npz or",
        ),
        (
            "compile-model model.tflite --target litert --representative bundle",
            "bundle has no .png",
        ),
        ("compile-model model.tflite --target litert --scaling 0..1", "--scaling is for a Saved"),
        ("compile-model model.tflite --target litert -o none.py", "is a file: name a folder"),
        ("site render bundle --for kserv --images a/b", "no kind of site 'kserv'. Did you mean"),
        ("site render nowhere --for kserve --images a/b", "'nowhere' does not exist"),
        ("site render bundle --for kserve --images a.b/c", "bundle is not a bundle"),
        ("site push nowhere --images a/b", "'nowhere' does not exist"),
        ("site apply bundle --for compose --images a.b/c", "A cluster does not take compose: use"),
        (
            "site apply bundle --images a.b/c --base a",
            "form kustomize has no modelcar: leave modelcar_base out",
        ),
        ("schedules diff nowhere.yaml", "'nowhere.yaml' does not exist"),
        ("schedules diff other.yaml", "other.yaml is not a schedules file"),
        ("schedules diff deep.yaml", "nested more than 100 levels deep"),
        ("schedules diff huge.yaml", "it has more than 64 MiB"),
        ("images closure deep.yaml", "nested more than 100 levels deep"),
        ("images closure info.yaml", "No image is named"),
        ("images closure broken.yaml", "broken.yaml cannot be read as YAML"),
        ("images closure nowhere", "'nowhere' does not exist"),
        ("serve nowhere", "nowhere does not exist"),
        ("serve huge.tflite --port 0", "a .tflite file has at most"),
        ("serve bundle --port 0 --poll 0", "bundle holds no model"),
        ("serve none.py --port 0", "none.py is not a model"),
        ("serve bundle --tokens nowhere.json", "nowhere.json cannot be read"),
        ("serve bundle --root nowhere.json --state s", "nowhere.json cannot be read"),
        ("serve bundle --root none.py --state s", "none.py is not JSON"),
        ("serve model.tflite --state none.py", "--state none.py is a file"),
        ("serve bundle --host=", "--host is empty"),
        ("serve bundle --names=", "--names is empty"),
        ("serve bundle --port nan", "invalid int value"),
        ("serve bundle --poll nan", "--poll is nan"),
        ("repository add r nowhere --key k", "'nowhere' does not exist"),
        ("repository init r", "The role root has no key"),
        ("repository init r --role-key root=nowhere.pem", "nowhere.pem cannot be read"),
        ("repository init r --role-key root=none.py", "none.py is not a PEM key"),
        ("repository sign r --key pipe.pem", "pipe.pem cannot be read (it is not a regular file)"),
        ("repository init r --keys taken", "snapshot.pem exists: a key is never overwritten"),
        ("repository init ftp://r --keys k", "ftp://r is not a destination"),
        ("repository init none.py --keys k", "none.py cannot be used (Not a directory)"),
        (
            "repository init r --keys k --threshold root=1 --threshold root=2",
            "root is given twice",
        ),
        ("repository add r bundle --key nowhere.pem", "nowhere.pem cannot be read"),
        ("repository sign r --key none.py", "none.py cannot sign: it is not a private key"),
        ("repository withdraw r m 1", "There is no signed repository at "),
        ("repository status r", "There is no signed repository at "),
        ("repository key none.py", "none.py exists: a key is never overwritten"),
        ("repository init r --keys k --expires timestamp=nan", "DAYS is a number from"),
        ("repository init r --keys k --expires timestamp=1e999", "DAYS is a number from"),
        ("repository init r --keys k --threshold root=-1", "N is a number from 1 to 100"),
        ("repository init r --keys k --threshold rot=1", "with a role of root, targets"),
        ("repository prune r --keep 0", "0 is not in the range"),
        ("init .", ". exists already"),
        ("init Wind", "'Wind' cannot name a pipeline"),
        ("init bundle", "bundle exists already"),
        ("init none.py/wind", "none.py/wind cannot be made"),
        ("init wind --example wien", "There is no example 'wien'. Did you mean wine?"),
    ],
)
def test_wrong_usage_is_one_sentence_and_exit_code_2(
    arguments: str, said: str, edgeline: Edgeline, tmp_path: Path
) -> None:
    kept = sorted(tmp_path.iterdir())
    code, output = edgeline(*arguments.split())
    assert code == USAGE, output
    assert said in output
    assert "Traceback" not in output
    assert sorted(tmp_path.iterdir()) == kept  # no run, key or file was begun


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("verify damaged", "damaged/manifest.json"),
        ("lint broken.yaml", "1 errors"),
        ("serve damaged --port 0", "damaged/manifest.json"),
        ("submit taxi --host http://127.0.0.1:9", "cannot be asked (Connection refused)"),
        ("lint deep.yaml huge.yaml", "2 errors"),
        ("lint ok.yaml -o /dev/full", "/dev/full cannot be written (No space left on device)"),
    ],
)
def test_a_failure_is_one_sentence_and_exit_code_1(
    arguments: str, said: str, edgeline: Edgeline
) -> None:
    code, output = edgeline(*arguments.split())
    assert code == FAILED, output
    assert said in output
    assert "Traceback" not in output


def test_an_option_with_a_space_is_one_value(edgeline: Edgeline) -> None:
    code, said = edgeline("submit", "taxi", "--host", "http://a b")
    assert (code, "address is malformed" in said) == (USAGE, True)


def test_every_option_is_given_once(edgeline: Edgeline) -> None:
    for path, command in COMMANDS.items():
        for option in command.params:
            if isinstance(option, click.Option) and not (option.is_flag or option.multiple):
                values = ["x"] * option.nargs
                twice = [option.opts[-1], *values, option.opts[-1], *values]
                code, said = edgeline(*path, *twice)
                assert (code, "is given twice" in said) == (USAGE, True), (path, option.name)


def test_an_output_goes_through_a_link_or_a_device(edgeline: Edgeline, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("target")
    assert edgeline("lint", "ok.yaml", "-o", "link")[0] == 0
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").is_file()
    assert edgeline("compile", "digits", "-o", os.devnull)[0] == 0
    assert Path(os.devnull).is_char_device()


def test_a_way_back_up_makes_no_folder(edgeline: Edgeline, tmp_path: Path) -> None:
    assert edgeline("repository", "key", "new/../q.pem")[0] == 0
    assert (tmp_path / "q.pem").is_file()
    assert not (tmp_path / "new").exists()


def test_an_interruption_is_exit_code_130(
    edgeline: Edgeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("edgeline.pipelines.catalogue.names", interrupt)
    assert edgeline("pipelines")[0] == 130


def test_an_interruption_of_the_imports_is_silent(tmp_path: Path) -> None:
    """A module that interrupts stands for Ctrl-C while click is being imported."""
    (tmp_path / "click.py").write_text("import signal; signal.raise_signal(signal.SIGINT)\n")
    ended = subprocess.run(
        [sys.executable, "-m", "edgeline", "pipelines"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


def test_kfp_does_not_warn_about_a_users_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from kfp import dsl\n\n\n"
        "@dsl.component\ndef one(a: int):\n    pass\n\n\n"
        "@dsl.pipeline(name='mine')\ndef pipeline(a: int):\n    one(a=a)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-m", "edgeline", "run", str(file)], capture_output=True, text=True
    )
    assert ended.returncode == USAGE
    assert ended.stderr.startswith("Error: Set a with --set NAME=VALUE")


@pytest.mark.parametrize("command", [("pipelines",), ("run", "--help"), ("compile", "taxi", "-h")])
def test_lists_import_no_tensorflow(command: tuple[str, ...], edgeline: Edgeline) -> None:
    loaded = "tensorflow" in sys.modules
    assert edgeline(*command)[0] == 0
    assert ("tensorflow" in sys.modules) == loaded


def test_parameters_are_listed_with_type_default_and_description(edgeline: Edgeline) -> None:
    code, pipelines = edgeline("pipelines")
    assert code == 0
    assert "taxi Chicago taxi trips: will the tip exceed a fifth of the fare?" in pipelines
    for command in (("pipelines", "tabular"), ("run", "tabular", "--help")):
        code, told = edgeline(*command)
        assert code == 0
        assert "steps integer" in told
        assert "1000" in told
        assert "Total number of training batches." in told
        assert "required" in told


def test_a_component_is_shown_with_plain_types_and_what_each_thing_is(
    edgeline: Edgeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    code, told = edgeline("components", "train")
    assert code == 0
    assert "transformed_examples Dataset transformed_examples/v1 The model features." in told
    assert "steps int 1000 Training batches in all." in told
    assert "label str required The output of preprocessing_fn that is to be predicted." in told
    assert "model Model model/v1 A SavedModel whose serving_default takes raw features." in told


def test_lists_are_json_for_programs(edgeline: Edgeline) -> None:
    components = {each["name"]: each for each in json.loads(edgeline("components", "--json")[1])}
    assert components["train"]["outputs"][0]["name"] == "model"
    pipelines = {each["name"]: each for each in json.loads(edgeline("pipelines", "--json")[1])}
    assert pipelines["taxi"]["description"].startswith("Chicago taxi trips")
    parameters = json.loads(edgeline("pipelines", "tabular", "--json")[1])["parameters"]
    by_name = {each["name"]: each for each in parameters}
    assert by_name["training.steps"]["default"] == 1000
    assert by_name["data"]["required"]
    assert by_name["data"]["default"] is None
    rules = {each["rule"] for each in json.loads(edgeline("lint", "--rules", "--json")[1])}
    assert "name-rejected" in rules


def test_findings_are_json_for_programs(edgeline: Edgeline, tmp_path: Path) -> None:
    (tmp_path / "pod.yaml").write_text(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n"
        "spec: {containers: [{name: a, image: busybox}]}\n"
    )
    code, told = edgeline("lint", "pod.yaml", "--json")
    document, _, counted = told.rpartition("] ")
    assert code == FAILED
    assert "errors" in counted
    assert {each["level"] for each in json.loads(document + "]")} >= {"error"}
    assert edgeline("lint", "pod.yaml", "--json", "--format", "sarif")[0] == USAGE
    images = json.loads(edgeline("images", "closure", "pod.yaml", "--json")[1])
    assert [each["image"] for each in images] == ["busybox"]


def test_the_parameters_of_ones_own_file_are_listed(edgeline: Edgeline, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from edgeline.pipelines.tabular.pipeline import specialise\n"
        "pipeline = specialise('mine', 'Mine [bold]: a test.', steps=7)\n"
    )
    code, told = edgeline("pipelines", "mine.py")
    assert code == 0
    assert "Mine [bold]: a test." in told
    assert "steps integer 7 Total number" in told
    assert "steps integer, default 7." in edgeline("submit", "--help", "mine.py")[1]


SPEAKS = {
    ("serve",): "it answers until it is ended",
    ("fleet", "serve"): "it answers until it is ended",
    ("images", "build"): "Docker speaks",
    ("tune-trial",): "its lines are for Katib",
}


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_has_json_for_programs(path: tuple[str, ...]) -> None:
    flags = [flag for each in COMMANDS[path].params for flag in each.opts]
    assert ("--json" in flags) != (path in SPEAKS), SPEAKS.get(path)


def test_what_a_command_did_is_json_for_programs(edgeline: Edgeline, tmp_path: Path) -> None:
    def done(line: str) -> dict[str, Any]:
        code, said = edgeline(*line.split(), "--json")
        assert code == 0, said
        found: dict[str, Any] = json.JSONDecoder().raw_decode(said)[0]  # warnings follow it
        return found

    rows = "".join(f"{n % 9},{n % 5},{'yes' if n % 3 else 'no'}\n" for n in range(60))
    (tmp_path / "rows.csv").write_text("a,b,label\n" + rows)
    made = done("init project --data rows.csv")
    assert (made["folder"], made["label"]) == ("project", "label")
    assert made["task"] == "binary_classification"
    assert made["said"][-1].startswith("Created project.")
    assert done("compile taxi -o taxi.yaml --set destination=s3://bucket/models") == {
        "file": "taxi.yaml",
        "said": ["taxi.yaml"],
    }
    assert done("repository key key.pem")["file"] == "key.pem"
    assert len(done("repository key other.pem")["key"]) == 64
    made = done("repository init updates --keys keys")
    assert made["live"] is True and made["missing_signatures"] == {}
    assert done("repository sign updates --key keys")["signed"] == ["timestamp"]
    assert done("runs prune")["removed"] == []
    code, said = edgeline("init", "project", "--json")
    assert (
        code == USAGE
        and said == "Error: project exists already: give a new name, or remove it first."
    )
