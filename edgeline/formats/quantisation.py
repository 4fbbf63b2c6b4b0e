"""The quantisations: one table of what each is, what it takes and what it may change.

Artifacts, parameters and reports have a quantisation's name; code takes its row from here, and
asks the row instead of comparing names. Which targets want it, and which best, each target says
in its own row (`edgeline.components.compile.target`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf, isfinite

__all__ = ["DYNAMIC", "FLOAT", "FP16", "INT8", "INT16X8", "Quantisation", "of"]

CONVERTER, QUANTISER, SEARCH = "TensorFlow's converter", "ai-edge-quantizer", "a search"
REPRESENTATIVE, LABELLED = "representative rows", "labelled rows"
FLOATS = ("float",)


@dataclass(frozen=True)
class Quantisation:
    """One way to store and to compute a network.

    Attributes:
        name: as users, artifacts and reports have it.
        about: what it is, for lists.
        maker: what makes it of a SavedModel: CONVERTER, QUANTISER or SEARCH.
        weights: bits of the constants; 32 and 16 are floats, less are integers; 0: not known.
        activations: bits of what operators give; 32 are floats; 0: not known.
        needs: what it takes beside the model: REPRESENTATIVE (for the range of each tensor),
            LABELLED, or "".
        io: what inputs and outputs of the network may be: float, int8, uint8.
        per_tensor: whether the converter can give weights one scale a tensor (`per_channel`).
        recipe: of ai-edge-quantizer, which makes this of a floating LiteRT file; "" for none.
        spare: for a recipe that the search tries, the one for the layers that it then keeps in
            higher precision, "" to leave them floating; None: it is not tried.
        difference: that an answer may have from the original's (verify: of each value, convert:
            `of_range`, see `edgeline.artifacts.differences`).
        device_difference: that a device's answer may have from what was recorded here.
        compiled_difference: that a compiler's output may have from its source on made-up rows,
            `of_range`. With integers each layer may round to another
            step, and verify judges on real rows.
        aliases: other names for it in bundles.
    """

    name: str
    about: str
    maker: str
    weights: int = 0
    activations: int = 0
    needs: str = ""
    io: tuple[str, ...] = FLOATS
    per_tensor: bool = False
    recipe: str = ""
    spare: str | None = None
    difference: float = inf
    device_difference: float = 0.02
    compiled_difference: float = 0.1
    aliases: tuple[str, ...] = ()

    @property
    def exact(self) -> bool:
        """Whether it changes nothing: answers must be the original's."""
        return self.weights == 32

    @property
    def floating(self) -> bool:
        """Whether nothing in it is an integer that was a float."""
        return self.weights >= 16

    def allows(self, of_range: float) -> bool:
        """Whether an output may lie so far from the original's."""
        return isfinite(of_range) and of_range <= self.difference


FLOAT = Quantisation(
    "float", "32-bit floats", CONVERTER, 32, 32,
    difference=1e-5, device_difference=1e-5, compiled_difference=1e-4,
    aliases=("float32", "none"),
)  # fmt: skip
FP16 = Quantisation("fp16", "16-bit float weights", CONVERTER, 16, 32, compiled_difference=0.02)
DYNAMIC = Quantisation(
    "dynamic", "int8 weights", CONVERTER, 8, 32, per_tensor=True, recipe="dynamic_wi8_afp32"
)
INT8 = Quantisation(
    "int8", "int8 weights and activations", CONVERTER, 8, 8, REPRESENTATIVE,
    io=("float", "int8", "uint8"), per_tensor=True, recipe="static_wi8_ai8",
)  # fmt: skip
INT16X8 = Quantisation(
    "int16x8", "int8 weights, int16 activations", CONVERTER, 8, 16, REPRESENTATIVE,
    per_tensor=True, recipe="static_wi8_ai16",
)  # fmt: skip
AUTO = Quantisation("auto", "the smallest that is accurate enough", SEARCH, needs=LABELLED)
# a user's own rules in a .json file: what it is depends on them, and its name is not a parameter
RECIPE_FILE = Quantisation("recipe", "a recipe's file", QUANTISER, io=("float", "int8"))


def _recipe(
    name: str, about: str, weights: int, activations: int = 32, **more: str
) -> Quantisation:
    """A function of ai_edge_quantizer.recipe, perhaps with an algorithm behind its name."""
    rows = activations < 32 or name.endswith("_gptq")
    return Quantisation(
        name, about, QUANTISER, weights, activations, REPRESENTATIVE if rows else "",
        io=("float", "int8") if activations == 8 else FLOATS, recipe=name,
        spare=more.get("spare"),
    )  # fmt: skip


# from what changes least on; the order of lists and of the model card
TABLE = (
    FLOAT,
    FP16,
    DYNAMIC,
    INT8,
    INT16X8,
    _recipe("dynamic_wi8_afp32", "int8 weights", 8, spare=""),
    _recipe("dynamic_wi4_afp32", "int4 weights", 4, spare="dynamic_wi8_afp32"),
    _recipe("dynamic_wi4_afp32_octav", "int4, clipped by OCTAV", 4, spare="dynamic_wi8_afp32"),
    _recipe("dynamic_wi4_afp32_mse", "int4, least squared error", 4, spare="dynamic_wi8_afp32"),
    _recipe("dynamic_wi4_afp32_gptq", "int4, rounded by GPTQ", 4, spare="dynamic_wi8_afp32"),
    _recipe("dynamic_wi4_afp32_hadamard", "int4, rotated", 4, spare="dynamic_wi8_afp32"),
    _recipe("weight_only_wi8_afp32", "int8 weights, computed in floats", 8),
    _recipe("weight_only_wi4_afp32", "int4 weights, computed in floats", 4),
    _recipe("static_wi8_ai8", "int8 weights and activations", 8, 8, spare=""),
    _recipe("static_wi8_ai16", "int8 weights, int16 activations", 8, 16),
    AUTO,
)
NAMES = tuple(row.name for row in TABLE)
CONVERTED = tuple(row for row in TABLE if row.maker == CONVERTER)
RECIPES = tuple(row for row in TABLE if row.maker == QUANTISER)
_BY_NAME = {name: row for row in (*TABLE, RECIPE_FILE) for name in (row.name, *row.aliases)}


def of(name: str) -> Quantisation:
    """The row of a name in an artifact; one that is not known is as uncertain as a recipe."""
    return _BY_NAME.get(name) or replace(RECIPE_FILE, name=name)


def place(name: str) -> int:
    """Where a name stands in the table, for sorting; unknown ones behind all others."""
    row = of(name)
    return TABLE.index(row) if row in TABLE else len(TABLE)


def smallest_first(rows: tuple[Quantisation, ...]) -> tuple[Quantisation, ...]:
    """Rows by bits of weights, then of activations."""
    return tuple(sorted(rows, key=lambda row: (row.weights, row.activations)))
