"""The face of publish_candidates."""

from typing import List, NamedTuple  # noqa: UP035

from kfp import dsl
from kfp.dsl import Artifact, Input, Model, Output

from edgeline.images import reference


@dsl.component(base_image=reference("pipeline"), install_kfp_package=False)
def publish_candidates(
    choice: Input[Artifact],
    waiting: Output[Artifact],
    name: str,
    destination: str,
    signing_keys: str = "",
    git_commit: str = "",
    pipeline_name: str = "",
    run_id: str = "",
    candidates: Input[List[Model]] = None,  # noqa: UP006
    card: dict = {},  # noqa: B006
) -> NamedTuple("Waiting", [("uris", list)]):
    """Publish the approved candidates that were not chosen: signed, and no device takes them.

    Each waits in the signed repository under its name, in the place of an earlier candidate of that
    name, until `edgeline repository promote` makes it the newest version. Where the destination is
    no signed repository there is no such place: they stay with the run, and the task says so.

    Args:
        choice: What choose made of them (choice/v1).
        waiting: The candidates that wait, with where they are (waiting/v1).
        name: Name of the bundle: lower-case letters, digits and dashes.
        destination: The signed repository: a folder, s3://bucket/prefix, or minio://, gs:// or
            abfs:// likewise.
        signing_keys: Its keys, as for publish; empty: it is not signed.
        git_commit: Commit of the user's code, kept as provenance.
        pipeline_name: Name of the pipeline, kept as provenance.
        run_id: Id of the run, kept as provenance.
        candidates: What train_candidate made (candidate/v1), collected of its loop.
        card: What people declare of the models, as for publish.

    Returns:
        uris: Where each waiting candidate is.
    """
    from edgeline.artifacts.metadata import record
    from edgeline.artifacts.places import paths
    from edgeline.components.publish_candidates.publish_candidates import publish_candidates as work

    facts = work(
        candidate_paths=paths(candidates),
        choice_path=choice.path,
        waiting_path=waiting.path,
        name=name,
        destination=destination,
        signing_keys=signing_keys,
        git_commit=git_commit,
        pipeline_name=pipeline_name,
        run_id=run_id,
        card=card,
    )
    record(waiting, facts)
    return ([each["uri"] for each in facts["waiting"]],)
