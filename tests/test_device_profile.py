"""A device's profile in requirements: read, named, refused; and of which models it speaks."""

from __future__ import annotations

import dataclasses
import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeline.artifacts import device_profile, requirements
from edgeline.artifacts.device_profile import (
    DeviceHeat,
    DeviceLatency,
    DeviceProfile,
    MeasuredDevice,
)
from edgeline.artifacts.folder import sha256
from edgeline.errors import EdgelineError, UsageError

MODEL = Path(__file__).parent / "data" / "cnn_float.tflite"


def profile(**fields: Any) -> DeviceProfile:
    made = DeviceProfile(
        measured_at=device_profile.now(),
        bundle="digits",
        version=3,
        content_digest="c" * 64,
        quantisation="float",
        model_sha256=sha256(MODEL),
        graph=device_profile.graph_of(MODEL),
        device=MeasuredDevice(
            "Raspberry Pi 5", "Cortex-A76", 4, "aarch64", "Debian", "6.6", 8 << 30
        ),
        interpreter="ai_edge_litert 2.1.0",
        python="3.11.2",
        threads=1,
        installed=False,
        latency=DeviceLatency(300.0, 4.0, 2.0, 2.5, 3.0, 2.1, 1, 476.2, 4000),
        peak_bytes=40_000_000,
        heat=DeviceHeat(False, (), 1.0, 50.0, 60.0, 2400.0, 2400.0),
        energy_mj=9.5,
        watts=4.5,
        energy_source="ina219",
        load_before=0.1,
        others_cores=0.02,
        rows_compared=32,
        max_difference=0.0,
        not_measured={"operators": "not had"},
    )
    return dataclasses.replace(made, **fields)


@pytest.fixture
def asked(tmp_path: Path):
    """Requirements of a file whose device has a profile."""

    def read(made: DeviceProfile | str, target: str = "litert") -> dict[str, Any]:
        content = made if isinstance(made, str) else device_profile.text(made)
        (tmp_path / "pi.json").write_text(content)
        file = tmp_path / "requirements.yaml"
        file.write_text(f"devices: {{pi: {{target: {target}, p99_ms: 5, profile: pi.json}}}}")
        return requirements.read(file)

    return read


def test_a_file_names_a_profile_and_a_parameter_has_its_figures(asked):
    made = profile()
    value = asked(made)
    json.dumps(value)  # as a parameter goes
    figures = requirements.parse(value).devices["pi"].profile
    assert (figures.p99_ms, figures.peak_bytes, figures.energy_mj) == (3.0, 40_000_000, 9.5)
    assert figures.note("with other weights") == (
        f"on Raspberry Pi 5, {made.measured_at[:10]}, with other weights"
    )
    with pytest.raises(EdgelineError, match=r"devices\.pi: profile is a path, which is read in a"):
        requirements.parse({"devices": {"pi": {"p99_ms": 5, "profile": "pi.json"}}})


def test_a_device_that_was_busy_or_hot_is_named(asked):
    hot = DeviceHeat(True, ("the kernel cooled it",), 1.8, 50.0, 85.0, 2400.0, 1500.0)
    value = asked(profile(others_cores=1.74, heat=hot, threads=4))
    note = requirements.parse(value).devices["pi"].profile.note("")
    busy = "while other programs used 1.7 of 4 cores"
    assert note.endswith(f"{busy}, while it was throttled, with 4 threads")


@pytest.mark.parametrize(("days", "why"), [(200, "more than 180 days ago"), (-9, "in the future")])
def test_a_stale_profile_is_refused(asked, days, why):
    time = datetime.now(timezone.utc) - timedelta(days=days)
    with pytest.raises(UsageError, match=rf"pi\.json was measured at .*{why}.*edgeline benchmark"):
        asked(profile(measured_at=time.strftime("%Y-%m-%dT%H:%M:%SZ")))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", "is not JSON"),
        ("[]", "it is not device_profile/v1"),
        ('{"edgeline_device_profile": "device_profile/v1"}', "'measured_at' is missing"),
        (
            json.dumps({"edgeline_device_profile": "device_profile/v9"}),
            "it is not device_profile/v1",
        ),
    ],
)
def test_what_is_not_a_profile_is_refused(asked, content, why):
    with pytest.raises(
        UsageError, match=r"pi\.json is not a device profile .*edgeline benchmark"
    ) as e:
        asked(content)
    assert why in str(e.value)


def test_a_profile_of_another_target_is_refused(asked):
    with pytest.raises(UsageError, match=r"devices\.pi has a profile, .*litert alone"):
        asked(profile(), target="ethos-u55")


def test_energy_of_a_litert_model_may_be_required_where_a_profile_has_it(asked):
    value = asked(profile())
    value["devices"]["pi"]["energy_mj"] = 10
    requirements.check_devices(requirements.parse(value), ["litert"], [])
    value = asked(profile(energy_mj=None))
    assert "energy_mj" not in value["devices"]["pi"]["profile"]  # Kubeflow passes no null
    value["devices"]["pi"]["energy_mj"] = 10
    with pytest.raises(EdgelineError, match="or a profile of a device that measures it"):
        requirements.check_devices(requirements.parse(value), ["litert"], [])


def test_figures_hold_for_other_weights_and_for_no_other_graph(tmp_path):
    made = profile()
    same = (made.model_sha256, made.graph)
    assert device_profile.likeness(MODEL, *same) == ""
    content = bytearray(MODEL.read_bytes())
    weights = np.frombuffer(content, np.uint8)
    from edgeline.formats import tflite

    largest = max(
        (each for each in tflite.read(MODEL).subgraphs[0].tensors if each.data is not None),
        key=lambda each: each.size,
    )
    place = bytes(content).index(largest.data.tobytes())
    weights[place] ^= 1
    trained_again = tmp_path / "again.tflite"
    trained_again.write_bytes(content)
    assert device_profile.likeness(trained_again, *same) == "with other weights"
    assert device_profile.likeness(MODEL.with_name("cnn_int8.tflite"), *same) is None
    assert device_profile.likeness(MODEL.with_name("cnn_odd.tflite"), *same) is None
