"""Publish the approved candidates that were not chosen, each to wait under its name."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgeline import artifacts
from edgeline.artifacts import candidates
from edgeline.artifacts.candidates import (
    CHOICE_SCHEMA,
    CHOSEN,
    EDGE_MODEL,
    EVALUATION,
    VERIFICATION,
)
from edgeline.components.publish.publish import publish
from edgeline.errors import EdgelineError

SCHEMA = "waiting/v1"


def publish_candidates(
    *,
    candidate_paths: Sequence[str],
    choice_path: str | Path,
    waiting_path: str | Path,
    name: str,
    destination: str,
    signing_keys: str = "",
    git_commit: str = "",
    pipeline_name: str = "",
    run_id: str = "",
    card: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Publish them one after the other, and write what waits where.

    May be done again after it was killed: the same content is not published twice.

    Args:
        candidate_paths: `candidate/v1` folders.
        choice_path: `choice/v1`, made of the same.
        waiting_path: the `waiting/v1` folder to write.
        name, destination, signing_keys, git_commit, pipeline_name, run_id, card: as for `publish`.

    Returns:
        the metadata: `waiting`, each with `candidate`, `uri` and `version`, and `left`, the names
        of those that have no signed repository to wait in.

    Raises:
        EdgelineError: a folder is damaged, a candidate of the choice is not given, or as `publish`.
    """
    found = {
        each.metadata["name"]: each
        for each in (artifacts.read(path, candidates.SCHEMA) for path in candidate_paths)
    }
    judged = candidates.of(artifacts.read(choice_path, CHOICE_SCHEMA).metadata)
    others = [each.name for each in judged if each.is_approved and each.state != CHOSEN]
    if missing := sorted({*others} - {*found}):
        raise EdgelineError(
            f"{choice_path} is about the candidate {missing[0]}, which is not given: connect the "
            "candidates that choose had."
        )
    signed = bool(signing_keys.strip())
    waiting = []
    with tempfile.TemporaryDirectory(prefix="edgeline-") as scratch:
        for each in others if signed else ():
            folder = found[each].path
            published = publish(
                edge_model_path=folder / EDGE_MODEL,
                evaluation_path=folder / EVALUATION,
                verification_path=folder / VERIFICATION,
                bundle_path=Path(scratch) / each,
                name=name,
                destination=destination,
                signing_keys=signing_keys,
                candidate=each,
                git_commit=git_commit,
                pipeline_name=pipeline_name,
                run_id=run_id,
                card=card,
            )
            waiting.append({"candidate": each, "uri": published.uri, "version": published.version})
    left = [] if signed else others
    if left:
        print(
            f"{', '.join(left)} stay with the run: {destination} is not given as a signed "
            "repository, in which candidates can wait. Give signing_keys.",
            flush=True,
        )
    with artifacts.writing(waiting_path, SCHEMA) as draft:
        draft.metadata |= {"waiting": waiting, "left": left}
    return {"edgeline_schema": SCHEMA, **draft.metadata}
