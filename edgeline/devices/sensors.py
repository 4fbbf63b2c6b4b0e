"""What a Linux device tells of itself: what it is, how hot, how fast, and what it draws.

Sent to the device with `supervisor`: the standard library alone, for Python 3.7 and later. What a
device does not tell is absent here and is named in the profile; nothing is guessed. Sources: the
kernel's ABI documents of sysfs-class-thermal, sysfs-devices-system-cpu, sysfs-class-hwmon and
sysfs-class-powercap, and `vcgencmd get_throttled` of Raspberry Pi.
"""

from __future__ import annotations

import os
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

INTEL_RAPL = "intel-rapl:"
NOW, SINCE_BOOT = 0b1111, 0b1111 << 16  # of get_throttled: low voltage, capped, throttled, hot
WHOLE_BOARD = ("VDD_IN", "POM_5V_IN")  # NVIDIA's names for the rail that all others hang on


def described(root: Path = Path("/")) -> dict[str, Any]:
    """Name, processor, cores, machine, system, kernel and bytes of memory.

    Args:
        root: above `proc`, `sys` and `etc`.
    """
    machine = platform.machine()
    cpu = _fields(root / "proc/cpuinfo", ":")
    processor = cpu.get("model name") or cpu.get("Hardware") or cpu.get("Processor") or machine
    board = [_text(root / f"sys/class/dmi/id/{each}") for each in ("sys_vendor", "product_name")]
    name = _text(root / "proc/device-tree/model") or " ".join(filter(None, board))
    release = _fields(root / "etc/os-release", "=")
    memory = _fields(root / "proc/meminfo", ":").get("MemTotal", "0").split()[0]
    return {
        "name": name or f"{processor}, {machine}",
        "processor": processor,
        "cores": len(os.sched_getaffinity(0)),
        "machine": machine,
        "system": release.get("PRETTY_NAME", "").strip('"') or platform.system(),
        "kernel": platform.release(),
        "memory_bytes": 1024 * int(memory),
    }


def sample(root: Path = Path("/")) -> dict[str, Any]:
    """What changes, as it is now. Degrees Celsius, MHz, microjoules, watts; absent: not told."""
    cpus = root / "sys/devices/system/cpu"
    found: dict[str, Any] = {"at": time.monotonic(), "busy": busy(root)}
    zones = _numbers(root / "sys/class/thermal", "thermal_zone*/temp")
    if zones:
        found["celsius"] = max(zones) / 1000
    speeds = _numbers(cpus, "cpu[0-9]*/cpufreq/scaling_cur_freq")
    if speeds:
        found["mhz"] = min(speeds) / 1000
    caps = _numbers(cpus, "cpu[0-9]*/cpufreq/scaling_max_freq")
    if caps:
        found["cap_mhz"] = min(caps) / 1000
    counts = _numbers(cpus, "cpu[0-9]*/thermal_throttle/core_throttle_count")
    if counts:
        found["throttles"] = sum(counts)
    cooling = _cooling(root)
    if cooling:
        found["cooling"] = max(cooling)
    packages = {
        zone.name: value
        for zone in (root / "sys/class/powercap").glob(f"{INTEL_RAPL}*")
        if zone.name.count(":") == 1
        for value in [_number(zone / "energy_uj")]
        if value is not None
    }
    if packages:
        found["rapl"] = packages
    rail = board_power(root)
    if rail:
        found["rail"], found["watts"] = rail
    return found


def busy(root: Path = Path("/")) -> float:
    """Seconds that all cores together were busy since the system started."""
    lines = (_text(root / "proc/stat") or "cpu 0 0 0 0 0 0 0 0").splitlines()
    user, nice, system, _, _, irq, soft, steal = (int(x) for x in lines[0].split()[1:9])
    return (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK")


def firmware_throttles() -> int | None:
    """The bits of Raspberry Pi's firmware; None where it is another device."""
    try:
        done = subprocess.run(
            ["vcgencmd", "get_throttled"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=5,
        )
        return int(done.stdout.decode("ascii", "replace").partition("=")[2], 16)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def heat(samples: list[dict[str, Any]], before: int | None, after: int | None) -> dict[str, Any]:
    """Whether the device slowed itself down while it was measured, and by what that is known.

    Args:
        before, after: of `firmware_throttles`.
    """
    why = []
    known = "cooling" in samples[0] or "throttles" in samples[0] or "cap_mhz" in samples[0]
    if before is not None and after is not None:
        known = True
        if after & NOW or (after & ~before) & SINCE_BOOT:
            why.append(f"the firmware reports it (get_throttled {after:#x})")
    throttles = _of(samples, "throttles")
    if throttles and throttles[-1] > throttles[0]:
        why.append(f"the processor's own count rose by {throttles[-1] - throttles[0]}")
    if any(_of(samples, "cooling")):
        why.append("the kernel cooled the processor by slowing it")
    caps = _of(samples, "cap_mhz")
    if caps and min(caps) < caps[0]:
        why.append(f"its largest frequency fell to {min(caps):.0f} MHz")
    degrees, speeds = _of(samples, "celsius"), _of(samples, "mhz")
    return {
        "throttled": bool(why) if known else None,
        "why": why,
        "celsius_before": degrees[0] if degrees else None,
        "celsius_most": max(degrees) if degrees else None,
        "mhz_before": speeds[0] if speeds else None,
        "mhz_least": min(speeds) if speeds else None,
    }


def power(samples: list[dict[str, Any]], root: Path = Path("/")) -> dict[str, Any]:
    """Mean watts over samples and where they are from, or the reason why there are none."""
    span = samples[-1]["at"] - samples[0]["at"] if samples else 0
    watts = _of(samples, "watts")
    if len(watts) > 1:
        return {"watts": sum(watts) / len(watts), "source": _of(samples, "rail")[0]}
    counts = _of(samples, "rapl")
    if len(counts) > 1 and span > 0:
        used = 0
        for zone, last in counts[-1].items():
            first = counts[0].get(zone, last)
            wraps = _number(root / "sys/class/powercap" / zone / "max_energy_range_uj") or 0
            used += last - first + (wraps if last < first else 0)
        return {"watts": used / 1e6 / span, "source": "RAPL, the processor's packages"}
    if list((root / "sys/class/powercap").glob(f"{INTEL_RAPL}*/energy_uj")):
        return {"reason": "RAPL's counters are not readable by this user, or stand still"}
    return {"reason": "the device has neither RAPL nor an INA sensor that Linux shows"}


def board_power(root: Path = Path("/")) -> tuple[str, float] | None:
    """Name and watts of the first INA2xx or INA3221 on the board; None without one.

    Of an INA3221 the rail counts that all others hang on where it is labelled, else its channel 1.
    """
    for chip in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        name = _text(chip / "name")
        if not name.startswith("ina"):
            continue
        microwatts = _number(chip / "power1_input")
        if microwatts is not None:
            return name, microwatts / 1e6
        rails = {_text(each): each.name[2:-6] for each in sorted(chip.glob("in*_label"))}
        label = next((each for each in WHOLE_BOARD if each in rails), "channel 1")
        channel = rails.get(label, "1")
        milliamperes = _number(chip / f"curr{channel}_input")
        millivolts = _number(chip / f"in{channel}_input")
        if milliamperes is not None and millivolts is not None:
            return f"{name}, {label}", milliamperes * millivolts / 1e6
    return None


def _cooling(root: Path) -> list[int]:
    """The states of what cools by slowing the processor; 0 is not at all. Fans are left out."""
    found = []
    for device in (root / "sys/class/thermal").glob("cooling_device*"):
        kind = _text(device / "type").lower()
        state = _number(device / "cur_state")
        if state is not None and ("cpu" in kind or "processor" in kind) and "fan" not in kind:
            found.append(state)
    return found


def _of(samples: list[dict[str, Any]], name: str) -> list[Any]:
    return [each[name] for each in samples if name in each]


def _numbers(folder: Path, pattern: str) -> list[int]:
    found = (_number(each) for each in sorted(folder.glob(pattern)))
    return [each for each in found if each is not None]


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace").strip("\0 \n")
    except OSError:
        return ""


def _fields(file: Path, separator: str) -> dict[str, str]:
    pairs = (line.partition(separator) for line in _text(file).splitlines())
    found: dict[str, str] = {}
    for name, _, value in pairs:
        found.setdefault(name.strip(), value.strip())
    return found
