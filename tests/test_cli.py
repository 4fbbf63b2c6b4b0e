"""Every command: exit codes, the nearest name, and no option without a help text."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from edgeline import cli

USAGE, FAILED = 2, 1


def leaves(group: click.Group, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from leaves(command, *path, name)
        else:
            yield (*path, name), command


COMMANDS = dict(leaves(cli.cli))
PASSED_ON = ("serve",)  # to argparse, which the server's image has without click


class Edgeline:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch, self.capsys = monkeypatch, capsys

    def __call__(self, *arguments: str) -> tuple[int, str]:
        """Exit code and all that is printed, in one line."""
        self.monkeypatch.setattr("sys.argv", ["edgeline", *arguments])
        before = signal.getsignal(signal.SIGTERM)
        code: object = 0
        try:
            cli.main()
        except SystemExit as ended:
            code = ended.code or 0
        finally:
            signal.signal(signal.SIGTERM, before)
        out, err = self.capsys.readouterr()
        assert isinstance(code, int)
        return code, " ".join((out + err).split())


@pytest.fixture
def edgeline(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Edgeline:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KF_PIPELINES_ENDPOINT", raising=False)
    (tmp_path / "model.tflite").touch()
    (tmp_path / "bundle").mkdir()
    (tmp_path / "broken.yaml").write_text("a: [1\n")
    (tmp_path / "none.py").write_text("pipeline = 5\n")
    return Edgeline(monkeypatch, capsys)


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


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("frobnicate", "No such command 'frobnicate'"),
        ("complie taxi", "compile"),
        ("run taxy", "There is no pipeline 'taxy'. Did you mean taxi?"),
        ("run taxy --help", "Did you mean taxi?"),
        ("run TAXI", "Did you mean taxi?"),
        ("run nowhere.py", "There is no pipeline 'nowhere.py'. Choose one of digits, pretrained"),
        ("run broken.yaml", "broken.yaml is not a compiled pipeline"),
        ("run none.py", "none.py has no variable `pipeline` that is a kfp pipeline"),
        ("run model.tflite", "model.tflite is neither a Python file nor a compiled .yaml file"),
        ("run tabular", "Set data, module, label, model_name, destination with --set NAME=VALUE"),
        ("run taxi --set step=5", "Did you mean steps?"),
        ("run taxi --set steps", "write it as NAME=VALUE"),
        ("run taxi --set steps=many", "'many' is not an integer"),
        ("run taxi --set max_metric_drop=NaN", "max_metric_drop is NaN"),
        ("run taxi --set model_name=Taxi", "'Taxi' is impossible: use"),
        ("run taxi --set data=nowhere.csv", "Parameter data: nowhere.csv names no file"),
        ("run taxi --module nowhere.py", "Parameter module: nowhere.py names no file"),
        ("compile taxi --set step=5", "Did you mean steps?"),
        ("compile taxi --env onprme", "There is no environment 'onprme'. Did you mean onprem?"),
        ("compile taxi --env onprem", "gone when the pod is: give --set destination=s3://"),
        ("compile taxi --kubernetes --namespace Bad", "Namespace 'Bad' is refused by Kubernetes"),
        ("compile taxi --env nowhere.yaml", "There is no environment 'nowhere.yaml'."),
        ("submit taxi", "Which server? Give --host"),
        ("submit taxi --host ftp://x", "ftp://x is not a server's address"),
        ("submit taxy --host http://x", "Did you mean taxi?"),
        ("submit taxi --host http://x --set steps=null", "steps is null"),
        ("pipelines taxy", "Did you mean taxi?"),
        ("components ingst", "There is no component 'ingst'. Did you mean ingest?"),
        ("lint", "There is nothing to lint"),
        ("lint nowhere", "'nowhere' does not exist"),
        ("verify nowhere", "'nowhere' does not exist"),
        ("check nowhere.tflite", "'nowhere.tflite' does not exist"),
        ("check model.tflite --target edgetup", "no static check for target 'edgetup'"),
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
        ("site render bundle --for kserv --images a/b", "no kind of site 'kserv'. Did you mean"),
        ("site render nowhere --for kserve --images a/b", "'nowhere' does not exist"),
        ("site push nowhere --images a/b", "'nowhere' does not exist"),
        ("schedules diff nowhere.yaml", "'nowhere.yaml' does not exist"),
        ("images closure nowhere", "'nowhere' does not exist"),
        ("serve nowhere", "nowhere does not exist"),
        ("serve bundle --port nan", "invalid int value"),
        ("serve bundle --poll nan", "--poll is nan"),
        ("repository add r nowhere --key k", "'nowhere' does not exist"),
        ("repository init r --keys k --expires timestamp=nan", "DAYS is a number from"),
        ("repository init r --keys k --expires timestamp=1e999", "DAYS is a number from"),
        ("repository init r --keys k --threshold root=-1", "N is a number from 1 to 100"),
        ("repository init r --keys k --threshold rot=1", "with a role of root, targets"),
        ("repository prune r --keep 0", "0 is not in the range"),
        ("init Wind", "'Wind' cannot name a pipeline"),
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
        ("verify bundle", "is not a bundle"),
        ("lint bundle", "holds no"),
        ("check model.tflite", "model.tflite"),
        ("repository status r", "There is no signed repository at "),
    ],
)
def test_a_failure_is_one_sentence_and_exit_code_1(
    arguments: str, said: str, edgeline: Edgeline
) -> None:
    code, output = edgeline(*arguments.split())
    assert code == FAILED, output
    assert said in output
    assert "Traceback" not in output


def test_an_interruption_is_exit_code_130(
    edgeline: Edgeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("edgeline.listing.show_pipelines", interrupt)
    assert edgeline("pipelines")[0] == 130


@pytest.mark.parametrize("command", [("pipelines",), ("run", "--help"), ("compile", "taxi", "-h")])
def test_lists_import_no_tensorflow(command: tuple[str, ...], edgeline: Edgeline) -> None:
    import sys

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
