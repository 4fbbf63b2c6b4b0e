"""A status as large as its server takes it: what is told least is left out, and that is told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from edgeline.server.fleet.protocol import LARGEST, LONGEST_TEXT

_SHORT_WHY = 100  # characters, where all are too many


def fitted(told: Mapping[str, Any]) -> bytes:
    """The body of a status.

    Names of columns are cut to `LONGEST_TEXT` characters. Where the body is above `LARGEST` bytes
    still, it tells that columns drift (`true`) and not which; then reasons are cut; then the oldest
    versions are left out, and counted in `models_left_out`.
    """
    models = [_with_columns(each) for each in told.get("models", ())]
    if len(body := _written(told, models)) <= LARGEST:
        return body
    models = [
        {**each, "drift": True} if isinstance(each.get("drift"), list) and each["drift"] else each
        for each in models
    ]
    if len(body := _written(told, models)) <= LARGEST:
        return body
    models = [{**each, "why": str(each.get("why", ""))[:_SHORT_WHY]} for each in models]
    body = _written(told, models)
    models.sort(key=lambda each: each["version"], reverse=True)
    left_out = int(told.get("models_left_out", 0))
    while models and len(body) > LARGEST:
        models.pop()
        left_out += 1
        body = _written({**told, "models_left_out": left_out}, models)
    return body


def _with_columns(model: Mapping[str, Any]) -> dict[str, Any]:
    columns = model.get("drift")
    if not isinstance(columns, list):
        return dict(model)
    return {**model, "drift": [column[:LONGEST_TEXT] for column in columns]}


def _written(told: Mapping[str, Any], models: list[dict[str, Any]]) -> bytes:
    return json.dumps({**told, "models": models}, separators=(",", ":")).encode()
