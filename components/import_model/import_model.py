"""Take in a model that was trained elsewhere, so that the later steps work on it."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgeline import artifacts
from edgeline.artifacts import models, pixels, transformed, write_json
from edgeline.artifacts.bundle import Signature, Tensor
from edgeline.artifacts.features import Feature
from edgeline.components.import_model import onnx_file, onnx_to_litert, saved_model, tflite_file
from edgeline.components.import_model.onnx_to_litert import LitertForm
from edgeline.components.import_model.saved_model import FEATURE_DTYPES
from edgeline.components.import_model.source import fetch
from edgeline.components.import_model.wanted import SCALINGS, Wanted
from edgeline.errors import EdgelineError, UsageError
from edgeline.formats import quantisation
from edgeline.formats.operators import OperatorKind, operators
from edgeline.formats.quantisation import FLOAT
from edgeline.formats.tflite import MOST_BYTES
from edgeline.reports import report
from edgeline.runtimes import child, limits, original
from edgeline.stores import remote, storage

ENDINGS = {".keras": "keras", ".h5": "keras", ".hdf5": "keras", ".tflite": "tflite"} | {
    ".onnx": "onnx"
}
NAMES = {
    "saved_model": "a SavedModel",
    "keras": "a Keras model",
    "tflite": "a LiteRT model",
    "onnx": "an ONNX model",
}
CODE = (".pkl", ".pickle", ".joblib", ".pt", ".pth", ".npy", ".bin")
FLOAT_FILE = "tflite-float"


def import_model(
    source: str,
    model_path: str,
    import_report_path: str = "",
    sha256: str = "",
    labels: str = "",
    wanted: Wanted = Wanted(),  # noqa: B008 - frozen
) -> dict[str, Any]:
    """Import a model; the parameters are those of the component (see `component.py`).

    Args:
        model_path: the folder to write: `model/v1` of a SavedModel or Keras file, `edge_model/v1`
            of a LiteRT file, `onnx_model/v1` (`model.onnx`, `signature.json`, `labels.txt`) of
            an ONNX file; where `wanted.to_litert` is set `edge_model/v1`, with the ONNX file as
            it came beside the LiteRT file.
        import_report_path: the HTML page to write, or "".
        wanted: what the file does not say; its `labels` are read from `labels`.

    Returns:
        The metadata. `origin` has the source, its sha256 (see `storage.digest`) and the
        revision that a hub gave for it.

    Raises:
        EdgelineError: the source cannot be had, is not a model of a known kind, carries code, or
            does not fit the parameters; nothing is written.
    """
    if labels:
        wanted = dataclasses.replace(wanted, labels=_read_labels(labels))
    wanted.check()
    with tempfile.TemporaryDirectory() as folder:
        fetched = fetch(source, sha256, Path(folder))
        path, kind = find_model(fetched.path, source)
        origin = {
            "source": remote.public(source),
            "kind": kind,
            "sha256": fetched.sha256,
            "revision": fetched.revision,
            **({"scaling": wanted.scaling} if wanted.scaling else {}),
        }
        if kind != "onnx" and wanted.to_litert:
            raise UsageError(
                f"to_litert is set, but {source} is {NAMES[kind]}: leave it out, it is for ONNX "
                "files."
            )
        if kind == "tflite":
            metadata = _import_tflite(path, model_path, wanted, origin)
        elif kind == "onnx":
            if wanted.scaling:
                path = _scaled_onnx(path, wanted.scaling, Path(folder) / "scaled")
            metadata = _import_onnx(path, model_path, wanted, origin)
        else:
            metadata = _import_saved_model(path, model_path, wanted, origin)
    if import_report_path:
        _write_report(import_report_path, metadata)
    return metadata


def kind_of(metadata: Mapping[str, Any]) -> str:
    """What a pipeline does with an imported model depends on.

    Returns:
        saved_model, keras, tflite, onnx, or tflite-float for a LiteRT file that can still be
        quantised, also where it was made of an ONNX file; "" for a model that was not imported.
    """
    origin = metadata.get("origin", {})
    kind = "tflite" if original.DESCRIBED in origin else str(origin.get("kind", ""))
    if kind == "tflite" and "file" in origin and metadata["quantisation"] == FLOAT.name:
        return FLOAT_FILE
    return kind


def find_model(found: Path, source: str) -> tuple[Path, str]:
    """The model in what was fetched or lies here, and its kind.

    Args:
        source: what the user calls it.

    Raises:
        UsageError: there is none, or none of a known kind.
    """
    while found.is_dir():
        if (found / "saved_model.pb").is_file():
            return found, "saved_model"
        inside = sorted(path for path in found.iterdir() if path.name[0] not in "._")
        kept = [p for p in inside if p.is_dir() or p.suffix.lower() in ENDINGS]
        if len(kept) != 1:
            raise UsageError(
                f"{source} holds {', '.join(path.name for path in inside[:9]) or 'nothing'}, but "
                "one model is needed: name a folder with saved_model.pb, or one file that ends "
                f"in {', '.join(ENDINGS)}."
            )
        found = kept[0]
    if not found.is_file():  # a pipe would block
        raise UsageError(f"{found} is not a regular file: give a model.")
    kind = ENDINGS.get(found.suffix.lower()) or _by_content(found)
    if kind:
        if (size := found.stat().st_size) > MOST_BYTES and kind in ("tflite", "onnx"):
            raise UsageError(
                f"{found} has {size:,} bytes, {NAMES[kind]} has at most {MOST_BYTES:,}: give a "
                "smaller model."
            )
        return found, kind
    if found.suffix.lower() in CODE:
        raise UsageError(
            f"{found.name} may hold pickled Python, which would be run: export the model as ONNX "
            "or a SavedModel where it was trained."
        )
    raise UsageError(
        f"{found.name} is not a model of a known kind: give a SavedModel folder, or a file that "
        f"ends in {', '.join(ENDINGS)}."
    )


def _by_content(path: Path) -> str:
    with open(path, "rb") as stream:
        head = stream.read(8)
    if head[4:8] == b"TFL3":
        return "tflite"
    return "keras" if head == b"\x89HDF\r\n\x1a\n" else ""


def _read_labels(location: str) -> tuple[str, ...]:
    """Class names, one a line."""
    files = storage.resolve([location])
    try:
        with storage.open_source(files[0]) as stream:
            lines = stream.read().decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise EdgelineError(f"{files[0].name} is not UTF-8 text ({error}).") from None
    while lines and not lines[-1].strip():
        lines.pop()
    names = tuple(line.strip() for line in lines)
    for number, name in enumerate(names, 1):
        if not name:
            raise EdgelineError(f"{files[0].name}, line {number}: is empty, name the class.")
    if not names:
        raise EdgelineError(f"{files[0].name} is empty: write one class name a line.")
    return names


def _import_saved_model(
    path: Path, output: str, wanted: Wanted, origin: Mapping[str, str]
) -> dict[str, object]:
    with artifacts.writing(output, models.SCHEMA) as draft:
        target = str(draft.path / "saved_model")
        try:
            exported = child.call(
                saved_model.export, str(path), wanted, target, memory=limits.converter_room(path)
            )
        except child.ChildError as error:
            raise EdgelineError(
                f"TensorFlow {error.how} while {error.doing}{child.last_error(error.log)}: export "
                "the model again where it was trained, with this version of TensorFlow if it can "
                "be."
            ) from error
        if isinstance(exported, EdgelineError):
            raise exported
        draft.metadata |= {
            "features": [feature.to_json() for feature in exported.features],
            "outputs": {name: [kind, list(s)] for name, (kind, s) in exported.outputs.items()},
            "task": wanted.task,
            "label": wanted.label or None,
            "labels": list(wanted.labels) or None,
            "hyperparameters": {},
            "transform_digest": "",
            "origin": dict(origin),
        }
    return {"edgeline_schema": models.SCHEMA, **draft.metadata}


@dataclass(frozen=True)
class _TfliteFile:
    """What a child read of a LiteRT file; `wanted` has the labels that it found inside."""

    wanted: Wanted
    data: bytes
    signature: Signature
    called: Mapping[str, object]
    quantisation: str
    operators: Sequence[OperatorKind]


def _read_tflite(tell: Callable[[str], None], path: Path, wanted: Wanted) -> _TfliteFile:
    tell("reading")
    if not wanted.labels:
        wanted = dataclasses.replace(wanted, labels=tflite_file.labels_inside(path))
    described = tflite_file.describe(path, wanted)
    return _TfliteFile(wanted, *described, tflite_file.quantisation(path), operators(path))


def _import_tflite(
    path: Path, output: str, wanted: Wanted, origin: Mapping[str, str]
) -> dict[str, object]:
    wanted.refuse(("input_shape", "scaling", "logits"), "a LiteRT file")
    try:
        found: _TfliteFile = child.call(_read_tflite, path, wanted, memory=limits.room(path))
    except child.ChildError as error:
        raise EdgelineError(
            f"{path.name} is not a model that can be read: its reader {error.how}"
            f"{child.last_error(error.log)}: convert it again."
        ) from error
    wanted = found.wanted
    _check_prediction(found.signature, wanted)
    with artifacts.writing(output, models.EDGE_SCHEMA) as draft:
        file = draft.path / "model.tflite"
        file.write_bytes(found.data)
        write_json(draft.path / "operators.json", [asdict(row) for row in found.operators])
        draft.metadata |= {
            "quantisation": found.quantisation,
            "size": len(found.data),
            **_described(draft.path, found.signature, wanted),
            "origin": {**origin, **original.keep(path, file), **found.called},
        }
    return {"edgeline_schema": models.EDGE_SCHEMA, **draft.metadata}


def _described_onnx(
    tell: Callable[[str], None],
    path: Path,
    wanted: Wanted,
) -> tuple[bytes, Signature, dict[str, Any]]:
    tell("checking")
    return onnx_file.describe(path, wanted)


def _scaled_onnx(path: Path, scaling: str, folder: Path) -> Path:
    """The file with the scaling inside, which is the original from here on."""
    folder.mkdir()
    made = folder / path.name
    try:
        data = child.call(_made_scaled, path, *SCALINGS[scaling], memory=limits.room(path))
    except child.ChildError as error:
        raise EdgelineError(
            f"{path.name} is not a model that can be read: ONNX's reader {error.how}"
            f"{child.last_error(error.log)}: export it again."
        ) from error
    made.write_bytes(data)
    return made


def _made_scaled(tell: Callable[[str], None], path: Path, factor: float, offset: float) -> bytes:
    tell("scaling")
    return onnx_file.scaled(path, factor, offset)


def _import_onnx(
    path: Path, output: str, wanted: Wanted, origin: Mapping[str, str]
) -> dict[str, object]:
    wanted.refuse(("logits", "signature"), "an ONNX file")
    if not wanted.to_litert:
        wanted.refuse(("input_shape",), "an ONNX file")
    try:  # the checker of ONNX is C++, and the file anybody's
        data, signature, facts = child.call(_described_onnx, path, wanted, memory=limits.room(path))
    except child.ChildError as error:
        raise EdgelineError(
            f"{path.name} is not a model that can be read: ONNX's checker {error.how}"
            f"{child.last_error(error.log)}: export it again."
        ) from error
    _check_prediction(signature, wanted)
    called = facts.pop("called")
    if wanted.to_litert:
        row = quantisation.of(facts["quantisation"])
        made = onnx_to_litert.convert(data, signature, row, wanted.input_shape, path.name)
        return _write_converted(path, made, output, wanted, {**origin, **called})
    with artifacts.writing(output, models.ONNX_SCHEMA) as draft:
        file = draft.path / "model.onnx"
        file.write_bytes(data)
        draft.metadata |= {
            **facts,
            "size": len(data),
            **_described(draft.path, signature, wanted),
            "origin": {**origin, **original.keep(path, file), **called},
        }
    return {"edgeline_schema": models.ONNX_SCHEMA, **draft.metadata}


def _write_converted(
    path: Path, made: LitertForm, output: str, wanted: Wanted, origin: Mapping[str, Any]
) -> dict[str, object]:
    with artifacts.writing(output, models.EDGE_SCHEMA) as draft:
        file = draft.path / "model.tflite"
        file.write_bytes(made.data)
        table, kind = child.call(_measured, file, memory=limits.room(file))
        write_json(draft.path / "operators.json", [asdict(row) for row in table])
        draft.metadata |= {
            "quantisation": kind,
            "size": len(made.data),
            **_described(draft.path, made.signature, wanted),
            "origin": {
                **origin,
                **original.keep(path, file, ".onnx"),
                original.DESCRIBED: _plain_json(made.described),
                original.CHANNELS_LAST: list(made.channels_last),
                original.ANSWERS_LAST: list(made.answers_last),
                "converter": made.converter,
                "difference": made.difference,
                "rows": made.rows,
            },
        }
    return {"edgeline_schema": models.EDGE_SCHEMA, **draft.metadata}


def _plain_json(signature: Signature) -> dict[str, Any]:
    """As a reader of the artifact gets it: lists, and no tuples."""
    found: dict[str, Any] = json.loads(json.dumps(signature.to_json()))
    return found


def _measured(tell: Callable[[str], None], path: Path) -> tuple[Sequence[OperatorKind], str]:
    tell("reading")
    return operators(path), tflite_file.quantisation(path)


def _described(folder: Path, signature: Signature, wanted: Wanted) -> dict[str, object]:
    """Writes `signature.json` and `labels.txt`; the metadata of a model with a signature."""
    write_json(folder / "signature.json", signature.to_json())
    if wanted.labels:
        text = "".join(f"{label}\n" for label in wanted.labels)
        (folder / "labels.txt").write_text(text, encoding="utf-8")
    features = [_feature(tensor) for tensor in signature.inputs]
    if wanted.label in (feature.name for feature in features):
        raise EdgelineError(f"label is {wanted.label!r}, which the model takes as an input.")
    causes = original.not_raw(signature)
    because = "; ".join(cause.reason for cause in causes)
    return {
        "features": [feature.to_json() for feature in features],
        "takes": "transformed" if because else "raw",
        "because": because or None,
        "outputs": {
            tensor.name: [tensor.dtype, list(tensor.shape[1:])] for tensor in signature.outputs
        },
        "task": wanted.task,
        "label": wanted.label or None,
        "label_type": wanted.label_dtype,
        transformed.KEY: [cause.to_json() for cause in causes],
        "labels": list(wanted.labels) or None,
    }


def _feature(tensor: Tensor) -> Feature:
    """The raw feature that an input takes; a quantised one takes real numbers."""
    dtype = "float32" if tensor.scale is not None else FEATURE_DTYPES.get(tensor.dtype, "")
    if not dtype or not tensor.shape:
        raise EdgelineError(
            f"Input {tensor.name!r} of the model is {tensor.dtype} of shape {list(tensor.shape)}, "
            "which no feature is: export it with float32, int64 or string inputs, batch first."
        )
    shape = tensor.shape[1:] or (1,)
    if dtype == "float32" and pixels.channels_first(shape):
        shape = (*shape[1:], shape[0])  # as images come
    return Feature(tensor.name, dtype, shape)


def _check_prediction(signature: Signature, wanted: Wanted) -> None:
    for tensor in signature.outputs:
        if tensor.name == models.PREDICTION:
            wanted.check_prediction(tensor.shape[1:])


def _conversion(origin: Mapping[str, Any]) -> list[tuple[str, object]]:
    """What a page has on a LiteRT file that was made of an ONNX file."""
    last = (*origin[original.CHANNELS_LAST], *origin[original.ANSWERS_LAST])
    moved = [f"{name}: channels last, first in the ONNX file" for name in last]
    return [
        ("converted by", origin["converter"]),
        ("order of sizes", "; ".join(moved) or "as in the ONNX file"),
        (
            "compared with the ONNX file",
            f"{origin['rows']:,} made-up rows, which differ by at most {origin['difference']:.3g} "
            "of an output's largest value; verify compares rows of the data",
        ),
    ]


def _write_report(path: str, metadata: Mapping[str, Any]) -> None:
    origin, labels = metadata["origin"], metadata["labels"]
    takes = [(f["name"], f["dtype"], f["shape"]) for f in metadata["features"]]
    gives = [(name, kind, shape) for name, (kind, shape) in metadata["outputs"].items()]
    came = [
        ("source", origin["source"]),
        ("revision", origin["revision"] or None),
        ("sha256", origin["sha256"]),
        ("became", metadata["edgeline_schema"]),
    ]
    shapes = [f["shape"] for f in metadata["features"] if f["dtype"] == "float32"]
    if any(len(shape) == 3 and shape[-1] in pixels.CHANNELS for shape in shapes):
        inside = origin.get("scaling", "")
        told = f"brought to {inside} inside the model" if inside else "as they are"
        came.append(("pixels, 0 to 255", told))
    if original.DESCRIBED in origin:
        came += _conversion(origin)
    sections = [
        report.Section("Origin", report.table(["", ""], came)),
        report.Section("Takes", report.table(["feature", "dtype", "shape of a row"], takes)),
        report.Section("Gives", report.table(["output", "dtype", "shape of a row"], gives)),
    ]
    if "operators" in metadata:
        rows = metadata["operators"].items()
        sections.append(report.Section("Operators", report.table(["operator", "count"], rows)))
    if labels:
        note = f"and {len(labels) - 50:,} more" if len(labels) > 50 else ""
        names = report.table(["class", "name"], list(enumerate(labels[:50])))
        sections.append(report.Section("Classes", names, note=note))
    report.write(
        path,
        "Imported model",
        [
            report.Fact("kind", NAMES[origin["kind"]]),
            report.Fact("task", metadata["task"].replace("_", " ")),
            report.Fact("classes", str(len(labels)) if labels else "not named"),
            report.Fact("quantisation", metadata.get("quantisation", "none")),
        ],
        sections,
    )
