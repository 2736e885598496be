"""Which config makes which check: the built-in ones, and those that a user adds by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args, get_origin

from ....envs.common.layout import Layout
from ....traces.errors import HandrailError
from .base import Check, CheckModel

Builder = Callable[[Any, Layout], Check]
"""Makes a check from its config and the observation layout."""

_BUILDERS: dict[type[CheckModel], Builder] = {}
_CONFIGS: dict[str, type[CheckModel]] = {}


def register_check(config_class: type[CheckModel], builder: Builder) -> None:
    """Make a check known by name, so that guards can list it in YAML, JSON and Python.

    Args:
        config_class: Its config, with ``check: Literal["name"] = "name"``.
        builder: Called with the config and the observation layout, once a guard.

    Raises:
        HandrailError: The config names no check, or another config has that name.
    """
    field = config_class.model_fields["check"]
    name = field.default
    if get_origin(field.annotation) is not Literal or get_args(field.annotation) != (name,):
        raise HandrailError(f'{config_class.__name__} must have a field check: Literal["name"] = "name"')
    if _CONFIGS.get(name, config_class) is not config_class:
        raise HandrailError(f"a check named {name!r} is there already; give {config_class.__name__} another name")
    _CONFIGS[name] = config_class
    _BUILDERS[config_class] = builder


def known_checks() -> dict[str, type[CheckModel]]:
    """The config of each known check, by name, in alphabetical order."""
    return dict(sorted(_CONFIGS.items()))


def build_check(config: CheckModel, layout: Layout) -> Check:
    """A fresh check.

    Raises:
        HandrailError: Nobody registered this config's class, or the config does not fit the layout.
    """
    try:
        builder = _BUILDERS[type(config)]
    except KeyError:
        raise HandrailError(f"{type(config).__name__} is no known check's config; register_check() it first") from None
    return builder(config, layout)
