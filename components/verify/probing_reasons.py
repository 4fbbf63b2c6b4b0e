"""Why a model is not approved for what was probed, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from edgeline.components.verify.probes import ALL, CATEGORY, MISSED, PAIR, Probe
from edgeline.components.verify.probing import CRASHES, Asked, Probing, said

TOLD = 6  # features that are named


def reasons(probing: Probing, original: str) -> list[str]:
    """Why a model is not approved, a sentence for each feature at fault."""
    named: dict[tuple[str, ...], list[Asked]] = {}
    for each in probing.faults:
        named.setdefault(each.probe.features, []).append(each)
    alone = {names[0] for names in named if len(names) == 1}
    told = {  # a pair says nothing where one of the two differs alone
        names: asked for names, asked in named.items() if len(names) == 1 or not {*names} & alone
    }
    found = [_sentence(asked, original) for asked in list(told.values())[:TOLD]]
    if len(told) > TOLD:
        found.append(
            f"{len(told) - TOLD:,} more features or pairs of them get other answers on the edge "
            "than from the original: see the report's probes."
        )
    return found


def _sentence(asked: Sequence[Asked], original: str) -> str:
    first, others = asked[0], [each.probe.what for each in asked[1:]]
    more = ""
    if others:
        listed = ", ".join(others[:4]) + (f" and {len(others) - 4:,} more" if others[4:] else "")
        more = f" So it is with {' and '.join(first.probe.features)} {listed}."
    return (
        f"With {first.probe.words} (else row {first.row:,} of the split) {original} "
        f"{_does(first.cloud)} and the edge model {_does(first.edge)}: "
        f"{_way_out(first.probe)}.{more}"
    )


def _does(answer: tuple[float, ...] | str) -> str:
    if not isinstance(answer, str):
        return f"answers {said(answer)}"
    return answer if answer.startswith(CRASHES) else f"refuses it ({answer.rstrip('.')[:200]})"


def _way_out(probe: Probe) -> str:
    if probe.kind in (MISSED, PAIR, ALL):
        return (
            "fill it in preprocessing_fn (edgeline.preprocessing.fill_missing), or list it in "
            "never_missing if it always has a value"
        )
    if probe.kind == CATEGORY or isinstance(probe.values[0], bytes):
        return "take it through a vocabulary in preprocessing_fn, or convert the model otherwise"
    return "keep it within bounds in preprocessing_fn (tf.clip_by_value)"
