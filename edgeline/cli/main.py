"""The command line. Each command imports what it needs when it is called."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from edgeline.cli.arguments import (
    PipelineCommand,
    existing,
    finite,
    new_file,
    new_folder,
    new_path,
)
from edgeline.cli.repository import repository
from edgeline.cli.schedules import schedules
from edgeline.cli.sites import site
from edgeline.errors import EdgelineError, UsageError
from edgeline.version import __version__

RUNS = "edgeline-runs"
_setting = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="Set a pipeline parameter; VALUE is JSON, strings need no quotes. Repeatable.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="edgeline")
def cli() -> None:
    """Train in the cloud, predict on the device.

    Exit codes: 0 success, 1 failure, 2 wrong usage, 130 interrupted.
    """


cli.add_command(repository)
cli.add_command(schedules)
cli.add_command(site)


@cli.command(cls=PipelineCommand)
@click.argument("pipeline")
@_setting
@click.option("--module", help="The Python file with preprocessing_fn and build_model.")
@click.option("--cache", is_flag=True, help="Reuse the results of unchanged tasks.")
@click.option("--docker", is_flag=True, help="Run each task in a container of its image.")
@click.option(
    "--root", default=RUNS, show_default=True, callback=new_folder, help="The folder for runs."
)
def run(
    pipeline: str,
    settings: tuple[str, ...],
    module: str | None,
    cache: bool,
    docker: bool,
    root: str,
) -> None:
    """Run PIPELINE on this machine.

    PIPELINE is a built-in pipeline (see `edgeline pipelines`), a Python file with a variable
    `pipeline`, or a compiled .yaml file. `edgeline run PIPELINE --help` also lists its parameters.
    """
    from edgeline.local.here import run_command

    if module:
        settings = (*settings, f"module={module}")
    sys.exit(run_command(pipeline, settings, Path(root), cache, docker))


@cli.command(cls=PipelineCommand)
@click.argument("pipeline")
@click.option("--host", help="The KFP API's URL; by default KF_PIPELINES_ENDPOINT.")
@click.option("--namespace", help="The profile's namespace, on a multi-user KFP.")
@click.option(
    "--env", "environment", default="", metavar="NAME", help="The environment to compile for."
)
@click.option("--experiment", default="Default", show_default=True, help="The run's experiment.")
@click.option("--name", default="", help="The run's name; by default the pipeline's and the time.")
@click.option("--shared", is_flag=True, help="Upload to the pipeline that all teams share.")
@click.option("--wait", is_flag=True, help="Show progress until the run has ended.")
@_setting
def submit(pipeline: str, host: str | None, wait: bool, **request: Any) -> None:
    """Start a run of PIPELINE on a KFP server, after uploading it if this version is new."""
    from edgeline.cli.submit import submit_command

    submit_command(pipeline, host, wait, **request)


@cli.command("compile", cls=PipelineCommand)
@click.argument("pipeline")
@click.option(
    "-o", "--output", callback=new_path, help="The file to write; by default <pipeline>.yaml."
)
@click.option("--kubernetes", is_flag=True, help="Write Pipeline and PipelineVersion manifests.")
@click.option("--namespace", help="For --kubernetes; by default the environment's, or kubeflow.")
@click.option(
    "--env",
    "environment",
    metavar="NAME",
    help="The environment to compile for: laptop, onprem, gcp, aws, azure, edge, or a file.",
)
@_setting
def compile_(
    pipeline: str,
    output: str | None,
    kubernetes: bool,
    namespace: str | None,
    environment: str | None,
    settings: tuple[str, ...],
) -> None:
    """Compile PIPELINE to KFP's YAML or to Kubernetes manifests.

    --set changes the defaults of its parameters.
    """
    from edgeline.client.compiling import compile_pipeline, unpinned

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
def pipelines(name: str | None) -> None:
    """List the built-in pipelines, or the parameters of pipeline NAME.

    NAME can also be a Python file with a variable `pipeline`, or a compiled .yaml file.
    """
    from edgeline.cli.listing import show_pipelines

    show_pipelines(name)


@cli.command()
@click.argument("name", required=False)
def components(name: str | None) -> None:
    """List the components, or the inputs and outputs of component NAME."""
    from edgeline.cli.listing import show_components

    show_components(name)


@cli.command()
@click.argument("paths", nargs=-1, callback=existing)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "sarif"]),
    default="text",
    show_default=True,
    help="The format of the findings.",
)
@click.option("-o", "--output", callback=new_file, help="Write the findings to this file.")
@click.option("--rules", is_flag=True, help="List the rules, with their reasons and fixes.")
def lint(paths: tuple[str, ...], form: str, output: str | None, rules: bool) -> None:
    """Check compiled pipelines and Kubernetes manifests, offline.

    PATHS are files and folders. The exit code is 1 if there is an error. To ignore rules for an
    object, annotate it with `edgeline.dev/lint-ignore: RULE, ...`.
    """
    from edgeline.lint.lint import lint_command, show_rules

    if rules:
        show_rules()
    elif not paths:
        raise UsageError("There is nothing to lint: give a file or folder, or --rules.")
    else:
        sys.exit(0 if lint_command(paths, form, output) else 1)


@cli.command()
@click.argument("bundle", callback=existing)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify(bundle: str, as_json: bool) -> None:
    """Check a published BUNDLE: digests, signature, recorded predictions, malformed input.

    BUNDLE is a folder, or an s3:// or minio:// address.
    """
    from edgeline.cli.verify import check_bundle

    sys.exit(check_bundle(bundle, as_json))


@cli.command()
@click.argument("model", callback=existing)
@click.option("--target", default="edgetpu", show_default=True, help="The device to check for.")
@click.option(
    "--compiled", callback=existing, help="The output of the target's compiler, to compare."
)
@click.option(
    "--require-mapped",
    type=click.FloatRange(0, 1),
    callback=finite,
    help="Fail if a smaller share of the operators runs on the accelerator.",
)
@click.option("--report", callback=new_file, help="Write the findings as an HTML page.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(
    model: str,
    target: str,
    compiled: str | None,
    require_mapped: float | None,
    report: str | None,
    as_json: bool,
) -> None:
    """Predict which operators of MODEL, a .tflite file, run on a target, without its compiler."""
    from edgeline.cli.check import check_placement

    check_placement(model, target, compiled or "", require_mapped or 0.0, report, as_json)


@cli.command("compile-model")
@click.argument("model", callback=existing)
@click.option("--target", "targets", multiple=True, required=True, help="A target. Repeatable.")
@click.option("--quantisation", default="", help="By default the best one for each target.")
@click.option(
    "--representative",
    default="",
    callback=existing,
    help="Calibration data: .npz, .npy, examples or image folder.",
)
@click.option(
    "--scaling", default="", help="0..1 or -1..1: add scaling from pixel values 0 to 255."
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="TARGET.OPTION=VALUE",
    help="Set an option of a target. Repeatable.",
)
@click.option(
    "-o",
    "--output",
    default="",
    callback=new_folder,
    help="The folder to write; by default MODEL-compiled.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def compile_model(as_json: bool, **request: Any) -> None:
    """Convert and compile MODEL for one or more targets, and report the result for each.

    MODEL is a SavedModel folder, a .keras, .h5, .tflite or .onnx file, or a folder that train,
    convert or import_model wrote. Targets: litert, tflite-micro, edgetpu, ethos-u55, ethos-u65,
    ethos-u85, onnx, openvino, tvm, qualcomm-htp, imx500, tensorrt.
    """
    from edgeline.cli.compile_model import Request
    from edgeline.cli.compile_model import compile_model as work

    sys.exit(work(Request(**request), as_json))


@cli.command(context_settings={"ignore_unknown_options": True}, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def serve(arguments: tuple[str, ...]) -> None:
    """Serve models over HTTP and gRPC: a bundle, a folder of bundles, or .tflite files."""
    from edgeline.server.__main__ import main as serve_main

    sys.exit(serve_main(list(arguments)))


@cli.command()
@click.argument("name")
@click.option("--example", metavar="EXAMPLE", help="Make this example instead of the starter.")
def init(name: str, example: str | None) -> None:
    """Create a project in the new folder NAME: a pipeline, a module and data.

    Examples: wine (a table and a module), pictures (a .tflite model, a Keras model and images),
    schedules (a file of recurring runs).
    """
    from edgeline.starter import make_example, make_project

    if example:
        make_example(Path(name), example)
        click.echo(f"Created {name}.")
    else:
        make_project(Path(name))
        click.echo(f"Created {name}. Next: cd {name} && edgeline run pipeline.py")


@cli.group()
def images() -> None:
    """Build, lock, list and mirror container images."""


@images.command("build")
@click.argument("names", nargs=-1)
@click.option("--registry", help="The registry in the images' names, instead of the lock file's.")
@click.option("--push", is_flag=True, help="Build for every platform and push.")
@click.option("--base-image", help="Use this base image, for example from a mirror.")
@click.option("--uv-image", help="Take uv from this image.")
@click.option("--ca", callback=existing, help="A CA bundle for the build; not kept in any layer.")
@click.option(
    "--uv-config",
    callback=existing,
    help="A uv.toml with a package index for the build; not kept in any layer.",
)
def images_build(
    names: tuple[str, ...],
    registry: str | None,
    push: bool,
    base_image: str | None,
    uv_image: str | None,
    ca: str | None,
    uv_config: str | None,
) -> None:
    """Build images NAMES, by default all, with Docker from edgeline's source tree."""
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
@click.option("--registry", help="The registry to ask; by default the lock file's.")
@click.option(
    "-o",
    "--output",
    callback=new_file,
    help="The lock file to write; EDGELINE_IMAGES selects it later.",
)
@click.option(
    "--kustomization",
    callback=new_path,
    help="Also write the images as a kustomize Component here.",
)
def images_lock(registry: str | None, output: str | None, kustomization: str | None) -> None:
    """Write the digests of the pushed images to the lock file."""
    from edgeline.images.lock import lock

    file = lock(registry, Path(output) if output else None)
    click.echo(file)
    if kustomization:
        from edgeline.images.kustomization import write

        click.echo(write(Path(kustomization), file))


@images.command("closure")
@click.argument("paths", nargs=-1, required=True, callback=existing)
@click.option("--mirror", help="Copy each image to this registry; digests stay the same.")
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


def _whole_sentences(group: click.Group) -> None:
    """Show whole first sentences in lists of commands: click cuts them at the end of a line."""
    for command in group.commands.values():
        command.short_help = " ".join((command.help or "").partition("\n\n")[0].split())
        if isinstance(command, click.Group):
            _whole_sentences(command)


_whole_sentences(cli)


def main() -> None:
    """Entry point: 0 success, 1 failure, 2 wrong usage, 130 interrupted."""
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
        click.echo("Interrupted: no half-written files are left.", err=True)
        sys.exit(130)
    except EdgelineError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(error.exit_code)
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
