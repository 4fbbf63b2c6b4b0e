"""What Linux tells of heat and power, from folders as the kernel has them."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

from edgeline.devices import sensors


@pytest.fixture
def write(tmp_path: Path):
    def run(**files: object) -> None:
        for name, content in files.items():
            place = tmp_path / name.replace("__", "/").replace("_colon_", ":")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(f"{content}\n")

    return run


def sampled(root: Path, at: float) -> dict[str, Any]:
    return {**sensors.sample(root), "at": at}


def test_a_raspberry_pi_that_gets_hot(tmp_path, write):
    cpu = "sys__devices__system__cpu__cpu0__cpufreq__scaling"
    zone, cooler = "sys__class__thermal__thermal_zone0", "sys__class__thermal__cooling_device0"
    fan = "sys__class__thermal__cooling_device1"
    write(
        **{"proc__device-tree__model": "Raspberry Pi 5 Model B Rev 1.0\0", f"{zone}__temp": 51000},
        **{f"{cpu}_cur_freq": 2400000, f"{cpu}_max_freq": 2400000},
        **{f"{cooler}__type": "cpufreq-cpu0", f"{cooler}__cur_state": 0},
        **{f"{fan}__type": "pwm-fan", f"{fan}__cur_state": 3},
    )
    assert sensors.described(tmp_path)["name"] == "Raspberry Pi 5 Model B Rev 1.0"
    cool = sampled(tmp_path, 0)
    found = sensors.heat([cool, cool], 0, 0)
    assert (found["throttled"], found["why"]) == (False, [])  # a fan slows nothing

    write(**{f"{zone}__temp": 85000, f"{cpu}_cur_freq": 1500000, f"{cpu}_max_freq": 1500000})
    write(**{f"{cooler}__cur_state": 2})
    found = sensors.heat([cool, sampled(tmp_path, 1)], 0, 0x40004)
    assert found["throttled"] and len(found["why"]) == 3
    assert (found["celsius_before"], found["celsius_most"]) == (51, 85)
    assert (found["mhz_before"], found["mhz_least"]) == (2400, 1500)
    # it was throttled before, since it was started, and is not now
    assert not sensors.heat([cool, cool], 0x50000, 0x50000)["throttled"]


def test_a_device_that_tells_nothing_is_not_said_to_be_cool(tmp_path):
    found = sensors.heat([sampled(tmp_path, 0)], None, None)
    assert found["throttled"] is None
    assert (
        "neither RAPL nor an INA sensor"
        in sensors.power([sampled(tmp_path, 0)], tmp_path)["reason"]
    )


def test_rapl_is_read_over_the_end_of_its_counter_and_of_packages_alone(tmp_path, write):
    zone, inner = (
        "sys__class__powercap__intel-rapl_colon_0",
        "sys__class__powercap__intel-rapl_colon_0_colon_0",
    )
    write(**{f"{zone}__energy_uj": 9_000_000, f"{zone}__max_energy_range_uj": 10_000_000})
    write(**{f"{inner}__energy_uj": 1})
    first = sampled(tmp_path, 10)
    write(**{f"{zone}__energy_uj": 3_000_000})
    found = sensors.power([first, sampled(tmp_path, 12)], tmp_path)
    assert found == {"watts": 2.0, "source": "RAPL, the processor's packages"}


def test_a_jetson_tells_of_the_rail_that_all_others_hang_on(tmp_path, write):
    chip = "sys__class__hwmon__hwmon3"
    write(
        **{
            f"{chip}__name": "ina3221",
            f"{chip}__in1_label": "VDD_CPU",
            f"{chip}__in2_label": "VDD_IN",
        }
    )
    write(**{f"{chip}__in1_input": 5000, f"{chip}__curr1_input": 100})
    write(**{f"{chip}__in2_input": 5000, f"{chip}__curr2_input": 2000})
    samples = [sampled(tmp_path, 0), sampled(tmp_path, 1)]
    assert sensors.power(samples, tmp_path) == {"watts": 10.0, "source": "ina3221, VDD_IN"}


@pytest.mark.parametrize("name", ["supervisor", "timed", "sensors"])
def test_what_runs_on_devices_is_of_python_3_7_and_needs_no_package_of_ours(name):
    source = (Path(sensors.__file__).parent / f"{name}.py").read_text()
    ast.parse(source, feature_version=(3, 7))
    assert (
        "from __future__ import annotations" in source
    )  # types of later Pythons are not evaluated
    assert "from edgeline" not in source and "import edgeline" not in source
