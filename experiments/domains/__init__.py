"""The domains: for each, one object with all that the domain-neutral experiments need to know of it.

``base`` says what that is. A domain's module is imported when it is first asked for.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

from ...traces.errors import HandrailError
from .base import Domain

DOMAINS = ("llm", "cluster", "prefetch")
"""The names that ``--domain`` knows."""


@cache
def domain_named(name: str) -> Domain:
    """The domain of that name.

    Raises:
        HandrailError: It is unknown.
    """
    if name not in DOMAINS:
        raise HandrailError(f"--domain {name!r} is unknown; choose one of {', '.join(DOMAINS)}")
    return import_module(f".{name}", __name__).DOMAIN


def domain_of(system: Any) -> Domain:
    """The domain that ``system`` (what a simulator is built from, such as a ``FleetConfig``) belongs to.

    Raises:
        TypeError: It belongs to none.
    """
    for name in DOMAINS:
        domain = domain_named(name)
        if isinstance(system, domain.system_type):
            return domain
    raise TypeError(f"{type(system).__name__} is no domain's system")


__all__ = ["DOMAINS", "Domain", "domain_named", "domain_of"]
