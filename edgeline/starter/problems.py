"""The made-up data of the ready-made problems, the same on every machine.

Each says in its function by what rule the answer follows from the rows; chance does the rest.
"""

from __future__ import annotations

import csv
import math
import random
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

SYMBOLS = ("circle", "cross", "square", "triangle")
SIDE = 28  # pixels
PUMPS, MINUTES = 8, 240
REVIEWS, PAYMENTS, PICTURES = 900, 6000, 60


def write_pumps(folder: Path) -> None:
    """Readings of pumps, a row a minute in no order; `fails` where a pump's pressure has fallen by
    more than 0.8 bar in the last five minutes, though its flow has not."""
    rows = []
    begin = datetime(2026, 1, 1, tzinfo=timezone.utc)
    for number in range(PUMPS):
        chance = random.Random(number)
        pressure, flow = 5.0, 20.0
        before: list[float] = []
        for minute in range(MINUTES):
            leaks = minute % 60 > 48 and chance.random() < 0.9
            pressure += chance.gauss(0, 0.1) + (-0.25 if leaks else 0.2 * (5 - pressure))
            flow += chance.gauss(0, 0.4) + 0.1 * (20 - flow)
            before = [*before, pressure][-5:]
            fails = before[0] - pressure > 0.8
            when = (begin + timedelta(minutes=minute)).strftime("%Y-%m-%dT%H:%M:%SZ")
            shown = "" if chance.random() < 0.02 else f"{pressure:.2f}"
            rows.append([f"p{number}", when, shown, f"{flow:.1f}", "yes" if fails else "no"])
    random.Random(99).shuffle(rows)
    _write(folder / "pumps.csv", ("pump", "when", "pressure", "flow", "fails"), rows)


def write_reviews(folder: Path) -> None:
    """Sentences about kitchen machines: `topic` is delivery, noise, price or taste, by the words of
    one phrase among others that tell nothing."""
    told = {
        "delivery": ("came late", "parcel was torn", "courier never rang", "arrived in two days"),
        "noise": ("hums all night", "far too loud", "quiet as a cat", "rattles when it heats"),
        "price": ("cost too much", "a fair price", "cheaper elsewhere", "worth every cent"),
        "taste": ("coffee is bitter", "bread tastes burnt", "lovely aroma", "soup is bland"),
    }
    begins = (
        "I must say it",
        "For a gift it",
        "My sister says it",
        "After a month it",
        "Honestly it",
    )
    ends = ("and I would buy again", "so beware", "but it looks nice", "as the picture shows", "")
    chance = random.Random(5)
    rows = []
    for _ in range(REVIEWS):
        topic = chance.choice(list(told))
        said = [chance.choice(begins), chance.choice(told[topic]), chance.choice(ends)]
        text = " ".join(each for each in said if each)
        if chance.random() < 0.3:
            text = text.lower().replace("i ", "I ", 1)
        rows.append([text + chance.choice(("", ".", "!")), topic])
    _write(folder / "reviews.csv", ("text", "topic"), rows)


def write_payments(folder: Path) -> None:
    """Card payments, some 3 % of them `fraud`: large for the shop, at night or abroad, soon after
    another one."""
    chance = random.Random(11)
    usual = {"grocery": 35.0, "fuel": 55.0, "travel": 320.0, "online": 60.0}
    rows = []
    for _ in range(PAYMENTS):
        shop = chance.choices(list(usual), weights=[5, 3, 1, 4])[0]
        amount = usual[shop] * math.exp(chance.gauss(0, 0.6))
        hour = int(chance.gauss(14, 5)) % 24
        abroad = chance.random() < 0.08
        minutes = chance.expovariate(1 / 400)
        risk = 1.1 * math.log(amount / usual[shop]) + 1.6 * abroad + 1.0 * (hour < 5)
        risk += 1.2 * (minutes < 20) + 0.7 * (shop == "online") + chance.gauss(0, 0.5)
        row = [f"{amount:.2f}", shop, hour, "yes" if abroad else "no", f"{minutes:.0f}"]
        rows.append([*row, "yes" if risk > 2.7 else "no"])
    head = ("amount", "shop", "hour", "abroad", "minutes_since_last", "fraud")
    _write(folder / "payments.csv", head, rows)


def write_symbols(folder: Path) -> None:
    """Drawn symbols as PNG, white on black with some noise, one folder for each of four classes;
    and the network of digits, which has seen none of them."""
    from importlib import resources

    for number, symbol in enumerate(SYMBOLS):
        place = folder / "pictures" / symbol
        place.mkdir(parents=True)
        for each in range(PICTURES):
            _draw(place / f"{each:03d}.png", symbol, random.Random(1000 * number + each))
    backbone = resources.files("edgeline.starter").joinpath("pictures", "digits.keras")
    (folder / "digits.keras").write_bytes(backbone.read_bytes())


def _draw(path: Path, symbol: str, chance: random.Random) -> None:
    from PIL import Image, ImageDraw

    image = Image.new("L", (SIDE, SIDE))
    pen = ImageDraw.Draw(image)
    size = chance.randint(7, 11)
    x, y = (chance.randint(size + 1, SIDE - size - 2) for _ in "xy")
    ends: Any = (x - size, y - size, x + size, y + size)
    wide, light = chance.randint(1, 3), chance.randint(150, 255)
    if symbol == "circle":
        pen.ellipse(ends, outline=light, width=wide)
    elif symbol == "square":
        pen.rectangle(ends, outline=light, width=wide)
    elif symbol == "cross":
        pen.line((ends[0], y, ends[2], y), fill=light, width=wide)
        pen.line((x, ends[1], x, ends[3]), fill=light, width=wide)
    else:
        corners = [(x, ends[1]), (ends[2], ends[3]), (ends[0], ends[3]), (x, ends[1])]
        pen.line(corners, fill=light, width=wide)
    pixels = image.load()
    assert pixels is not None
    for _ in range(60):
        pixels[chance.randrange(SIDE), chance.randrange(SIDE)] = chance.randint(0, 90)
    image.save(path, "PNG")


def _write(path: Path, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(head)
        writer.writerows(rows)


DATA: dict[str, Callable[[Path], None]] = {
    "pumps": write_pumps,
    "reviews": write_reviews,
    "fraud": write_payments,
    "symbols": write_symbols,
}
