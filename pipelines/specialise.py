"""A generic pipeline under another name and with other defaults."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import FunctionType
from typing import Any

from kfp import dsl

__all__ = ["specialise"]


def specialise(graph: Callable[..., Any], name: str, description: str, **defaults: Any) -> Any:
    """A kfp pipeline of a generic one's function.

    Args:
        graph: the function that the generic pipeline is made of.
        name: the pipeline's name, of `[a-z0-9-]`.
        description: a line for the UI.
        **defaults: parameters of `graph`; those that it requires and that are not given stay
            required.

    Raises:
        TypeError: `graph` has no such parameter.
    """
    signature = inspect.signature(graph)
    if unknown := defaults.keys() - signature.parameters.keys():
        raise TypeError(f"the generic pipeline has no parameter {', '.join(sorted(unknown))}")
    function = FunctionType(graph.__code__, graph.__globals__, graph.__name__)
    function.__doc__ = graph.__doc__
    function.__annotations__ = dict(graph.__annotations__)
    parameters = [
        parameter.replace(
            kind=inspect.Parameter.KEYWORD_ONLY,
            default=defaults.get(parameter.name, parameter.default),
        )
        for parameter in signature.parameters.values()
    ]
    function.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return dsl.pipeline(name=name, description=description)(function)
