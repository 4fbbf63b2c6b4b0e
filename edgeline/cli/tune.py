"""`edgeline tune`: search for a pipeline's best hyperparameters, then run it with them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from edgeline.cli.arguments import as_json, new_path, setting
from edgeline.cli.pipelines import PipelineCommand
from edgeline.cli.run import root_of_runs, run_pipeline
from edgeline.environments import NAMES
from edgeline.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edgeline.pipelines.parameter import Parameter

TUNED = "tuned"
KATIB, OPTIMIZATION_JOB = "katib", "optimization-job"


@click.command(cls=PipelineCommand)
@click.argument("pipeline")
@click.option("--trials", type=click.IntRange(1), help="How many trials; by default 20.")
@click.option(
    "--objective",
    "objectives",
    multiple=True,
    metavar="NAME",
    help="What to make better, for example auc, size_bytes or tflite-micro.arena_bytes; several "
    "times for several. By default the metric of the task.",
)
@setting
@click.option("--cache", is_flag=True, help="Reuse the results of unchanged tasks.")
@click.option(
    "--as",
    "system",
    type=click.Choice((KATIB, OPTIMIZATION_JOB)),
    help="Write a manifest, by which a cluster's Katib or Kubeflow Trainer carries out the search, "
    "and run nothing.",
)
@click.option(
    "-o",
    "--output",
    callback=new_path,
    help="With --as: the file to write; by default <name>.yaml.",
)
@click.option(
    "--env",
    "environment",
    metavar="NAME",
    help=f"With --as: the environment of the trials: {', '.join(NAMES)}, or a file.",
)
@click.option("--namespace", help="With --as; by default the environment's, or kubeflow.")
@root_of_runs
@as_json
def tune(
    pipeline: str,
    trials: int | None,
    objectives: tuple[str, ...],
    settings: tuple[str, ...],
    cache: bool,
    system: str | None,
    output: str | None,
    environment: str | None,
    namespace: str | None,
    root: str,
    as_json: bool,
) -> None:
    """Search for PIPELINE's best hyperparameters, then run it with them, on this machine.

    It is the pipeline `tuned` with PIPELINE's own defaults: one that `edgeline pipelines` lists, or
    a Python file with a variable `pipeline`. The search space is the function search_space(trial)
    of its module, or --set search_space=FILE. --set takes the parameters of `tuned`.

    A run that was interrupted goes on with `edgeline run --resume`: finished trials count.

    With --as nothing runs: the search is written as Katib's Experiment or Kubeflow Trainer's
    OptimizationJob, whose trials run `edgeline tune-trial`.
    """
    from edgeline.pipelines import catalogue
    from edgeline.pipelines.parameters import parameters_of

    own = parameters_of(catalogue.load(pipeline))
    wanted = parameters_of(catalogue.load(TUNED))
    given = {each.partition("=")[0].rpartition(".")[2] for each in settings}
    asked = list(settings)
    for name, value in (("trials", trials), ("objectives", list(objectives))):
        if value and name in given:
            raise UsageError(f"--set {name} is given beside an option for it: leave one out.")
        if value:
            asked.append(f"{name}={json.dumps(value)}")
    known, left_out = defaults(pipeline, own, wanted)
    asked += [line for name, line in known.items() if name.rpartition(".")[2] not in given]
    if left_out:
        click.echo(
            f"{TUNED} has no {', '.join(sorted(left_out))}: these defaults of {pipeline} are left "
            "out.",
            err=True,
        )
    if system:
        source = click.get_current_context().get_parameter_source("root")
        if cache or as_json or source is ParameterSource.COMMANDLINE:
            raise UsageError(
                "--cache, --json and --root are for a search here: leave them out with --as."
            )
        _write(system, asked, output, environment, namespace)
        return
    given_for = {"-o": output, "--env": environment, "--namespace": namespace}
    for option, told in given_for.items():
        if told:
            raise UsageError(f"{option} is for a manifest: give --as, too, or leave it out.")
    run_pipeline(TUNED, tuple(asked), Path(root), cache, as_json=as_json)


def _write(
    system: str,
    settings: list[str],
    output: str | None,
    environment: str | None,
    namespace: str | None,
) -> None:
    """Write the manifest of a search, and tell what the other system does not do of it."""
    from edgeline import preflight
    from edgeline.artifacts.folder import write_output
    from edgeline.client import katib, optimization_job
    from edgeline.client.declared_search import declared
    from edgeline.environments.environment import load
    from edgeline.formats import names, plain_yaml
    from edgeline.pipelines import catalogue
    from edgeline.pipelines.parameters import missing, parameters_of, parse

    if not environment:
        raise UsageError(f"--as {system} needs the environment of the trials: give --env.")
    place = load(environment)
    if not place.is_cluster:
        raise UsageError(f"Environment {environment} is not a cluster: give --env another one.")
    within = namespace or place.namespace or "kubeflow"
    names.check_namespace(within)
    parameters = parameters_of(catalogue.load(TUNED))
    arguments = parse(settings, parameters)
    if absent := missing(parameters, arguments):
        raise UsageError(f"Set {', '.join(absent)} with --set NAME=VALUE.")
    called = katib.NAME if system == KATIB else optimization_job.NAME
    search = declared(arguments, parameters, called, place)
    preflight.before_a_run_there(parameters, arguments)
    if system == KATIB:
        documents = [katib.experiment(search, place, within)]
    else:
        documents = [*optimization_job.documents(search, place, within)]
    name = documents[-1]["metadata"]["name"]
    path = write_output(Path(output or f"{name}.yaml"), plain_yaml.dump(documents))
    click.echo(str(path))
    first, *others = (each.name for each in search.objectives)
    if others:
        click.echo(
            f"{called} searches for {first} alone; {', '.join(others)}: recorded of each trial.",
            err=True,
        )
    images = re.findall(r"^ +image: (\S+)$", path.read_text(), re.MULTILINE)
    if tags := [each for each in images if "@sha256:" not in each]:
        click.echo(
            f"Warning: {', '.join(tags)} without a digest may be another image tomorrow: push the "
            "images, run `edgeline images lock`, and write it again.",
            err=True,
        )


def defaults(
    pipeline: str, own: Mapping[str, Parameter], wanted: Mapping[str, Parameter]
) -> tuple[dict[str, str], list[str]]:
    """A pipeline's own defaults, as `--set` takes them, and what of them cannot be taken over.

    Args:
        own: the parameters of the pipeline.
        wanted: those of `tuned`.

    Raises:
        UsageError: it is not a pipeline that trains from edgeline's forms.
    """
    if not {"module", "label"} <= {*own} or not any(each.struct for each in own.values()):
        raise UsageError(
            f"{pipeline} is not a pipeline of edgeline's that trains a model: name one such as "
            f"taxi, or give `edgeline tune {TUNED}` its parameters."
        )
    found: dict[str, Any] = {}
    left_out: list[str] = []
    for name, each in own.items():
        if each.default is None:
            continue
        if not each.fields:
            found[each.called] = each.default
            continue
        theirs, struct = wanted.get(name), each.fields
        for field, value in each.default.items():
            if theirs is not None and field in theirs.fields:
                if value != theirs.default.get(field):
                    found[f"{each.called}.{field}"] = value
            elif value != struct[field].default:
                left_out.append(f"{each.called}.{field}")
    if "edge" in {each.called for each in own.values()} and not _has(own, "quantisation"):
        found["edge.quantisation"] = "int8"  # what a pipeline without that field makes
    return dict(_lines(found)), left_out


def _has(parameters: Mapping[str, Parameter], field: str) -> bool:
    return any(field in each.fields for each in parameters.values())


def _lines(values: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    for name, value in values.items():
        yield name, f"{name}={value if isinstance(value, str) else json.dumps(value)}"
