"""20 kinds of networks, whole and with random weights, cloud against edge:
`python benchmarks/whole_networks.py [NAME ...]`.

Float must be within 1e-5 of an output's largest value. What int8 costs is reported, since weights
that chance made say nothing of trained ones: so little comes through MobileNetV3 that int8 gives 0,
and with the rows' statistics in its batch norms a rounding would grow a thousandfold on the way.
Pictures are of 96 pixels, which changes no operator.
Networks that are named are measured again, and the others' results stay. Exits with 1 where one of
those measured is refused or differs.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from environment import undistorted, without_onednn

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "whole_networks.json"
PIXELS, ROWS, STEPS = 96, 8, 64
LIMIT = 1e-5
APPLICATIONS = (
    "EfficientNetV2B0",
    "EfficientNetB0",
    "MobileNet",
    "MobileNetV2",
    "MobileNetV3Small",
    "MobileNetV3Large",
    "ConvNeXtTiny",
    "ResNet50V2",
    "DenseNet121",
    "InceptionV3",
    "Xception",
    "NASNetMobile",
)
RECURRENT = ("LSTM", "GRU")  # of one row at a time


def main(chosen: list[str]) -> int:
    networks = made()
    if unknown := set(chosen) - networks.keys():
        sys.exit(f"There is no {', '.join(sorted(unknown))}: it may be {', '.join(networks)}.")
    found = {}
    for name in chosen or networks:
        found[name] = measured(name, networks[name])
        kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        results = {each: (kept | found)[each] for each in networks if each in kept | found}
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    wrong = [name for name, each in found.items() if not _within(each["float"])]
    print(f"{len(found) - len(wrong)} of {len(found)} convert and answer as in the cloud")
    return int(bool(wrong))


def _within(share: float | None) -> bool:
    return share is not None and share <= LIMIT


def made() -> dict[str, Callable[[], Any]]:
    """What makes each network, by name."""
    sys.path.insert(0, str(HERE.parent / "tests" / "components" / "convert"))
    import keras
    import networks
    from keras import layers

    def application(name: str) -> Callable[[], Any]:
        make = getattr(keras.applications, name)
        options = {"classifier_activation": None}  # a softmax of 1,000 hides all differences
        return lambda: make(weights=None, input_shape=(PIXELS, PIXELS, 3), **options)

    return {
        **{name: application(name) for name in APPLICATIONS},
        "ViT": lambda: networks.vit(PIXELS, 16, 192, 6),
        "U-Net": lambda: networks.u_net(PIXELS, 16, 4),
        "TCN": lambda: networks.tcn(STEPS, 64, 6),
        "attention": lambda: networks.attention(STEPS, 128),
        "own gradients": lambda: networks.own_gradients(64),
        "LSTM": lambda: networks.recurrent(layers.LSTM, STEPS, 64),
        "GRU": lambda: networks.recurrent(layers.GRU, STEPS, 64),
        "trained on noise": lambda: networks.augmented(PIXELS),
    }


def measured(name: str, make: Callable[[], Any]) -> dict[str, Any]:
    """How far from the cloud's the answers of a network are, as a share of the largest of them."""
    import keras
    import networks

    from edgeline.artifacts import models, read
    from edgeline.components.convert import conversion, raw_form
    from edgeline.components.convert.settings import Settings
    from edgeline.errors import EdgelineError
    from edgeline.formats.quantisation import FLOAT, INT8

    keras.utils.set_random_seed(0)
    network = make()
    shape = [ROWS, *network.input_shape[1:]]
    rows = {"of_network": np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)}
    found: dict[str, Any] = {"parameters": network.count_params()}
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        model = read(networks.save(Path(folder) / "model", {"network": network}), models.SCHEMA)
        for quantisation in (FLOAT, INT8):
            settings = Settings(quantisation, batch=1 if name in RECURRENT else 0)
            try:
                done = conversion.convert(
                    lambda _: None, str(models.saved_model_path(model)), rows, settings
                )
                if done.lacks:
                    raise EdgelineError(f"LiteRT lacks {raw_form.named(done.lacks)}.")
            except EdgelineError as error:
                found[quantisation.name] = None
                found[f"{quantisation.name} refused"] = str(error)
                continue
            cloud, edge = done.cloud["network"], done.edge["network"]
            found[quantisation.name] = float(np.abs(edge - cloud).max() / np.abs(cloud).max())
    found["seconds"] = round(time.monotonic() - started, 1)
    print(f"{name}: {found}", flush=True)
    keras.backend.clear_session()
    return found


if __name__ == "__main__":
    undistorted()
    without_onednn()
    sys.exit(main(sys.argv[1:]))
