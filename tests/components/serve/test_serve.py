"""serve with real git repositories, a real registry of images and a real edge server.

A cluster is met by `make test-cluster`.
"""

from __future__ import annotations

import hashlib
import http.server
import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml

from edgeline import artifacts
from edgeline.artifacts import bundle, vectors
from edgeline.components.serve import git, prediction
from edgeline.components.serve.serve import serve
from edgeline.errors import EdgelineError
from edgeline.sites.address import Cluster, GitFolder, parse

pytestmark = pytest.mark.slow


def run_git(*arguments: str | Path, folder: Path) -> str:
    command = ["git", "-c", "user.name=somebody", "-c", "user.email=s@example.com", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A bare repository with one commit on `main`."""
    bare, work = tmp_path / "models.git", tmp_path / "work"
    run_git("init", "--quiet", "--bare", "--initial-branch=main", bare, folder=tmp_path)
    run_git("clone", "--quiet", bare, work, folder=tmp_path)
    (work / "README.md").write_text("ours\n")
    run_git("add", ".", folder=work)
    run_git("commit", "--quiet", "-m", "Begin", folder=work)
    run_git("push", "--quiet", "origin", "HEAD:main", folder=work)
    return bare


@pytest.fixture
def recorded(pixels: Path, tmp_path: Path) -> Path:
    """The bundle with recorded rows."""
    folder = tmp_path / "mixed"
    shutil.copytree(pixels, folder)
    manifest = bundle.read(folder)
    known = vectors.synthetic(manifest.signature)
    from edgeline.runtimes import interpreter

    answers = interpreter.load(folder / manifest.model)(known.inputs)
    vectors.write(folder / vectors.FILE, vectors.Vectors(known.inputs, answers, 1e-5))
    return folder


@contextmanager
def running(folder: Path, *options: str) -> Iterator[str]:
    """An edge server with a bundle; its address."""
    command = [sys.executable, "-m", "edgeline.server", str(folder), "--port", "0", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("READY"), process.communicate()[1]
    (port,) = re.findall(r"http=(\d+)", line)
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.communicate(timeout=60)


@pytest.fixture
def server(recorded: Path) -> Iterator[str]:
    """The address of one with the bundle."""
    with running(recorded) as address:
        yield address


def deploy(folder: Path, site: str, registry: Any, tmp_path: Path, **more: Any) -> Any:
    return serve(
        bundle_path=folder,
        site=site,
        models_repository=f"{registry.address}/models",
        deployment_path=tmp_path / "deployment",
        deployment_report_path=tmp_path / "report.html",
        **{"tokens": "none", **more},
    )


def test_a_bundle_is_committed_pushed_and_asked_for_its_recorded_rows(
    recorded: Path,
    repository: Path,
    registry: Any,
    server: str,
    tmp_path: Path,
) -> None:
    site = f"git+file://{repository}//sites/north?branch=main"
    done = deploy(recorded, site, registry, tmp_path, address=server)
    files = run_git("ls-tree", "-r", "--name-only", "main", folder=repository).split()
    assert files == ["README.md", "sites/north/kustomization.yaml", "sites/north/mixed.yaml"]
    text = run_git("show", "main:sites/north/mixed.yaml", folder=repository)
    deployment = next(yaml.safe_load_all(text))
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["args"][0] == f"oci://{done.model}"
    assert done.commit == run_git("rev-parse", "main", folder=repository).strip()
    assert done.rows == 1
    assert done.model in run_git("log", "-1", "--format=%B", "main", folder=repository)
    kept = artifacts.read(tmp_path / "deployment", "deployment/v1")
    assert kept.metadata["model"] == done.model
    assert json.loads((kept.path / "deployment.json").read_text())["rows"] == 1
    assert "1 recorded rows agree" in (tmp_path / "report.html").read_text()


def test_the_same_again_is_no_commit(
    recorded: Path,
    repository: Path,
    registry: Any,
    tmp_path: Path,
) -> None:
    site = f"git+file://{repository}//sites/north"
    first = deploy(recorded, site, registry, tmp_path)
    second = deploy(recorded, site, registry, tmp_path)
    assert first.commit == second.commit
    assert first.rows is None  # without an address nobody was asked


def test_a_commit_of_somebody_else_in_between_is_kept(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text("services: {}\n")
    real = git.send
    others = iter([True])

    def meanwhile(*arguments: Any, **options: Any) -> Any:
        if next(others, False):
            work = tmp_path / "work"
            (work / "theirs").write_text("theirs\n")
            run_git("add", ".", folder=work)
            run_git("commit", "--quiet", "-m", "Theirs", folder=work)
            run_git("push", "--quiet", "origin", "HEAD:main", folder=work)
        return real(*arguments, **options)

    monkeypatch.setattr(git, "send", meanwhile)
    commit = git.commit([file], GitFolder(f"file://{repository}", "site", "main"), "Ours")
    files = run_git("ls-tree", "-r", "--name-only", commit, folder=repository).split()
    assert files == ["README.md", "site/compose.yaml", "theirs"]


def test_sites_served_at_once_all_arrive(repository: Path, tmp_path: Path) -> None:
    """One repository for every site: tasks side by side lock it, and move the branch, in turn."""
    places = [GitFolder(f"file://{repository}", f"sites/{n}", "main") for n in range(8)]
    file = tmp_path / "compose.yaml"
    file.write_text("services: {}\n")
    with ThreadPoolExecutor(len(places)) as at_once:
        list(at_once.map(lambda place: git.commit([file], place, place.folder), places))
    files = run_git("ls-tree", "-r", "--name-only", "main", folder=repository).split()
    assert files == ["README.md", *(f"sites/{n}/compose.yaml" for n in range(8))]


class GitServer(http.server.BaseHTTPRequestHandler):
    """Wants a login and remembers what it was given."""

    seen: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.seen.append(self.headers.get("Authorization", ""))
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="git"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_a_token_goes_to_an_https_server_only_and_into_no_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GIT_TOKEN", "very-secret")
    server = http.server.HTTPServer(("127.0.0.1", 0), GitServer)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    plain = GitFolder(f"http://127.0.0.1:{server.server_address[1]}/a.git", "site", "main")
    with pytest.raises(EdgelineError, match="git clone failed") as caught:
        git.commit([], plain, "x")
    server.shutdown()
    server.server_close()
    assert "very-secret" not in str(caught.value)
    assert GitServer.seen == [""]  # not in clear
    login = git._login(GitFolder("https://git.example.com/a.git", "site", "main"))
    assert login["password"] == "very-secret"


def test_a_repository_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(EdgelineError, match="git clone failed"):
        git.commit([], GitFolder(f"file://{tmp_path}/none.git", "site", "main"), "x")


def test_a_branch_that_is_not_there_is_one_sentence(repository: Path) -> None:
    with pytest.raises(EdgelineError, match="git clone failed"):
        git.commit([], GitFolder(f"file://{repository}", "site", "nowhere"), "x")


def test_a_link_out_of_the_repository_is_not_followed(repository: Path, tmp_path: Path) -> None:
    work, outside = tmp_path / "work", tmp_path / "outside"
    outside.mkdir()
    (work / "site").symlink_to(outside)
    run_git("add", ".", folder=work)
    run_git("commit", "--quiet", "-m", "Link", folder=work)
    run_git("push", "--quiet", "origin", "HEAD:main", folder=work)
    file = tmp_path / "compose.yaml"
    file.write_text("{}")
    with pytest.raises(EdgelineError, match="leads out of the repository"):
        git.commit([file], GitFolder(f"file://{repository}", "site", "main"), "x")
    assert list(outside.iterdir()) == []


def test_without_a_token_nothing_is_deployed_that_could_not_be_asked(
    recorded: Path,
    repository: Path,
    registry: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("EDGELINE_TOKEN", raising=False)
    site = f"git+file://{repository}//site"
    with pytest.raises(EdgelineError, match=r"scope predict in EDGELINE_TOKEN, .* or tokens none"):
        deploy(recorded, site, registry, tmp_path, address="http://127.0.0.1:9", tokens="")
    assert not (tmp_path / "deployment").exists()
    monkeypatch.setenv("EDGELINE_TOKEN", "two words")
    with pytest.raises(EdgelineError, match="characters that no token has") as raised:
        deploy(recorded, site, registry, tmp_path, address="http://127.0.0.1:9", tokens="")
    assert "two words" not in str(raised.value)
    assert run_git("ls-tree", "-r", "--name-only", "main", folder=repository) == "README.md\n"


def test_the_server_is_asked_with_the_token_and_nobody_else_gets_it(
    recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "very-secret"
    digest = hashlib.sha256(secret.encode()).hexdigest()
    tokens = tmp_path / "tokens.json"
    tokens.write_text(json.dumps({"tokens": [{"sha256": digest, "scopes": ["predict"]}]}))
    manifest = bundle.read(recorded)
    with running(recorded, "--tokens", str(tokens)) as address:
        monkeypatch.delenv("EDGELINE_TOKEN", raising=False)
        with pytest.raises(EdgelineError, match="401"):
            prediction.check(address, recorded, manifest)
        monkeypatch.setenv("EDGELINE_TOKEN", f"{secret}\n")
        assert prediction.check(address, recorded, manifest) > 0

    class Elsewhere(OtherServer):
        seen: ClassVar[list[str | None]] = []

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.seen.append(self.headers["Authorization"])
            self.send_response(302)
            self.send_header("Location", "/other")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_GET(self) -> None:
            self.seen.append(self.headers["Authorization"])
            self.send_error(404)

    server = http.server.HTTPServer(("127.0.0.1", 0), Elsewhere)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    with pytest.raises(EdgelineError, match="404"):
        prediction.check(f"http://127.0.0.1:{server.server_address[1]}", recorded, manifest)
    server.shutdown()
    server.server_close()
    assert Elsewhere.seen == [f"Bearer {secret}", None]


def test_a_server_that_answers_otherwise_is_found(recorded: Path, server: str) -> None:
    manifest = bundle.read(recorded)
    known = vectors.read(recorded / vectors.FILE, manifest.signature)
    wrong = {
        name: array + 1 if array.dtype != object else array for name, array in known.outputs.items()
    }
    vectors.write(recorded / vectors.FILE, vectors.Vectors(known.inputs, wrong, 1e-5))
    with pytest.raises(EdgelineError, match="answers otherwise than the bundle records"):
        prediction.check(server, recorded, manifest)


class OtherServer(http.server.BaseHTTPRequestHandler):
    """Answers any request with the JSON that it is given."""

    says: ClassVar[object] = None

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps(self.says).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def test_an_answer_that_is_another_server_s_is_one_sentence(
    recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = bundle.read(recorded)
    name = manifest.signature.outputs[0].name
    server = http.server.HTTPServer(("127.0.0.1", 0), OtherServer)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    for says, said in (
        (["hello"], "answers no JSON object: is another server there"),
        ({"model_version": "3"}, "answers without the output .*: is another server there"),
        ({"model_version": "3", "outputs": [{"name": name}]}, "answers without the output"),
        ({"model_version": "3", "outputs": [{"name": name, "data": [1, 2]}]}, "without the output"),
    ):
        monkeypatch.setattr(OtherServer, "says", says)
        with pytest.raises(EdgelineError, match=said):
            prediction.check(address, recorded, manifest)
    server.shutdown()
    server.server_close()


def test_a_server_with_another_version_is_found(recorded: Path, server: str) -> None:
    import dataclasses

    newer = dataclasses.replace(bundle.read(recorded), version=4)
    with pytest.raises(EdgelineError, match="version 3 of mixed, version 4 was deployed"):
        prediction.check(server, recorded, newer)


def test_a_server_that_is_not_there_is_waited_for_until_the_limit(
    recorded: Path,
    repository: Path,
    registry: Any,
    tmp_path: Path,
) -> None:
    site = f"git+file://{repository}//site"
    with pytest.raises(EdgelineError, match=r":9/v2/models/mixed/infer does not answer"):
        deploy(recorded, site, registry, tmp_path, address="http://127.0.0.1:9", time_limit=1)
    assert not (tmp_path / "deployment").exists()


@pytest.mark.parametrize(
    ("site", "found"),
    [
        ("cluster://edgeline", Cluster("edgeline")),
        (
            "git+https://git.example.com/team/models.git//sites/north/?branch=prod",
            GitFolder("https://git.example.com/team/models.git", "sites/north", "prod"),
        ),
        (
            "git+ssh://git@git.example.com/models.git//a",
            GitFolder("ssh://git@git.example.com/models.git", "a", "main"),
        ),
    ],
)
def test_sites_are_addresses(site: str, found: Cluster | GitFolder) -> None:
    assert parse(site) == found


@pytest.mark.parametrize(
    "site",
    [
        "edgeline",
        "cluster://",
        "cluster://Bad_Name",
        "https://git.example.com/models.git//a",
        "git+https://git.example.com/models.git",
        "git+https://git.example.com/models.git//../a",
        "git+https://git.example.com/models.git//a?branch=--upload-pack=x",
        "git+https://me:password@git.example.com/models.git//a",
        "git+https://git.example.com/a/b.git//a?brnch=prod",
        "git+https://git.example.com/a/b.git//a?pull_request=",
        "git+https://git.example.com/a/b.git//a?pull_request=bitbucket",
        "git+ssh://git@git.example.com/a/b.git//a?pull_request=gitea",
    ],
)
def test_what_is_no_site_is_refused_and_no_password_is_shown(site: str) -> None:
    with pytest.raises(EdgelineError) as caught:
        parse(site)
    assert "password@" not in str(caught.value)


def test_a_cluster_does_not_take_every_form(
    recorded: Path,
    registry: Any,
    tmp_path: Path,
) -> None:
    with pytest.raises(EdgelineError, match="A cluster does not take greengrass"):
        deploy(recorded, "cluster://edgeline", registry, tmp_path, form="greengrass")
    with pytest.raises(EdgelineError, match="form kustomize has no modelcar: leave modelcar_base"):
        deploy(recorded, "cluster://edgeline", registry, tmp_path, modelcar_base="busybox@sha256:0")


def test_what_cannot_be_is_refused_before_anything_is_pushed(
    recorded: Path, repository: Path, registry: Any, tmp_path: Path
) -> None:
    site = f"git+file://{repository}//site"
    for given, said in (
        ({"name": "a" * 45}, "KServe never starts .* has 64 characters"),
        ({"kserve_version": "0.20.x"}, r"kserve_version is '0\.20\.x'"),
        ({"kserve_version": "0.19"}, "from an image volume, which needs 0.20"),
        ({"model_from": "store"}, "A folder is not an address that KServe fetches a model from"),
    ):
        with pytest.raises(EdgelineError, match=said):
            deploy(recorded, site, registry, tmp_path, form="kserve", **given)
    assert not (registry.storage / "docker").exists()
    assert run_git("log", "--format=%s", "main", folder=repository) == "Begin\n"


def test_a_device_gets_its_accelerator_port_login_and_server(
    recorded: Path, repository: Path, registry: Any, tmp_path: Path
) -> None:
    site = f"git+file://{repository}//sites/press"
    server = f"registry.example/server@sha256:{'0' * 64}"
    given = {"accelerator": "/dev/accel/accel0", "server": server, "port": 8081}
    deploy(recorded, site, registry, tmp_path, form="compose", login="/etc/docker-login", **given)
    text = run_git("show", "main:sites/press/compose.yaml", folder=repository)
    service = yaml.safe_load(text)["services"]["edge-server"]
    assert service["image"] == server
    assert service["ports"] == ["127.0.0.1:8081:8080"]
    assert service["devices"] == ["/dev/accel/accel0:/dev/accel/accel0"]
    assert service["environment"] == {"DOCKER_CONFIG": "/etc/edgeline/registry"}


def test_kserve_takes_the_model_from_where_publish_has_put_it(
    recorded: Path, repository: Path, registry: Any, tmp_path: Path
) -> None:
    """The copy that publish leaves says where; nothing is pushed."""
    published = tmp_path / "published"
    with artifacts.writing(published, "bundle/v1") as draft:
        shutil.copytree(recorded, draft.path, dirs_exist_ok=True)
        draft.metadata.update(uri="minio://mlpipeline/models/mixed/3")
    site = f"git+file://{repository}//site"
    given = {"model_from": "store", "kserve_version": "0.19.1"}
    done = deploy(published, site, registry, tmp_path, form="kserve", **given)
    *_, service = yaml.safe_load_all(run_git("show", "main:site/mixed.yaml", folder=repository))
    predictor = service["spec"]["predictor"]
    assert predictor["model"]["storageUri"] == "edgeline+s3://mlpipeline/models/mixed/3/"
    assert "storageContainerName" not in predictor  # of KServe 0.20
    assert done.model.startswith(f"{registry.address}/models/mixed@sha256:")
    assert not (registry.storage / "docker").exists()
