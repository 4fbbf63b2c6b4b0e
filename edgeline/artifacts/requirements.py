"""What a model must reach, and on which device: `requirements.yaml`.

    metrics:                            # of the trained model, on the evaluation rows
      - {metric: auc, at_least: 0.92}
      - {metric: accuracy, at_least: 0.8, by: [trip_start_hour], min_rows: 100}
    trend: {versions: 3}                # beside the last versions published, on the same rows
    devices:
      gateway:
        target: litert
        p99_ms: 5
        size_kb: 200
        profile: gateway.json           # as `edgeline benchmark` wrote it

Parameters carry the same as an object. Unknown and ill-typed fields are refused by their path.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec

from edgeline.artifacts import device_profile
from edgeline.errors import EdgelineError, asked_for
from edgeline.formats import parameter_file
from edgeline.formats.doubles import whole
from edgeline.formats.quantisation import AUTO, NAMES

NAME = "requirements"
LITERT = "litert"
SUFFIXES = (".yaml", ".yml")
_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
_Above = Annotated[float, msgspec.Meta(gt=0)]
_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part of the file."""


class MetricRequirement(_Part, frozen=True):
    """What one metric must reach; one of `at_least` and `at_most` is there.

    Attributes:
        metric: its name in the reports, for example auc or mean_squared_error.
        at_least: of a metric that is better when higher.
        at_most: of an error.
        by: raw columns: every slice of their values must reach it; empty: all rows together.
        where: raw columns and their values: this one slice must reach it.
        min_rows: of `by`, slices with fewer rows are left out.
    """

    metric: _Text
    at_least: float | None = None
    at_most: float | None = None
    by: tuple[_Text, ...] = ()
    where: dict[_Text, str | int | float] = {}
    min_rows: Annotated[int, msgspec.Meta(ge=1)] = 1

    @property
    def limit(self) -> float:
        """The bound, whichever it is."""
        found = self.at_least if self.at_least is not None else self.at_most
        assert found is not None
        return found

    @property
    def least(self) -> bool:
        """Whether higher is better."""
        return self.at_least is not None

    @property
    def columns(self) -> tuple[str, ...]:
        """The raw columns that its slices are made of, sorted."""
        return tuple(sorted({*self.by, *self.where}))

    @property
    def rows(self) -> str:
        """The rows that it is about, for people."""
        if self.by:
            return f"each {', '.join(self.by)}"
        if self.where:
            return ", ".join(f"{name}: {value}" for name, value in sorted(self.where.items()))
        return "all rows"


class TrendRequirement(_Part, frozen=True):
    """That no metric of `metrics` over all rows falls from version to version.

    Attributes:
        versions: how many of the last published ones count.
        refuse: whether a fall is a reason not to publish; else it is told.
        versions_of: DESTINATION/NAME of the published versions; empty: where the run publishes to.
    """

    versions: Annotated[int, msgspec.Meta(ge=2, le=10)] = 3
    refuse: bool = True
    versions_of: str = ""


class DeviceFigures(_Part, frozen=True):
    """What was measured on a device, of its profile: it counts in place of this machine's figures.

    Attributes:
        device, measured_at: for people.
        model_sha256, graph: of the model that was measured (see `device_profile.likeness`).
        p99_ms: of a call.
        peak_bytes: of the process.
        energy_mj: of a call.
        caveats: what made these worse than they are, in phrases.
    """

    device: _Text
    measured_at: _Text
    model_sha256: _Text
    graph: _Text
    p99_ms: _Above
    peak_bytes: Annotated[int, msgspec.Meta(gt=0)] | None = None
    energy_mj: _Above | None = None
    caveats: tuple[_Text, ...] = ()

    def note(self, weights: str) -> str:
        """Where a figure is from.

        Args:
            weights: of `device_profile.likeness`.
        """
        on = f"on {self.device}, {self.measured_at[:10]}"
        return ", ".join(filter(None, (on, weights, *self.caveats)))


class DeviceRequirement(_Part, frozen=True):
    """What the edge model of a target must reach; what is not there is not asked.

    Attributes:
        target: of `compile`, or litert (or onnx) for a model that is not compiled; empty: the
            device is called as its target.
        quantisation: of the edge models that this is about; empty: any.
        metrics: of the edge model, as verify computes them: auc, accuracy, mean_squared_error.
        p99_ms: the 99th percentile of latency in milliseconds, at most.
        memory_mb: memory while it runs in megabytes, at most.
        size_kb: of the model's file in kilobytes, at most.
        energy_mj: a prediction in millijoules, at most, where the target tells it.
        mapped_share: of the operators, on the accelerator, at least.
        changed_decisions: the share that differs from the trained model's, at most.
        profile: what was measured on the device; in a file, the path of its device profile.
    """

    target: str = ""
    quantisation: str = ""
    metrics: tuple[MetricRequirement, ...] = ()
    p99_ms: _Above | None = None
    memory_mb: _Above | None = None
    size_kb: _Above | None = None
    energy_mj: _Above | None = None
    mapped_share: _Share | None = None
    changed_decisions: _Share | None = None
    profile: DeviceFigures | None = None


class Requirements(_Part, frozen=True):
    """What the trained model, and the edge model on each device, must reach.

    Attributes:
        metrics: of the trained model, as analyze computes them.
        trend: beside the last published versions; None: not asked.
        devices: by a name of one's own.
    """

    metrics: tuple[MetricRequirement, ...] = ()
    trend: TrendRequirement | None = None
    devices: dict[_Text, DeviceRequirement] = {}

    def of_target(self, target: str, quantisation: str) -> dict[str, DeviceRequirement]:
        """The devices, by name, that a model for a target runs on."""
        return {
            name: each
            for name, each in self.devices.items()
            if (each.target or name) == target and each.quantisation in ("", quantisation)
        }


def parse(value: Mapping[str, Any], where: str = f"Parameter {NAME}") -> Requirements:
    """Requirements of an object, as a file or a parameter has them.

    Args:
        where: begins the sentence of an error.

    Raises:
        EdgelineError: a field is unknown or has a value that it cannot have, a metric has not one
            bound, or the trend has no metric to look at.
    """
    value = whole(value)
    devices = value.get("devices")
    try:
        for name, each in devices.items() if isinstance(devices, Mapping) else ():
            place = f"devices.{name}: "
            if isinstance(each, Mapping) and isinstance(each.get("profile"), str):
                raise msgspec.ValidationError(
                    "profile is a path, which is read in a file alone: here it has what "
                    "edgeline run makes of that file"
                )
            msgspec.convert(each, DeviceRequirement)
        place = ""
        found = msgspec.convert(value, Requirements)
    except msgspec.ValidationError as error:
        raise EdgelineError(f"{where}: {place}{error}: correct it.") from None
    for index, each in enumerate(found.metrics):
        _check(each, f"{where}: metrics[{index}]")
    for name, device in found.devices.items():
        place = f"{where}: devices.{name}"
        for index, each in enumerate(device.metrics):
            _check(each, f"{place}.metrics[{index}]")
        if device == DeviceRequirement(
            target=device.target, quantisation=device.quantisation, profile=device.profile
        ):
            raise EdgelineError(f"{place} asks for nothing: add p99_ms, size_kb or another field.")
        if device.profile and (device.target or name) != LITERT:
            raise EdgelineError(
                f"{place} has a profile, which edgeline benchmark makes of models for {LITERT} "
                f"alone: leave it out, or give {LITERT} as target."
            )
    if found.trend and not any(not each.columns for each in found.metrics):
        raise EdgelineError(
            f"{where}: trend looks at the metrics of all rows, but metrics has none: add one "
            "without by and where."
        )
    return found


def read(path: str | Path) -> dict[str, Any]:
    """The object in a file, checked as `parse` does, with what the profiles of its devices have.

    A device's `profile` is a path beside the file.

    Raises:
        UsageError: it, or a profile, cannot be read, is not YAML, or is not as `parse` takes it; a
            profile is stale.
    """
    where = str(Path(path))
    value = parameter_file.read(
        path,
        dict[str, Any],
        lambda _: None,
        f"a {NAME} file",
        "write metrics, trend and devices",
    )
    with asked_for():
        value = _with_profiles(value, Path(path).parent)
        parse(value, where)
    return value


def _with_profiles(value: dict[str, Any], folder: Path) -> dict[str, Any]:
    devices = value.get("devices")
    if not isinstance(devices, Mapping):
        return value
    found = {
        name: {**each, "profile": device_profile.read(folder / each["profile"]).figures}
        if isinstance(each, Mapping) and isinstance(each.get("profile"), str)
        else each
        for name, each in devices.items()
    }
    return {**value, "devices": found}


def check_devices(
    wanted: Requirements,
    made: Collection[str],
    targets: Collection[str],
    quantisation: str = "",
) -> None:
    """Refuse a device for which a run makes nothing, and what of it nobody could ever judge.

    Args:
        made: targets of models that the run makes without compiling them: litert, onnx.
        targets: those that it compiles for.
        quantisation: of the model that is not compiled, where the run makes one; auto and a
            recipe's file do not say which it will be.

    Raises:
        EdgelineError: names the device, what it asks for, and what there is.
    """
    known = quantisation if quantisation in NAMES and quantisation != AUTO.name else ""
    for name, device in wanted.devices.items():
        target = device.target or name
        if target not in made and target not in targets:
            raise EdgelineError(
                f"{NAME}: device {name} is of the target {target}, for which this run makes no "
                f"model: give it one of {', '.join((*made, *targets))} as target, or add that to "
                "targets."
            )
        if target in targets:
            continue
        if device.mapped_share is not None:
            raise EdgelineError(
                f"{NAME}: device {name} asks for a mapped_share, but a model for {target} is not "
                "compiled for an accelerator: leave it out, or give another target."
            )
        if device.energy_mj is not None and not (device.profile and device.profile.energy_mj):
            raise EdgelineError(
                f"{NAME}: device {name} asks for an energy_mj, which nothing measures of a "
                f"model for {target}: leave it out, give a target whose compiler tells it, or a "
                "profile of a device that measures it."
            )
        if known and device.quantisation not in ("", known):
            raise EdgelineError(
                f"{NAME}: device {name} is about models of quantisation {device.quantisation}, but "
                f"this run makes one of {known}: leave quantisation out, or set it so."
            )


def _check(each: MetricRequirement, place: str) -> None:
    if (each.at_least is None) == (each.at_most is None):
        raise EdgelineError(f"{place} ({each.metric}) needs either at_least or at_most.")
    if each.by and each.where:
        raise EdgelineError(f"{place} ({each.metric}) has both by and where: leave one out.")
