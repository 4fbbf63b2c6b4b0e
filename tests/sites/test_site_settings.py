"""A site's settings: one description, which the component and all forms share."""

from __future__ import annotations

from edgeline.components.catalogue import load
from edgeline.sites.render import MAKERS
from edgeline.sites.settings import ABOUT, DEFAULTS, FORMS


def test_the_component_serve_takes_each_setting_with_its_default() -> None:
    inputs = load("serve").component_spec.inputs
    assert {name: inputs[name].default for name in DEFAULTS} == DEFAULTS
    assert all(ABOUT[name].endswith(".") for name in DEFAULTS)


def test_each_form_is_made_by_something() -> None:
    assert tuple(MAKERS) == FORMS
