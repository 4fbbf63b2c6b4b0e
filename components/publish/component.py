"""The face of publish."""

from typing import NamedTuple

from kfp import dsl
from kfp.dsl import Artifact, Input, Model, Output

from edgeline.images import reference


@dsl.component(base_image=reference("pipeline"), install_kfp_package=False)
def publish(
    edge_model: Input[Model],
    verification: Input[Artifact],
    bundle: Output[Artifact],
    name: str,
    destination: str,
    version: int = 0,
    target: str = "",
    pipeline_name: str = "",
    run_id: str = "",
    git_commit: str = "",
    evaluation: Input[Artifact] = None,
    compiled_model: Input[Model] = None,
    signing_keys: str = "",
    candidate: str = "",
    acceptance: Input[Artifact] = None,
    card: dict = {},  # noqa: B006
) -> NamedTuple("Published", [("uri", str), ("version", int)]):
    """Publish an approved edge model as the next version of a bundle.

    The endpoint and keys of an object store come from the environment: MINIO_ENDPOINT,
    MINIO_ACCESS_KEY, MINIO_SECRET_KEY and MINIO_SECURE, or AWS_ENDPOINT_URL,
    AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION. Content that already is the
    latest version is not published again: its version is returned.

    Args:
        edge_model: The model that convert made, or an imported one (edge_model/v1, onnx_model/v1).
        verification: What verify found; a model that it did not approve is refused.
        bundle: A copy of what was published, with its name, version, URI and digest.
        name: Name of the bundle: lower-case letters, digits and dashes.
        destination: A folder, s3://bucket/prefix, or minio://, gs:// or abfs:// likewise.
        version: The version's number, or 0 for the next that is free.
        target: What the model is made for; empty: litert, or onnx for an ONNX file.
        pipeline_name: Name of the pipeline, kept as provenance.
        run_id: Id of the run, kept as provenance.
        git_commit: Commit of the user's code, kept as provenance.
        evaluation: What analyze found; a model that it did not bless is refused. Only a model that
            was imported is published without, and its bundle says that it is not evaluated.
        compiled_model: The edge model compiled for a target (compiled_model/v1), published in
            its place as <name>-<target>.
        signing_keys: Keys of a signed repository at the destination, as env:NAME or the path of
            a mounted secret, with commas between them. EDGELINE_KEY_PASSPHRASE is their passphrase.
        candidate: In a signed repository: the name under which it waits to be promoted, and no
            device takes it; empty: a version that devices take.
        acceptance: What the host app's own tests said (acceptance/v1), kept as provenance; a model
            that they did not accept is refused.
        card: What people declare of the model, for its bill of materials: intended_use, owner,
            data, limits, ethics and licence, each a text.

    Returns:
        uri: Where the bundle is: destination/name/version.
        version: Its number.
    """
    from edgeline.artifacts.metadata import record
    from edgeline.components.publish.publish import publish as work

    published = work(
        edge_model_path=edge_model.path,
        evaluation_path=getattr(evaluation, "path", ""),
        verification_path=verification.path,
        bundle_path=bundle.path,
        name=name,
        destination=destination,
        version=version,
        target=target,
        pipeline_name=pipeline_name,
        run_id=run_id,
        git_commit=git_commit,
        compiled_model_path=getattr(compiled_model, "path", ""),
        signing_keys=signing_keys,
        candidate=candidate,
        acceptance_path=getattr(acceptance, "path", ""),
        card=card,
    )
    record(bundle, published.metadata, "version", "name")
    return (published.uri, published.version)
