"""The bundle: one version of a model as a device takes it.

A bundle is a folder with `manifest.json` beside the files that it lists. Only the manifest
says what is in it; a folder without one is not (yet) a bundle. `model.sig`, where there is one,
signs the manifest with the files, and so is not listed in it (see
`edgeline.repository.model_signature`). Needs neither TensorFlow nor kfp.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from edgeline.artifacts import digest_of_listing, sha256, write_text
from edgeline.artifacts.decision_threshold import is_threshold
from edgeline.artifacts.features import Feature
from edgeline.artifacts.host_operations import HostOperations
from edgeline.artifacts.windows import SERVER, Windows
from edgeline.artifacts.windows import check as check_windows
from edgeline.errors import EdgelineError, UsageError
from edgeline.formats import names, typed

SCHEMA = "bundle/v1"  # of the artifact that a run keeps of what it published
FORMAT, PROBED = "bundle/v1", "bundle/v2"  # v2 says which features are not proven missing
HOSTED = "bundle/v3"  # has host operations, without which the model's file cannot be run
DECIDED = "bundle/v4"  # has a decision threshold, by which whoever serves it has to decide
WINDOWED = "bundle/v5"  # has windows that whoever serves it has to keep
FORMATS = (FORMAT, PROBED, HOSTED, DECIDED, WINDOWED)
SINCE = {  # the formats that have a field
    "not_proven_missing": (PROBED, HOSTED, DECIDED, WINDOWED),
    "host_operations": (HOSTED,),
    "decision_threshold": (DECIDED,),
    "windows": (WINDOWED,),
}
OPTIONAL = {
    *((name, DECIDED) for name in ("not_proven_missing", "host_operations")),
    *((name, WINDOWED) for name in ("not_proven_missing", "host_operations", "decision_threshold")),
}
BINARY = "binary_classification"  # the task that has a decision threshold
IMAGE_FOLDER = "models"  # of a bundle in a container image, where KServe looks for it
MANIFEST = "manifest.json"
MODEL_SIGNATURE = "model.sig"  # beside it, where somebody signed the bundle so
NAME = names.LABEL  # as the image and the Service that are made of it


@dataclass(frozen=True)
class Tensor:
    """An input or output of a model.

    `shape` has -1 for the batch. `scale` and `zero_point` are set for a quantised
    tensor: real value = scale * (stored - zero_point).
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    scale: float | None = None
    zero_point: int | None = None


@dataclass(frozen=True)
class Signature:
    """The named inputs and outputs of the signature `serving_default`."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, object]) -> Signature:
        """Read a signature's JSON.

        Raises:
            EdgelineError: a field is missing, unknown or of the wrong kind.
        """
        signature: Signature = typed.convert(value, cls)
        return signature


@dataclass(frozen=True)
class Bundle:
    """What `manifest.json` says.

    `version` is a positive whole number, as in TensorFlow Serving. `files` maps a
    POSIX path to `{"sha256": ..., "size": ...}`. `takes` is `raw` where the transform
    is inside the model, else `transformed`, or `mixed` where the features of which it is
    outside say so themselves. `evaluation` holds the metrics of
    analyze and is empty where nobody evaluated the model, `verification` holds those of
    verify, `provenance` the pipeline, run, git commit and data digest that made it, the
    `origin` of a model that was imported, and why it takes no raw features (see
    `edgeline.artifacts.transformed`). `not_proven_missing` names features whose missing value no
    probe of verify asked: a row without one is to be refused (see
    `edgeline.runtimes.inputs.lacking`). It is None
    where nothing was probed, as in bundles of before: these are of format v1, all others of v2,
    which a reader that knows nothing of it refuses. `host_operations` are computed before the
    model's file (see `edgeline.artifacts.host_operations`): `signature` and `features` are what is
    sent to the two together. A bundle with them is of v3. `decision_threshold` is the score above
    which a binary model says yes, where it is not 0.5: such a bundle is of v4, with or without the
    two before. `windows` are kept by whoever serves it, of rows that come one at a time (see
    `edgeline.artifacts.windows`); `signature` and `features` are of whole windows. Such a bundle is
    of v5, with or without the three before. Windows that the client keeps change nothing for the
    server, and stand in `provenance`.
    """

    name: str
    version: int
    target: str
    model: str
    task: str
    quantisation: str
    takes: str
    signature: Signature
    features: tuple[Feature, ...]
    files: Mapping[str, Mapping[str, Any]]
    labels: tuple[str, ...] | None = None
    evaluation: Mapping[str, object] = field(default_factory=dict)
    verification: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, object] = field(default_factory=dict)
    not_proven_missing: tuple[str, ...] | None = None
    host_operations: HostOperations | None = None
    decision_threshold: float | None = None
    windows: Windows | None = None

    @property
    def format(self) -> str:
        """What a reader has to know."""
        if self.windows is not None:
            return WINDOWED
        if self.decision_threshold is not None:
            return DECIDED
        if self.host_operations is not None:
            return HOSTED
        return FORMAT if self.not_proven_missing is None else PROBED

    @property
    def evaluated(self) -> bool:
        """Whether analyze has said how good the model is."""
        return bool(self.evaluation)

    def to_json(self) -> dict[str, object]:
        told = {**asdict(self), "features": [feature.to_json() for feature in self.features]}
        if self.not_proven_missing is None:
            del told["not_proven_missing"]
        if self.decision_threshold is None:
            del told["decision_threshold"]
        if self.windows is None:
            del told["windows"]
        else:
            told["windows"] = self.windows.to_json()
        if self.host_operations is None:
            del told["host_operations"]
        else:
            told["host_operations"] = self.host_operations.to_json()
        return {"edgeline_bundle": self.format, **told}

    @classmethod
    def from_json(cls, value: Mapping[str, object]) -> Bundle:
        """Read a manifest's JSON.

        Raises:
            EdgelineError: a field is missing, unknown or of the wrong kind, or a
                path leaves the bundle.
        """
        fields = dict(value)
        if (found := fields.pop("edgeline_bundle", None)) not in FORMATS:
            raise EdgelineError(
                f"{MANIFEST} is of format {str(found)[:40]!r}, and this version reads "
                f"{', '.join(FORMATS[:-1])} and {FORMATS[-1]}: publish it again, or update what "
                "reads it."
            )
        has = {name for name in SINCE if fields.get(name) is not None}
        wants = {name for name, formats in SINCE.items() if found in formats}
        for name in sorted(name for name in has ^ wants if (name, found) not in OPTIONAL):
            raise EdgelineError(
                f"{MANIFEST} is of format {found}, but {'lacks' if name in wants else 'has'} "
                f"{name!r}: publish it again."
            )
        try:
            bundle: Bundle = typed.convert(fields, cls)
            for name, entry in bundle.files.items():
                known = {key: entry[key] for key in ("sha256", "size") if key in entry}
                typed.convert(known, _Entry, f"files.{name}")
        except EdgelineError as error:
            raise EdgelineError(f"{MANIFEST} is malformed ({error}): publish it again.") from None
        if bundle.windows is not None:
            _check_windows(bundle.windows, bundle.signature)
        threshold = bundle.decision_threshold
        if threshold is not None and not (bundle.task == BINARY and is_threshold(threshold)):
            raise EdgelineError(
                f"{MANIFEST} has the decision_threshold {threshold:g} for {bundle.task[:40]}, but "
                f"only {BINARY} has one, within 0 and 1: publish it again."
            )
        if not NAME.fullmatch(bundle.name) or bundle.version < 1:
            raise EdgelineError(f"{MANIFEST} names an impossible {bundle.name!r} {bundle.version}.")
        for name in [*bundle.files, bundle.model]:
            if name.startswith("/") or "\\" in name or ".." in name.split("/") or not name:
                raise EdgelineError(f"{MANIFEST} lists {name!r}, which leaves the bundle.")
            if not name.isprintable():
                raise EdgelineError(f"{MANIFEST} lists {name!r}, which no file is called.")
        return bundle


def _check_windows(windows: Windows, signature: Signature) -> None:
    """Refuse windows that are not the server's, or not of what the model takes."""
    try:
        check_windows(windows)
    except EdgelineError as error:
        raise EdgelineError(f"{MANIFEST} is malformed ({error}): publish it again.") from None
    shapes = {tensor.name: tensor.shape for tensor in signature.inputs}
    wrong = [name for name in windows.columns if shapes.get(name, ())[1:2] != (windows.size,)]
    if windows.kept_by != SERVER or wrong:
        said = (
            f"{wrong[0]!r} is not an input of {windows.size} rows"
            if wrong
            else "a client keeps them"
        )
        raise EdgelineError(
            f"{MANIFEST} has windows for the server to keep, but {said}: publish it again."
        )


@dataclass(frozen=True)
class _Entry:
    sha256: str
    size: int


def manifest_text(bundle: Bundle) -> str:
    """What `manifest.json` says of a bundle."""
    return json.dumps(bundle.to_json(), indent=1, sort_keys=True) + "\n"


def write_manifest(folder: str | Path, bundle: Bundle) -> None:
    """Write `manifest.json`, beside its place and then renamed."""
    write_text(Path(folder) / MANIFEST, manifest_text(bundle))


def read(folder: str | Path) -> Bundle:
    """Read a bundle's manifest and check every file that it lists.

    Raises:
        EdgelineError: there is no manifest, it is malformed, or a file is missing or
            differs in size or digest.
    """
    folder = Path(folder)
    bundle = read_manifest(folder)
    for name, entry in bundle.files.items():
        file = folder / name
        try:
            if not file.is_file():
                raise EdgelineError(f"{file} is missing: fetch or publish the bundle again.")
            if file.stat().st_size != entry["size"] or sha256(file) != entry["sha256"]:
                raise EdgelineError(f"{file} is damaged: fetch or publish the bundle again.")
        except OSError as error:
            raise EdgelineError(f"{file} cannot be read ({error.strerror}).") from error
    return bundle


def read_manifest(folder: Path) -> Bundle:
    """Read a bundle's manifest alone; its files may be missing or damaged.

    Raises:
        UsageError: there is no manifest.
        EdgelineError: it is malformed.
    """
    manifest = folder / MANIFEST
    if not manifest.exists():
        inside = bundles_below(folder)
        hint = f" Give one that lies in it, such as {inside[-1]}." if inside else ""
        raise UsageError(f"{folder} is not a bundle: it has no {MANIFEST}.{hint}")
    value = typed.read(manifest)
    if not isinstance(value, dict):
        raise EdgelineError(f"{manifest} is not a JSON object.")
    try:
        bundle = Bundle.from_json(value)
    except EdgelineError as error:
        raise EdgelineError(str(error).replace(MANIFEST, str(manifest), 1)) from None
    if bundle.model not in bundle.files:
        raise EdgelineError(f"{manifest} does not list its model {bundle.model!r}.")
    return bundle


def bundles_below(folder: Path) -> list[Path]:
    """The bundles in a store, in one model's folder of a store, or in a project with a store; by
    name, the newest version of each last."""
    found: list[Path] = []
    for depth in ("", "*/", "*/*/"):
        found += (file.parent for file in folder.glob(f"{depth}*/{MANIFEST}"))
    versions = [each for each in found if each.name.isdigit()]
    return sorted(versions, key=lambda each: (each.parent, int(each.name)))


def content_digest(bundle: Bundle) -> str:
    """Hexadecimal sha256 of what a device would run.

    Two bundles with the same digest give the same answers. Left out are the version,
    the provenance (a second run has another id), and the evaluation and verification
    (latencies differ from one measurement to the next).
    """
    content = bundle.to_json()
    for key in ("version", "provenance", "evaluation", "verification"):
        del content[key]
    return digest_of_listing("bundle", content, {})
