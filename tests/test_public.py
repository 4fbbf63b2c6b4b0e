"""The list of what is public, and ARCHITECTURE's picture, are what the code has."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
ROW = re.compile(r"^\| `(edgeline[^`]*)` \| (.+?) \|", re.MULTILINE)


def rows() -> dict[str, set[str]]:
    text = (ROOT / "docs" / "public.md").read_text()
    return {module: set(re.findall(r"`(\w+)`", names)) for module, names in ROW.findall(text)}


@pytest.mark.parametrize("module", [name for name in rows() if "NAME" not in name])
def test_a_module_offers_what_is_listed_and_no_more(module):
    found = importlib.import_module(module)
    assert set(found.__all__) == rows()[module]
    assert all(hasattr(found, name) for name in found.__all__)


def test_no_other_module_claims_to_be_public():
    files = (
        file
        for folder in ("edgeline", "components", "pipelines", "images")
        for file in (ROOT / folder).rglob("*.py")
    )
    claiming = {
        file.relative_to(ROOT).with_suffix("").as_posix().removesuffix("/__init__")
        for file in files
        if re.search(r"^__all__ =", file.read_text(), re.MULTILINE)
    }
    listed = {
        name.replace(".", "/")
        .replace("edgeline/components", "components")
        .replace("edgeline/pipelines", "pipelines")
        for name in rows()
    }
    assert claiming <= listed


def test_the_picture_of_the_rooms_is_the_contract():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    [rooms] = [each for each in contracts["contracts"] if each["name"] == "Rooms"]
    text = (ROOT / "ARCHITECTURE.md").read_text()
    picture = text.split("## The rooms")[1].split("```")[1].strip().splitlines()
    assert [re.split(r"\s{2,}", line)[0] for line in picture] == rooms["layers"]


def test_every_room_but_the_command_line_is_kept_from_click():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    by_name = {each["name"]: each for each in contracts["contracts"]}
    rooms = {room for row in by_name["Rooms"]["layers"] for room in row.split(" | ")}
    kept = {f"edgeline.{room}" for room in rooms - {"cli", "__main__"}}
    assert set(by_name["Only the command line imports click"]["source_modules"]) == kept
