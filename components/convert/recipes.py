"""Recipes of ai-edge-quantizer: which operator of a network gets which precision.

A recipe is a list of rules, as ai-edge-quantizer reads and writes them; a later rule wins:

    [{"regex": ".*", "operation": "*", "algorithm_key": "min_max_uniform_quantize",
      "op_config": {"weight_tensor_config": {"num_bits": 4, "symmetric": true,
                    "granularity": "CHANNELWISE", "dtype": "INT"},
                    "compute_precision": "INTEGER"}},
     {"regex": "dense_1/", "operation": "*", "algorithm_key": "no_quantize"}]

`regex` is searched for in the names of an operator's outputs, which `layers.json` of an earlier
conversion lists.
"""

from __future__ import annotations

import contextlib
import io as streams
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgeline.components.convert import running
from edgeline.errors import EdgelineError
from edgeline.formats import tflite
from edgeline.formats.dtypes import Array
from edgeline.formats.packing import compact
from edgeline.runtimes.interpreter import SERVING
from edgeline.runtimes.pieces import pieces
from edgeline.stores import storage
from edgeline.stores.remote import PIN

NOT = "no_quantize"
CORRUPTING = "HADAMARD_ROTATION"
# ai-edge-quantizer's by the end of a recipe's name; without, the least and greatest value. Of the
# two kinds of rotation this one is made of operators that every runtime has.
ALGORITHMS = {
    "gptq": "GPTQ",
    "hadamard": "DECOMPOSED_HADAMARD_ROTATION",
    "mse": "MSE",
    "octav": "OCTAV",
}
MOST_HESSIAN = 4096  # inputs of a layer: GPTQ holds that many squared float32, 67 MB
LEAST_STEP = 6 / (1 << 30)  # LiteRT counts the steps up to 6.0, for a ReLU6, in 32 bits

Recipe = Sequence[Mapping[str, Any]]
Arrays = Mapping[str, Array]


def is_file(quantisation: str) -> bool:
    """Whether a quantisation is a recipe's path or URI rather than a name."""
    return quantisation.partition(PIN)[0].endswith(".json")


def read(place: str) -> Recipe:
    """A recipe from a path or URI.

    Raises:
        EdgelineError: it cannot be read, or is not a list of rules.
    """
    with storage.open_source(storage.resolve([place])[0]) as stream:
        content = stream.read()
    try:
        rules = json.loads(content)
    except ValueError as error:
        raise EdgelineError(f"Recipe {place} is not JSON ({error}).") from error
    if not isinstance(rules, list) or not rules:
        raise EdgelineError(f"Recipe {place} must be a list of at least one rule.")
    for number, rule in enumerate(rules):
        _check(rule, f"Rule {number} of recipe {place}")
    return rules


def named(name: str) -> Recipe:
    """A recipe by its name in a row of `formats.quantisation`.

    It is a function of ai_edge_quantizer.recipe, perhaps with an algorithm (`ALGORITHMS`) behind
    it: that one has the operators that it knows, the others what the function gives by itself.
    """
    from ai_edge_quantizer import recipe
    from ai_edge_quantizer.algorithm_manager import AlgorithmName

    function, _, algorithm = name.rpartition("_")
    if algorithm not in ALGORITHMS:
        rules: Recipe = getattr(recipe, name)()
        return rules
    make = getattr(recipe, function)
    return [*make(), *make(algorithm_key=AlgorithmName[ALGORITHMS[algorithm]])]


def check_fit(network: bytes, recipe: Recipe) -> None:
    """Refuse a recipe whose algorithm cannot be applied to a floating network.

    Raises:
        EdgelineError: GPTQ of a layer too wide for its Hessian, a rotation with a free batch, or a
            loop, in which LiteRT keeps no tensor to be calibrated.
    """
    used = {str(rule.get("algorithm_key")).rpartition(".")[2].upper() for rule in recipe}
    graph = tflite.parse(np.frombuffer(network, np.uint8), Path("network")).subgraphs[0]
    if any("HADAMARD" in name for name in used) and any(
        graph.tensors[index].dynamic for index in graph.inputs
    ):
        raise EdgelineError(
            "A Hadamard rotation in LiteRT takes a fixed number of rows: set batch=1, or use octav "
            "or mse."
        )
    loop = next((operator for operator in graph.operators if operator.name == "WHILE"), None)
    if loop and _quantiser(network, recipe).need_calibration:
        raise loop_error(graph.tensors[loop.outputs[0]].name)
    if "GPTQ" not in used:
        return
    for operator in graph.operators:
        if operator.name != "FULLY_CONNECTED" or operator.inputs[1] < 0:
            continue
        width = graph.tensors[operator.inputs[1]].shape[-1]
        if width > MOST_HESSIAN:
            raise EdgelineError(
                f"GPTQ of operator {operator.index} (FULLY_CONNECTED) takes {width:,} x {width:,} "
                f"numbers, and at most {MOST_HESSIAN:,} inputs are taken: use octav or mse."
            )


def loop_error(name: str) -> EdgelineError:
    """What is wrong with a loop in a network that is to be quantised to integers."""
    return EdgelineError(
        f"Layer {name} is a loop (While), which cannot be quantised to integers: build it with "
        "unroll=True, or set quantisation to dynamic."
    )


def with_io(recipe: Recipe, inputs: bool, outputs: bool) -> Recipe:
    """The recipe with inputs and outputs of the network floating where they are not wanted."""
    rules = list(recipe)
    for name, wanted in (("INPUT", inputs), ("OUTPUT", outputs)):
        if not wanted:
            rules.append({"regex": ".*", "operation": name, "algorithm_key": NOT})
    return rules


def keeping(recipe: Recipe, layers: Iterable[str], spare: Recipe | None) -> Recipe:
    """The recipe with some layers in another precision.

    Args:
        layers: names of operators' outputs.
        spare: the recipe whose first rule these layers get; None leaves them as they are.
    """
    rules = list(recipe)
    for name in layers:
        rule = {"algorithm_key": NOT} if spare is None else dict(spare[0])
        rules.append({**rule, "regex": f"^{re.escape(name)};?$", "operation": "*"})
    return rules


def calibrate(network: bytes, recipe: Recipe, rows: Arrays) -> Mapping[str, object] | None:
    """The least and greatest value of every tensor of a floating network on some rows.

    ai-edge-quantizer takes a moving average over samples, which cuts off what is rare. So each
    piece of rows is one sample, and of the pieces the least and greatest is taken here. What is
    (almost) always the same value gets a range that LiteRT can compute with.

    Returns:
        `min` and `max` by tensor, and for GPTQ `hessian`, float32 [channels, channels], of all
        rows, with `num_samples`; None where the recipe needs none.
    """
    check_fit(network, recipe)
    if not _quantiser(network, recipe).need_calibration:
        return None
    found: dict[str, dict[str, Any]] = {}
    fixed = running.load(network).signature.inputs[0].shape[0]
    for piece, _ in pieces(rows, fixed):
        with contextlib.redirect_stderr(streams.StringIO()):  # a bar of progress
            ranges = _quantiser(network, recipe).calibrate({SERVING: [piece]}, num_threads=1)
        for name, range_ in ranges.items():
            found[name] = _both(found[name], range_) if name in found else _kept(range_)
    least = LEAST_STEP * 2 ** _activation_bits(recipe)
    for range_ in found.values():
        range_["max"] = np.maximum(range_["max"], range_["min"] + least)
    return found


def _kept(range_: Mapping[str, Any]) -> dict[str, Any]:
    return {k: range_[k] for k in ("min", "max", "hessian", "num_samples") if k in range_}


def _both(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """What two pieces of rows say of a tensor, together."""
    joined = {
        "min": np.minimum(first["min"], second["min"]),
        "max": np.maximum(first["max"], second["max"]),
    }
    if "hessian" in first:  # a mean over samples
        counts = first["num_samples"], second["num_samples"]
        total = counts[0] * first["hessian"] + counts[1] * second["hessian"]
        joined |= {"hessian": total / sum(counts), "num_samples": sum(counts)}
    return joined


def quantise(network: bytes, recipe: Recipe, calibration: Mapping[str, object] | None) -> bytes:
    """Quantise a floating network, one LiteRT file with the signature `serving_default`.

    Args:
        calibration: of this recipe, or of the same with fewer layers kept.

    Raises:
        EdgelineError: ai-edge-quantizer refuses the recipe.
    """
    result = _quantiser(network, recipe).quantize(
        calibration, enable_progress_bar=False, enable_progress_report=False
    )
    return compact(bytes(result.quantized_model))


def _activation_bits(recipe: Recipe) -> int:
    configs = [rule.get("op_config", {}).get("activation_tensor_config") for rule in recipe]
    return max((int(config["num_bits"]) for config in configs if config), default=8)


def _quantiser(network: bytes, recipe: Recipe) -> Any:
    from ai_edge_quantizer import quantizer

    try:
        return quantizer.Quantizer(bytearray(network), [dict(rule) for rule in recipe])
    except (ValueError, TypeError, KeyError) as error:
        raise EdgelineError(
            f"ai-edge-quantizer refuses the recipe ({error}): fix its rules."
        ) from error


def _check(rule: Any, where: str) -> None:
    needed = ["regex", "operation", "algorithm_key"]
    if isinstance(rule, dict) and rule.get("algorithm_key") != NOT:
        needed.append("op_config")
    missing = [name for name in needed if not isinstance(rule, dict) or name not in rule]
    if missing:
        raise EdgelineError(f"{where} has no {missing[0]}: see the README of convert.")
    if str(rule["algorithm_key"]).rpartition(".")[2].upper() == CORRUPTING:
        raise EdgelineError(
            f"{where} uses {CORRUPTING}, an operator that writes beyond its memory in LiteRT: "
            f"use {ALGORITHMS['hadamard']}."
        )
    try:
        re.compile(rule["regex"])
    except (re.error, TypeError) as error:
        raise EdgelineError(f"{where} has a regex that is none ({error}).") from error
