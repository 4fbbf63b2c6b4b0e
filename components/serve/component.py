"""The face of serve."""

from typing import NamedTuple

from kfp import dsl
from kfp.dsl import HTML, Artifact, Input, Output

from edgeline.images import reference


@dsl.component(base_image=reference("pipeline"), install_kfp_package=False)
def serve(
    bundle: Input[Artifact],
    deployment: Output[Artifact],
    deployment_report: Output[HTML],
    site: str,
    models_repository: str,
    form: str = "kustomize",
    name: str = "",
    address: str = "",
    modelcar_base: str = "",
    model_from: str = "",
    kserve_version: str = "",
    time_limit: int = 900,
    tokens: str = "",
    port: int = 8080,
    login: str = "",
    accelerator: str = "",
    server: str = "",
) -> NamedTuple("Served", [("model", str), ("commit", str)]):
    """Deploy a published bundle by digest, wait until it is ready, and check its answers.

    To a cluster its objects are applied, to a Git repository they are committed, or proposed by a
    pull request that is brought up to date with each version; merging it is the deployment. The
    token of a repository comes from the environment: GIT_TOKEN; the login of a registry from
    Docker's config.json in DOCKER_CONFIG; the token that the deployed server is asked with:
    EDGELINE_TOKEN.

    Args:
        bundle: The copy of the bundle that publish left (bundle/v1).
        deployment: The files of the site, and what became of them (deployment/v1).
        deployment_report: What was deployed where, and whether it answers as recorded.
        site: cluster://NAMESPACE, or git+https://HOST/REPOSITORY.git//FOLDER?branch=BRANCH, where
            &pull_request=github (gitlab, gitea) proposes it.
        models_repository: Where models' images are pushed, for example ghcr.io/acme/models.
        form: kustomize or kserve; for Git also ocm, kubeedge, greengrass, iotedge, compose.
        name: Name of the deployment; empty: the bundle's.
        address: Where the server answers; empty: its Service in the cluster. For Git: nothing
            is waited for without one; with one, a pull request's merge, too.
        modelcar_base: For a modelcar: an image by digest with a shell, such as busybox.
        model_from: For kserve: image, the bundle's image as a volume, which Kubernetes 1.34 does
            not take as it is installed; modelcar, which a namespace that enforces restricted
            refuses; store, where publish has put the bundle, fetched by manifests/base/kserve with
            the service account edge-server. Empty: modelcar with a base, else image.
        kserve_version: For kserve: its version; empty: as the cluster says, for Git 0.20.
        time_limit: Seconds until it must answer.
        tokens: Who may call: a Secret with tokens.json (empty: edge-server-tokens), or a file on
            the devices (empty: /etc/edgeline/tokens.json); none for everybody who gets there.
        port: On a single device: where it answers, for the device alone.
        login: On a single device: the folder there with Docker's config.json, for a private
            registry; in a cluster it is the Secret NAME-registry.
        accelerator: What the server is given: coral-usb, coral-pcie (for a bundle of the target
            edgetpu), nvidia, or a device below /dev; empty: none.
        server: A server image of your own, by digest; empty: edgeline's.

    Returns:
        model: The bundle's image by digest; from the store it names the content and is not pushed.
        commit: The commit that has the files, for Git; of a pull request, its own.
    """
    from typing import NamedTuple

    from edgeline.artifacts.metadata import record
    from edgeline.components.serve.serve import serve as work

    done = work(
        bundle_path=bundle.path,
        site=site,
        models_repository=models_repository,
        deployment_path=deployment.path,
        deployment_report_path=deployment_report.path,
        form=form,
        name=name,
        address=address,
        modelcar_base=modelcar_base,
        model_from=model_from,
        kserve_version=kserve_version,
        time_limit=time_limit,
        tokens=tokens,
        port=port,
        login=login,
        accelerator=accelerator,
        server=server,
    )
    record(deployment, done.metadata, "version", "form")
    made = [("model", str), ("commit", str)]
    return NamedTuple("Served", made)(done.model, done.commit)  # type: ignore[operator]
