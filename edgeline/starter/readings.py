"""The starter project's data: made-up readings of cold-storage rooms."""

from __future__ import annotations

import csv
import random
from pathlib import Path

COLUMNS = (
    "temperature",  # degrees Celsius
    "humidity",  # per cent
    "power",  # kilowatts
    "vibration",  # millimetres a second
    "door_openings",  # of the last hour
    "age",  # of the compressor in years
    "compressor",
    "fault",
)
ROWS = 600
SEED = 7
COMPRESSORS = {"scroll": 0.0, "piston": 0.7, "screw": -0.4}  # how prone each is to faults
GAPS = 0.04  # share of the readings that a sensor did not deliver


def write_readings(path: Path) -> None:
    """Write readings as CSV, the same on every machine.

    A room tends to fail within a day (`fault` is yes) when it is warm and damp for its power,
    shakes, and has an old compressor of a prone make; chance does the rest.
    """
    chance = random.Random(SEED)
    with open(path, "w", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream, lineterminator="\n")
        rows.writerow(COLUMNS)
        rows.writerows(_reading(chance) for _ in range(ROWS))


def _reading(chance: random.Random) -> list[object]:
    compressor = chance.choices(list(COMPRESSORS), weights=[5, 3, 2])[0]
    age = chance.randint(0, 15)
    doors = min(40, int(chance.expovariate(1 / 9)))
    wear = 0.09 * age + COMPRESSORS[compressor] + chance.gauss(0, 0.6)
    temperature = -20.0 + 0.08 * doors + 1.6 * max(wear, 0) + chance.gauss(0, 0.8)
    humidity = 55 + 0.5 * doors + 4 * max(wear, 0) + chance.gauss(0, 5)
    power = 3.2 + 0.5 * wear + 0.02 * doors + chance.gauss(0, 0.3)
    vibration = max(0.1, 0.8 + 0.9 * wear + chance.gauss(0, 0.35))
    fault = wear + chance.gauss(0, 0.25) > 1.25
    readings: list[object] = [
        f"{temperature:.1f}",
        f"{humidity:.0f}",
        f"{power:.2f}",
        f"{vibration:.2f}",
        doors,
        age,
        compressor,
    ]
    given = ["" if chance.random() < GAPS else value for value in readings]
    return [*given, "yes" if fault else "no"]
