"""Deploy a published bundle: to a cluster and wait for it, or to Git, from where others do."""

from __future__ import annotations

import shutil
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from edgeline import artifacts
from edgeline.artifacts import bundle
from edgeline.artifacts.bundle import Bundle
from edgeline.components.serve import cluster, installed, prediction
from edgeline.components.serve.applying import to_cluster
from edgeline.components.serve.committing import Committed, to_git
from edgeline.errors import EdgelineError
from edgeline.reports import report
from edgeline.sites.address import Cluster, GitFolder, parse
from edgeline.sites.checks import check, check_in_cluster, model_source
from edgeline.sites.kserve import FORM, STORE, predictor
from edgeline.sites.render import image_name, push_image, render
from edgeline.sites.settings import SiteSettings

SCHEMA = "deployment/v1"


@dataclass(frozen=True)
class Deployment:
    """What became of it.

    Attributes:
        model: the bundle's image by digest; where KServe takes the model from the store, that names
            the content and is not pushed.
        commit: of the Git repository, or empty.
        pull_request: the page of the pull request with the commit, which is to be merged, or empty.
        rows: recorded rows whose answers the deployed server gave; None where it was not asked.
    """

    name: str
    version: int
    model: str
    site: str
    form: str
    commit: str
    pull_request: str
    rows: int | None

    @property
    def metadata(self) -> dict[str, object]:
        return {"edgeline_schema": SCHEMA, **asdict(self)}


def serve(
    *,
    bundle_path: str | Path,
    site: str,
    models_repository: str,
    deployment_path: str | Path,
    deployment_report_path: str | Path,
    form: str = "kustomize",
    name: str = "",
    address: str = "",
    modelcar_base: str = "",
    model_from: str = "",
    kserve_version: str = "",
    time_limit: float = 900,
    tokens: str = "",
    port: int = 8080,
    login: str = "",
    accelerator: str = "",
    server: str = "",
) -> Deployment:
    """Push a bundle's image, deploy it by digest, wait until it answers as it should.

    Args:
        bundle_path: the copy that publish leaves, or any bundle's folder.
        site: see `edgeline.sites.address.parse`.
        models_repository: below which models' images are pushed.
        deployment_path: the `deployment/v1` folder to write: the files of the site,
            `deployment.json`.
        deployment_report_path: the HTML page to write.
        form: for a cluster kustomize or kserve; this, `modelcar_base`, `model_from`,
            `kserve_version`, `tokens`, `port`, `login`, `accelerator` and `server` are as
            `edgeline.sites.settings.SiteSettings` says. The server is asked with the token in
            EDGELINE_TOKEN.
        name: of the deployment; by default the bundle's.
        address: where the deployed server answers; by default its Service in the cluster. For
            Git: without one nothing is waited for. Where a pull request is opened, what is waited
            for includes that somebody merges it.
        time_limit: seconds until it must answer.

    Raises:
        EdgelineError: an argument is unfit, the registry, cluster or repository refuses, it is
            not ready in time, or it answers otherwise than the bundle records.
    """
    place = parse(site)
    settings = SiteSettings(
        form=form,
        tokens=tokens,
        model_from=model_from,
        modelcar_base=modelcar_base,
        kserve_version=kserve_version,
        port=port,
        login=login,
        accelerator=accelerator,
        server=server,
    )
    check(settings)
    if isinstance(place, Cluster):
        check_in_cluster(form)
    from_store = model_source(settings) == STORE
    folder = Path(bundle_path)
    manifest = bundle.read(folder)
    if address or isinstance(place, Cluster):
        prediction.check_token(tokens, folder)
    name = name or manifest.name
    end = time.monotonic() + time_limit
    with tempfile.TemporaryDirectory() as temporary:
        namespace = place.namespace if isinstance(place, Cluster) else "edgeline"
        address_in_store = _published(folder) if from_store else ""
        where = (models_repository, temporary, name, namespace, address_in_store)
        files = render(str(folder), settings, *where)  # what cannot be is refused before all else
        client = cluster.connect() if isinstance(place, Cluster) else None
        if client and form == FORM:
            version = installed.kserve_version(client, kserve_version)
            files = render(str(folder), replace(settings, kserve_version=version), *where)
        if from_store:
            model = image_name(str(folder), models_repository)
        else:
            model = push_image(str(folder), models_repository, modelcar_base)
            print(f"{model} is pushed.")
        made = Committed("", "")
        if isinstance(place, GitFolder):
            made = to_git(files, place, name, manifest)
        elif client:
            address = address or _service(form, name, namespace)
            to_cluster(client, files, end - time.monotonic())
        rows = _asked(address, folder, manifest, end, made.pull_request) if address else None
        done = Deployment(
            name, manifest.version, model, site, form, made.commit, made.pull_request, rows
        )
        _write(done, files, deployment_path)
        _page(done, files, deployment_report_path, manifest, place)
    return done


def _asked(address: str, folder: Path, manifest: Bundle, end: float, pull_request: str) -> int:
    try:
        return prediction.wait(address, folder, manifest, end)
    except EdgelineError as error:
        if not pull_request:
            raise
        raise EdgelineError(f"{error} Is {pull_request} merged?") from error


def _published(folder: Path) -> str:
    """Where publish has put the bundle, as it notes beside the copy that it leaves."""
    if not (folder / artifacts.LISTING).is_file():
        return ""
    return str(artifacts.read(folder, "bundle/v1").metadata.get("uri", ""))


def _service(form: str, name: str, namespace: str) -> str:
    return f"http://{predictor(name) if form == FORM else name}.{namespace}.svc"


def _write(done: Deployment, files: list[Path], output: str | Path) -> None:
    with artifacts.writing(output, SCHEMA) as draft:
        for file in files:
            shutil.copyfile(file, draft.path / file.name)
        artifacts.write_json(draft.path / "deployment.json", asdict(done))
        draft.metadata.update(done.metadata)


def _page(
    done: Deployment,
    files: list[Path],
    path: str | Path,
    manifest: Bundle,
    place: Cluster | GitFolder,
) -> None:
    where = (
        f"namespace {place.namespace}"
        if isinstance(place, Cluster)
        else f"{place.folder} on {place.branch}"
    )
    asked = "not asked" if done.rows is None else f"{done.rows} recorded rows agree"
    waits = done.pull_request and done.rows is None
    rows = [
        ("model", done.model),
        ("site", done.site),
        ("form", done.form),
        ("commit", done.commit or None),
        ("pull request", done.pull_request or None),
        ("answers", asked),
    ]
    report.write(
        Path(path),
        f"{manifest.name} {manifest.version} is {'proposed' if waits else 'deployed'}",
        [
            report.Fact("version", str(done.version)),
            report.Fact("where", where),
            report.Fact("answers", asked, done.rows is not None or None),
        ],
        [
            report.Section("Deployment", report.table(["", ""], rows)),
            *(report.Section(file.name, report.text(file.read_text("utf-8"))) for file in files),
        ],
    )
