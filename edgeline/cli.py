"""The command line. Each command imports what it needs when it is called."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from edgeline import __version__
from edgeline.errors import EdgelineError
from edgeline.repository.commands import repository
from edgeline.schedules.commands import schedules
from edgeline.sites.commands import site

RUNS = "edgeline-runs"
NUMBERS = (int, (int, float))
KINDS: dict[str, tuple[Any, str]] = {  # by KFP's name of a parameter's type
    "NUMBER_INTEGER": (int, "a whole number"),
    "NUMBER_DOUBLE": ((int, float), "a number"),
    "BOOLEAN": (bool, "true or false"),
    "LIST": (list, 'a JSON list, for example ["a", "b"]'),
    "STRUCT": (dict, 'a JSON object, for example {"a": 1}'),
}


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="edgeline")
def cli() -> None:
    """Train in the cloud, predict on the device."""


cli.add_command(repository)
cli.add_command(schedules)
cli.add_command(site)


@cli.command()
@click.argument("pipeline")
@click.option(
    "--set", "settings", multiple=True, metavar="NAME=VALUE", help="Set a pipeline parameter."
)
@click.option("--module", help="The Python file with preprocessing_fn and build_model.")
@click.option("--cache", is_flag=True, help="Take unchanged tasks from earlier runs.")
@click.option("--docker", is_flag=True, help="Run each task in a container of its image.")
@click.option("--root", default=RUNS, show_default=True, help="Where runs are kept.")
def run(
    pipeline: str,
    settings: tuple[str, ...],
    module: str | None,
    cache: bool,
    docker: bool,
    root: str,
) -> None:
    """Run PIPELINE on this machine.

    PIPELINE is one of edgeline's (see `edgeline components`), a Python file with a variable
    `pipeline`, or a compiled .yaml file.
    """
    from edgeline.local.command import run_command

    if module:
        settings = (*settings, f"module={module}")
    sys.exit(run_command(pipeline, settings, Path(root), cache, docker))


@cli.command()
@click.argument("pipeline")
@click.option("--host", help="KFP's API; by default KF_PIPELINES_ENDPOINT.")
@click.option("--namespace", help="The profile's, where KFP has several users.")
@click.option("--env", "environment", default="", metavar="NAME", help="Where it runs.")
@click.option("--experiment", default="Default", show_default=True, help="Where it is shown.")
@click.option("--name", default="", help="The run's; by default the pipeline's with the time.")
@click.option("--wait", is_flag=True, help="Wait for its end and show its tasks meanwhile.")
@click.option(
    "--set", "settings", multiple=True, metavar="NAME=VALUE", help="Set a pipeline parameter."
)
def submit(pipeline: str, host: str | None, wait: bool, **request: Any) -> None:
    """Upload PIPELINE to a KFP server, once for each version, and start a run of it."""
    from edgeline.client.command import submit_command

    submit_command(pipeline, host, wait, **request)


@cli.command("compile")
@click.argument("pipeline")
@click.option("-o", "--output", help="The file to write; by default <pipeline>.yaml.")
@click.option("--kubernetes", is_flag=True, help="Write Pipeline and PipelineVersion manifests.")
@click.option("--namespace", help="For --kubernetes; by default the environment's, or kubeflow.")
@click.option(
    "--env",
    "environment",
    metavar="NAME",
    help="Where it runs: laptop, onprem, gcp, aws, azure, edge, or a file.",
)
@click.option(
    "--set", "settings", multiple=True, metavar="NAME=VALUE", help="Set a parameter's default."
)
def compile_(
    pipeline: str,
    output: str | None,
    kubernetes: bool,
    namespace: str | None,
    environment: str | None,
    settings: tuple[str, ...],
) -> None:
    """Compile PIPELINE to KFP's IR, or to Kubernetes manifests."""
    from edgeline.compiling import compile_pipeline, unpinned

    path = compile_pipeline(pipeline, output, kubernetes, namespace, settings, environment or "")
    click.echo(path)
    if tags := unpinned(path):
        click.echo(
            f"Warning: {', '.join(tags)} without a digest may be another image tomorrow: push the "
            "images, run `edgeline images lock`, and compile again.",
            err=True,
        )


@cli.command()
@click.argument("name", required=False)
def components(name: str | None) -> None:
    """List the components with their inputs and outputs, and the pipelines."""
    from edgeline.listing import show_components

    show_components(name)


@cli.command()
@click.argument("paths", nargs=-1)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "sarif"]),
    default="text",
    show_default=True,
    help="How findings are written.",
)
@click.option("-o", "--output", help="A file to write instead of printing.")
@click.option("--rules", is_flag=True, help="Show every rule, why it is one and what to do.")
def lint(paths: tuple[str, ...], form: str, output: str | None, rules: bool) -> None:
    """Look for mistakes in compiled pipelines and Kubernetes manifests, offline.

    PATHS are files, and folders with all that is below them. Exits with 1 where there is an
    error. An object's annotation `edgeline.dev/lint-ignore: RULE, ...` names the rules that do
    not hold for it.
    """
    from edgeline.lint.lint import lint_command, show_rules

    if rules:
        show_rules()
    elif not paths:
        raise EdgelineError("There is nothing to lint: name a folder, or see `--rules`.")
    else:
        sys.exit(0 if lint_command(paths, form, output) else 1)


@cli.command()
@click.argument("bundle")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def verify(bundle: str, as_json: bool) -> None:
    """Check a published BUNDLE: a folder or an s3:// or minio:// address."""
    from edgeline.bundle_check import check_bundle

    sys.exit(check_bundle(bundle, as_json))


@cli.command()
@click.argument("model")
@click.option("--target", default="edgetpu", show_default=True, help="The device to check for.")
@click.option("--compiled", default="", help="What the target's compiler made of it, beside it.")
@click.option("--require-mapped", type=click.FloatRange(0, 1), help="Fail below this share.")
@click.option("--report", help="Write the findings as an HTML page.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def check(
    model: str,
    target: str,
    compiled: str,
    require_mapped: float | None,
    report: str | None,
    as_json: bool,
) -> None:
    """Say which operators of MODEL, a .tflite file, a target will run, without its compiler."""
    from edgeline.placement_check import check_placement

    check_placement(model, target, compiled, require_mapped or 0.0, report, as_json)


@cli.command("compile-model")
@click.argument("model")
@click.option("--target", "targets", multiple=True, required=True, help="A device; repeat it.")
@click.option("--quantisation", default="", help="For all; by default what each is best at.")
@click.option("--representative", default="", help=".npz, .npy, examples or image folder.")
@click.option("--scaling", default="", help="0..1 or -1..1: let the model take pixels, 0 to 255.")
@click.option(
    "--set", "settings", multiple=True, metavar="TARGET.OPTION=VALUE", help="Set an option."
)
@click.option("-o", "--output", default="", help="The folder to write; by default MODEL-compiled.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
def compile_model(as_json: bool, **request: Any) -> None:
    """Convert and compile MODEL for devices, and say what each makes of it.

    MODEL is a SavedModel folder, a .keras, .h5, .tflite or .onnx file, or a folder that train,
    convert or import_model wrote. Targets: litert, tflite-micro, edgetpu, ethos-u55, ethos-u65,
    ethos-u85, onnx, openvino, tvm, qualcomm-htp, imx500, tensorrt.
    """
    from edgeline.compile_model import Request
    from edgeline.compile_model import compile_model as work

    sys.exit(work(Request(**request), as_json))


@cli.command(context_settings={"ignore_unknown_options": True}, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def serve(arguments: tuple[str, ...]) -> None:
    """Serve a bundle, a store of bundles or .tflite files over HTTP and gRPC."""
    from edgeline.server.__main__ import main as serve_main

    sys.exit(serve_main(list(arguments)))


@cli.command()
@click.argument("name")
def init(name: str) -> None:
    """Make a starter project in the new folder NAME, that runs as it is."""
    from edgeline.starter import make_project

    make_project(Path(name))
    click.echo(f"Made {name}. Now: cd {name} && edgeline run pipeline.py")


@cli.group()
def images() -> None:
    """Build, lock, list and mirror container images."""


@images.command("build")
@click.argument("names", nargs=-1)
@click.option("--registry", help="Name them after this registry instead of the lock file's.")
@click.option("--push", is_flag=True, help="Build for every platform and push.")
@click.option("--base-image", help="A base instead of the pinned one, such as a mirror's.")
@click.option("--uv-image", help="An image with uv instead of the pinned one.")
@click.option("--ca", help="A CA bundle for the build, in no layer.")
@click.option("--uv-config", help="A uv.toml with a package index for the build, in no layer.")
def images_build(
    names: tuple[str, ...],
    registry: str | None,
    push: bool,
    base_image: str | None,
    uv_image: str | None,
    ca: str | None,
    uv_config: str | None,
) -> None:
    """Build NAMES (all by default) from edgeline's sources with Docker."""
    from edgeline.images.build import build

    bases = {"BASE_IMAGE": base_image, "UV_IMAGE": uv_image}
    secrets = {"ca.pem": ca, "uv.toml": uv_config}
    build(
        names,
        registry,
        push,
        {name: image for name, image in bases.items() if image},
        {name: Path(file) for name, file in secrets.items() if file},
    )


@images.command("lock")
@click.option("--registry", help="Where the images were pushed, if not where the lock file says.")
@click.option("-o", "--output", help="The lock file to write; EDGELINE_IMAGES names it later.")
@click.option("--kustomization", help="Also write the images as this kustomize Component.")
def images_lock(registry: str | None, output: str | None, kustomization: str | None) -> None:
    """Write the digests of the pushed images into the lock file."""
    from edgeline.images.lock import lock

    file = lock(registry, Path(output) if output else None)
    click.echo(file)
    if kustomization:
        from edgeline.images.kustomization import write

        click.echo(write(Path(kustomization), file))


@images.command("closure")
@click.argument("paths", nargs=-1, required=True)
@click.option("--mirror", help="Copy each image to this registry, digests unchanged.")
def images_closure(paths: tuple[str, ...], mirror: str | None) -> None:
    """List every image that the pipelines and manifests in PATHS need."""
    from edgeline.images import closure

    uses = closure.closure([Path(path) for path in paths])
    if mirror:
        for image, copied in closure.mirror(uses, mirror):
            click.echo(f"{image}\t{copied}")
    else:
        for use in uses:
            click.echo(f"{use.image}\t{use.file}\t{use.place}")


def _say_whole(group: click.Group) -> None:
    """Lists of commands show whole first sentences: click cuts them at the end of a line."""
    for command in group.commands.values():
        command.short_help = " ".join((command.help or "").partition("\n\n")[0].split())
        if isinstance(command, click.Group):
            _say_whole(command)


_say_whole(cli)


def main() -> None:
    """Entry point: 0 good, 1 failed with a sentence, 2 wrong usage, 130 interrupted."""
    # a task's `kill` or a closed terminal ends as Ctrl-C does: cleaned up
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with _sentences():
        cli(standalone_mode=False)


@contextlib.contextmanager
def _sentences() -> Iterator[None]:
    try:
        yield
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted: nothing half-written is left.", err=True)
        sys.exit(130)
    except EdgelineError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
    except OSError as error:
        if not error.strerror:
            raise
        place = f"{error.filename}: " if error.filename else ""
        click.echo(f"Error: {place}{error.strerror}.", err=True)
        sys.exit(1)
    except ModuleNotFoundError as error:
        from edgeline.extras import install_hint

        click.echo(f"Error: {install_hint(error)}", err=True)
        sys.exit(1)


def parse_settings(settings: tuple[str, ...], types: dict[str, str]) -> dict[str, Any]:
    """`name=value` strings as the types that a pipeline's parameters have.

    Args:
        settings: as given to `--set`.
        types: KFP's name of each parameter's type, for example NUMBER_INTEGER.

    Raises:
        click.UsageError: a setting has no `=`, no such parameter, or the wrong type.
        EdgelineError: nothing can be published under the model_name.
    """
    import difflib

    values: dict[str, Any] = {}
    for setting in settings:
        name, separator, text = setting.partition("=")
        if not (separator and name):
            raise click.UsageError(f"--set {setting}: write it as NAME=VALUE.")
        if name not in types:
            near = difflib.get_close_matches(name, types, 1)
            hint = f" Did you mean {near[0]}?" if near else f" It has {', '.join(types)}."
            raise click.UsageError(f"--set {name}: the pipeline has no such parameter.{hint}")
        try:
            values[name] = _value(text, types[name])
        except ValueError as error:
            raise click.UsageError(f"--set {name}: {text!r} is not {error}.") from None
    if isinstance(model := values.get("model_name"), str):  # publish, which asks too, comes last
        from edgeline.bundle import check_name

        check_name("--set model_name", model)
    return values


def _value(text: str, kind: str) -> Any:
    if kind == "STRING":
        return text
    wanted, what = KINDS.get(kind, (object, "JSON"))
    try:
        value = json.loads(text)
    except ValueError:
        raise ValueError(what) from None
    if not isinstance(value, wanted) or (isinstance(value, bool) and wanted in NUMBERS):
        raise ValueError(what)
    return float(value) if kind == "NUMBER_DOUBLE" else value  # KFP takes no 1 for 1.0
